"""Estimators: arrays in, numbers with intervals out.

This room holds the statistics that artifacts and claims are made of: bootstrap intervals, ratios
and differences paired over seeds, q-q coordinates against normal and norm-of-Gaussian references,
tail weight (excess kurtosis, Hill's index, exceedances), robust condition numbers, and (L0,
L1)-smoothness fits. It knows nothing of runs or models, needs numpy and scipy only, and is
deterministic: what is resampled takes a seed.
"""

from attnscape.estimators.chi import ScaledChi, norm_of_gaussian_fit
from attnscape.estimators.condition import (
    CONDITION_NUMBERS,
    PUBLIC_CODE,
    ConditionNumber,
    block_condition_numbers,
    condition_number,
    dead_parameters,
    negative_eigenvalues,
    sharpness,
)
from attnscape.estimators.differences import PairedDifference, paired_difference
from attnscape.estimators.envelope import Line, SmoothnessFit, fit_smoothness
from attnscape.estimators.hill import HillPlot, HillTail, hill, hill_plot
from attnscape.estimators.intervals import Interval, bootstrap, median, proportion
from attnscape.estimators.norms import GaussianNorm
from attnscape.estimators.quantiles import (
    QQ,
    fitted_norm_qq,
    gaussian_norm_qq,
    normal_qq,
    plotting_positions,
)
from attnscape.estimators.ratios import PairedRatio, paired_ratio
from attnscape.estimators.tails import TailExcess, excess_kurtosis, tail_excess
from attnscape.estimators.trend import Trend, log_trend

__all__ = [
    "CONDITION_NUMBERS",
    "PUBLIC_CODE",
    "QQ",
    "ConditionNumber",
    "GaussianNorm",
    "HillPlot",
    "HillTail",
    "Interval",
    "Line",
    "PairedDifference",
    "PairedRatio",
    "ScaledChi",
    "SmoothnessFit",
    "TailExcess",
    "Trend",
    "block_condition_numbers",
    "bootstrap",
    "condition_number",
    "dead_parameters",
    "excess_kurtosis",
    "fit_smoothness",
    "fitted_norm_qq",
    "gaussian_norm_qq",
    "hill",
    "hill_plot",
    "log_trend",
    "median",
    "negative_eigenvalues",
    "norm_of_gaussian_fit",
    "normal_qq",
    "paired_difference",
    "paired_ratio",
    "plotting_positions",
    "proportion",
    "sharpness",
    "tail_excess",
]

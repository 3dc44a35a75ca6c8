"""Estimators: arrays in, numbers with intervals out.

This room holds the statistics that artifacts and claims are made of: intervals of means, medians
and shares, also over seeds and evaluation batches at once; comparisons in which divergence counts;
ratios and differences paired over seeds; exact tests; q-q coordinates against normal and
norm-of-Gaussian references; tail weight (excess kurtosis, Hill's index, exceedances); robust
condition numbers; and (L0, L1)-smoothness fits. It knows nothing of runs or models, needs numpy and
scipy only, and is deterministic: what is resampled takes a seed.
"""

from attnscape.estimators.chi import ScaledChi, norm_of_gaussian_fit
from attnscape.estimators.comparisons import (
    PairedComparison,
    UnpairedComparison,
    paired_comparison,
    unpaired_comparison,
)
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
from attnscape.estimators.crossed import (
    Coverage,
    Crossed,
    crossed,
    crossed_coverage,
    crossed_difference,
)
from attnscape.estimators.differences import PairedDifference, paired_difference
from attnscape.estimators.envelope import Line, SmoothnessFit, fit_smoothness
from attnscape.estimators.hill import HillPlot, HillTail, hill, hill_plot
from attnscape.estimators.intervals import (
    Interval,
    bootstrap,
    geometric_mean,
    mean_interval,
    median,
    proportion,
)
from attnscape.estimators.norms import GaussianNorm
from attnscape.estimators.quantiles import (
    QQ,
    fitted_norm_qq,
    gaussian_norm_qq,
    normal_qq,
    plotting_positions,
)
from attnscape.estimators.ratios import PairedRatio, paired_ratio
from attnscape.estimators.significance import permutation_test, sign_test
from attnscape.estimators.tails import (
    FourthMoment,
    TailExcess,
    excess_kurtosis,
    fourth_moment,
    tail_excess,
)
from attnscape.estimators.trend import Trend, log_trend

__all__ = [
    "CONDITION_NUMBERS",
    "PUBLIC_CODE",
    "QQ",
    "ConditionNumber",
    "Coverage",
    "Crossed",
    "FourthMoment",
    "GaussianNorm",
    "HillPlot",
    "HillTail",
    "Interval",
    "Line",
    "PairedComparison",
    "PairedDifference",
    "PairedRatio",
    "ScaledChi",
    "SmoothnessFit",
    "TailExcess",
    "Trend",
    "UnpairedComparison",
    "block_condition_numbers",
    "bootstrap",
    "condition_number",
    "crossed",
    "crossed_coverage",
    "crossed_difference",
    "dead_parameters",
    "excess_kurtosis",
    "fit_smoothness",
    "fitted_norm_qq",
    "fourth_moment",
    "gaussian_norm_qq",
    "geometric_mean",
    "hill",
    "hill_plot",
    "log_trend",
    "mean_interval",
    "median",
    "negative_eigenvalues",
    "norm_of_gaussian_fit",
    "normal_qq",
    "paired_comparison",
    "paired_difference",
    "paired_ratio",
    "permutation_test",
    "plotting_positions",
    "proportion",
    "sharpness",
    "sign_test",
    "tail_excess",
    "unpaired_comparison",
]

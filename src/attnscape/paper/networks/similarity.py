"""Statistics of similarity: each feature of Transformer optimization as one number per seed.

The same code computes them on real networks and on the linear model.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from attnscape.experiments.runs import condition_ratios, of_optimizer, over_evaluations
from attnscape.optimizers import PAPER
from attnscape.paper.networks.landscape import (
    condition_frame,
    growth_slopes,
    median_smoothness_gaps,
    smoothness_frame,
)
from attnscape.paper.networks.losses import final_losses
from attnscape.paper.networks.noise import far_excess, reference, seed_norms
from attnscape.paper.noise import noise_of_seeds
from attnscape.statistics import PUBLIC_CODE, ScaledChi
from attnscape.training import Status

# What each statistic is, by the name of its row.
ROWS: Mapping[str, str] = {
    "loss": "log10 of SGDM's final loss over Adam's",
    "noise": "log10 of the noise norm's 99 % quantile over that of Gaussian noise",
    "condition": "log10 of R_SGD / R_Adam",
    "smoothness": "log10 of SGDM's median directional smoothness over Adam's",
    "growth": "slope of log smoothness in log gradient norm, along Adam's path",
}
# The headings of tables.
HEADINGS: Mapping[str, str] = {
    "loss": "log10 loss ratio",
    "noise": "log10 tail excess",
    "condition": "log10 R_SGD / R_Adam",
    "smoothness": "log10 smoothness ratio",
    "growth": "growth slope",
}


def of_network(runs: xr.Dataset, noise: xr.Dataset | None) -> dict[str, np.ndarray]:
    """The statistics of each seed of a workload.

    That of the noise is NaN if there is none; those along runs are NaN if one of the runs diverged.
    """
    norms = seed_norms(noise, "fresh") if noise is not None else {}
    return _statistics(
        runs,
        [far_excess(*each) for each in norms.values()] or runs.sizes["seed"] * [np.nan],
        condition_frame(runs),
        median_smoothness_gaps(runs),
        smoothness_frame(runs, "adam"),
    )


def of_linear(runs: xr.Dataset, noise: xr.Dataset) -> dict[str, np.ndarray]:
    """The statistics of each seed of a setting; medians over evaluation batches.

    Those along runs are NaN if one of the runs diverged.
    """
    smoothness = {
        name: over_evaluations(of_optimizer(runs, name)["directional_smoothness"])
        .median("step")
        .median("evaluation")
        .values
        for name in PAPER
    }
    with np.errstate(invalid="ignore", divide="ignore"):
        gaps = np.log10(smoothness["sgdm"] / smoothness["adam"])
    return _statistics(
        runs,
        [far_excess(*each) for each in linear_norms(noise)],
        condition_ratios(runs, [PUBLIC_CODE]),
        gaps,
        linear_growth(runs),
    )


def _statistics(
    runs: xr.Dataset,
    tails: list[float],
    conditions: pd.DataFrame,
    smoothness: np.ndarray,
    growth: pd.DataFrame,
) -> dict[str, np.ndarray]:
    """The statistics by row, (seed,) each; of a seed with a diverged run, NaN along the run.

    Args:
        runs: SGDM and Adam.
        tails: The statistic of the noise.
        conditions: The columns seed and ratio.
        smoothness: (seed,) logarithmic gaps.
        growth: Gradient norm and smoothness along Adam's path.
    """
    both, adam = _finished(runs, "sgdm", "adam"), _finished(runs, "adam")
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "loss": np.log10(final_losses(runs, "sgdm") / final_losses(runs, "adam")),
            "noise": np.array(tails),
            "condition": both * np.log10(conditions.groupby("seed")["ratio"].median().to_numpy()),
            "smoothness": both * smoothness,
            "growth": adam * growth_slopes(growth, runs["seed"].values),
        }


def _finished(runs: xr.Dataset, *optimizers: str) -> np.ndarray:
    """(seed,) 1 if the runs of all these optimizers were finished, NaN otherwise."""
    finished = [of_optimizer(runs, name)["status"] == Status.finished for name in optimizers]
    return np.where(np.all(finished, axis=0), 1.0, np.nan)


def linear_norms(noise: xr.Dataset) -> list[tuple[np.ndarray, ScaledChi]]:
    """The norms of each seed of a setting, with the reference that networks have too."""
    pairs = []
    for each in noise_of_seeds(noise):
        eigenvalues = each.gaussian.eigenvalues
        trace, of_square = float(eigenvalues.sum()), float((eigenvalues**2).sum())
        pairs.append((each.norms, reference(trace, of_square)))
    return pairs


def linear_growth(runs: xr.Dataset) -> pd.DataFrame:
    """Gradient norm and smoothness along Adam's path on the first batch."""
    adam = of_optimizer(runs, "adam")
    names = ["evaluation_gradient_norm", "directional_smoothness"]
    first = xr.Dataset({name: over_evaluations(adam[name]).isel(evaluation=0) for name in names})
    frame = first.to_dataframe().reset_index()
    return frame[["seed", "step", *names]].dropna()

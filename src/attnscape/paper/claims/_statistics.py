"""The statistics that claims rest on, seed by seed, from result Datasets.

Every statistic of a run reads the one learning rate that its optimizer was run with.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from attnscape.estimators import (
    GaussianNorm,
    Interval,
    PairedDifference,
    PairedRatio,
    bootstrap,
    log_trend,
    mean_interval,
    paired_difference,
    paired_ratio,
    proportion,
)
from attnscape.estimators.condition import PUBLIC_CODE, condition_number
from attnscape.paper.runs import of_optimizer

_LAST = 20  # evaluations that a final loss is the median of


def losses(dataset: xr.Dataset, optimizer: str) -> xr.DataArray:
    """Evaluation losses (seed, step), at the steps where they were measured."""
    loss = of_optimizer(dataset, optimizer)["loss"]
    return loss.isel(step=dataset["loss"].notnull().any(("optimizer", "learning_rate", "seed")))


def final_loss(dataset: xr.Dataset, optimizer: str) -> np.ndarray:
    """Of each seed: the median of the last 20 evaluation losses; NaN where the run diverged."""
    last = losses(dataset, optimizer).isel(step=slice(-_LAST, None))
    return last.median("step", skipna=False).values


def loss_gap(dataset: xr.Dataset) -> PairedRatio:
    """Final loss of SGDM over that of Adam."""
    return paired_ratio(final_loss(dataset, "sgdm"), final_loss(dataset, "adam"))


def condition_gap(dataset: xr.Dataset, step: int, name: str = PUBLIC_CODE) -> PairedRatio:
    """Robust condition number of SGDM's iterate over that of Adam's, at a step."""
    numbers = [robust_condition(dataset, optimizer, step, name) for optimizer in ("sgdm", "adam")]
    return paired_ratio(*numbers)


def robust_condition(dataset: xr.Dataset, optimizer: str, step: int, name: str) -> np.ndarray:
    """Of each seed: the robust condition number of that name at a step."""
    at = of_optimizer(dataset, optimizer).sel(step=step)
    return condition_number(
        name,
        eigenvalues=at["hessian_eigenvalues"].values,
        diagonal=at["hessian_diagonal"].values,
        row_norm=at["hessian_row_norm"].values,
    )


def smoothness_gap(dataset: xr.Dataset) -> PairedDifference:
    """Directional smoothness of SGDM minus that of Adam, each the median over a run's steps."""
    return paired_difference(*(median_smoothness(dataset, name) for name in ("sgdm", "adam")))


def median_smoothness(dataset: xr.Dataset, optimizer: str) -> np.ndarray:
    """Of each seed: the median directional smoothness over the steps that the run took."""
    return of_optimizer(dataset, optimizer)["directional_smoothness"].median("step").values


def tail_excess(dataset: xr.Dataset, share: float = 0.001) -> Interval:
    """How often gradient noise exceeds the reference's far quantile, over how often it should.

    The reference of a seed is the norm of a Gaussian vector with the covariance of that seed's
    noise; counts are pooled over seeds.
    """
    noise = dataset.isel(optimizer=0, learning_rate=0, step=0, batch_size=0)
    count = total = 0
    for seed in range(dataset.sizes["seed"]):
        eigenvalues = noise["noise_covariance_eigenvalues"].isel(seed=seed).values
        norms = noise["noise_norm"].isel(seed=seed).values
        threshold = GaussianNorm(np.clip(eigenvalues, 0, None)).quantile(1 - share)
        count += int((norms > threshold).sum())
        total += norms.size
    return proportion(count, total).times(1 / share)


def excess_kurtoses(dataset: xr.Dataset) -> np.ndarray:
    """Excess kurtosis of the noise norms, of each seed."""
    from scipy.stats import kurtosis

    noise = dataset["noise_norm"].isel(optimizer=0, learning_rate=0, step=0, batch_size=0)
    return np.asarray(kurtosis(noise.values, axis=-1, bias=False))


def smoothness_trend(dataset: xr.Dataset, optimizer: str = "adam") -> Interval:
    """Rank correlation of gradient norm and directional smoothness along runs, over seeds."""
    runs = of_optimizer(dataset, optimizer)
    correlations = []
    for seed in range(dataset.sizes["seed"]):
        run = runs.isel(seed=seed)
        trend = log_trend(
            run["evaluation_gradient_norm"].values,
            run["directional_smoothness"].values,
            resamples=50,
        )
        correlations.append(trend.rank_correlation.estimate)
    return over_seeds(np.array(correlations))


def over_seeds(values: np.ndarray) -> Interval:
    """The mean over seeds."""
    return mean_interval(values)


def log_ratio_of(first: np.ndarray, second: np.ndarray) -> Interval:
    """Mean log of `first` minus mean log of `second`, over seeds of unpaired experiments."""
    return bootstrap(
        _difference_of_means, *(np.log(v[np.isfinite(v) & (v > 0)]) for v in (first, second))
    )


def _difference_of_means(first: np.ndarray, second: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.mean(first, axis=axis) - np.mean(second, axis=axis)

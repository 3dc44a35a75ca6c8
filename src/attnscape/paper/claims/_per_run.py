"""The numbers that claims are based on: one for each run, from result Datasets.

Tables have one row for each seed and one column for each evaluation batch. Diverged runs are never
left out: their number is infinity, the worst possible. NaN means that the number is not defined
although the run did not diverge.

Every function expects that the optimizer was run at only one learning rate.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from jaxtyping import Float
from numpy import ndarray

from attnscape.experiments.runs import measured, of_optimizer, over_evaluations, robust_condition
from attnscape.statistics import PUBLIC_CODE, GaussianNorm
from attnscape.training import Status

LAST = 20  # a final loss is the median of this many evaluations
SHARE = "attention_effective_share"
FAR_SHARE = 0.001  # share of the Gaussian reference beyond its far quantile

Table = Float[ndarray, "seed evaluation"]


def losses(dataset: xr.Dataset, optimizer: str) -> xr.DataArray:
    """Evaluation losses (seed, step, evaluation), at the steps where they were measured."""
    steps = measured(dataset["loss"])["step"]
    loss = over_evaluations(of_optimizer(dataset, optimizer)["loss"])
    return loss.sel(step=steps).transpose("seed", "step", "evaluation")


def final_loss(dataset: xr.Dataset, optimizer: str) -> Table:
    """The median of a run's last 20 evaluation losses on each batch."""
    last = losses(dataset, optimizer).isel(step=slice(-LAST, None)).median("step")
    return _worst_where_diverged(last.values, dataset, optimizer)


def loss_at(dataset: xr.Dataset, optimizer: str, step: int) -> Table:
    """The evaluation loss at the measured step that is nearest to `step`."""
    at = losses(dataset, optimizer).sel(step=step, method="nearest")
    return np.where(_diverged_by(dataset, optimizer, step), np.inf, at.values)


def large_batch_loss(dataset: xr.Dataset, optimizer: str) -> Table | None:
    """The loss on the large batch at the last step, as one column; None if it was not measured."""
    if "large_batch_loss" not in dataset:
        return None
    last = of_optimizer(dataset, optimizer)["large_batch_loss"].isel(step=-1).values[:, None]
    return _worst_where_diverged(last, dataset, optimizer)


def condition(dataset: xr.Dataset, optimizer: str, step: int, name: str = PUBLIC_CODE) -> Table:
    """The robust condition number with the given name at a step."""
    runs = of_optimizer(dataset, optimizer).sel(step=step)
    values = robust_condition(runs, name).transpose("seed", "evaluation").values
    return np.where(_diverged_by(dataset, optimizer, step), np.inf, values)


def smoothness(dataset: xr.Dataset, optimizer: str, first: int = 0, last: int = -1) -> Table:
    """The median directional smoothness over the steps `first` to `last` (-1: to the end).

    Only steps at which it was measured on every evaluation batch are used, because it is measured
    more often on the first batch than on the others.
    """
    last = int(dataset["step"][-1]) if last < 0 else last
    runs = over_evaluations(of_optimizer(dataset, optimizer)["directional_smoothness"])
    runs = runs.sel(step=slice(first, last))
    on_all_batches = runs.notnull().any("seed").all("evaluation")
    if on_all_batches.any():
        runs = runs.isel(step=on_all_batches)
    middle = runs.median("step").transpose("seed", "evaluation")
    return np.where(_diverged_by(dataset, optimizer, last), np.inf, middle.values)


def relative_difference(first: Table, second: Table) -> Table:
    """(first - second) / (|first| + |second|): between -1 and 1; 1/3 if first is twice second.

    It is also defined for negative numbers and has no unit. It is 1 if only the first run diverged,
    -1 if only the second diverged, and 0 if both diverged.
    """
    with np.errstate(invalid="ignore"):
        difference = (first - second) / (np.abs(first) + np.abs(second))
    lost = np.isinf(first).astype(float) - np.isinf(second)
    return np.where(np.isinf(first) | np.isinf(second), lost, difference)


def rank_correlations(
    dataset: xr.Dataset, optimizer: str = "adam", smoothness: str = "directional_smoothness"
) -> Table:
    """Rank correlation of the gradient norm with a variable, by default smoothness, on each run."""
    runs = of_optimizer(dataset, optimizer)
    norms, smooth = (
        over_evaluations(runs[name]).transpose("seed", "evaluation", "step").values
        for name in ("evaluation_gradient_norm", smoothness)
    )
    from scipy.stats import spearmanr

    table = np.full(norms.shape[:2], np.nan)
    for index in np.ndindex(*table.shape):
        kept = np.isfinite(norms[index]) & np.isfinite(smooth[index])
        if np.unique(norms[index][kept]).size > 2:
            table[index] = spearmanr(norms[index][kept], smooth[index][kept])[0]
    return table


def spectral_norm(dataset: xr.Dataset) -> xr.DataArray:
    """The Hessian's spectral norm, its largest absolute eigenvalue, with the dataset's dims."""
    return abs(dataset["hessian_eigenvalues"]).max("eigenvalue", skipna=False)


def tail_excesses(dataset: xr.Dataset) -> Float[ndarray, " seed"]:
    """Number of noise norms beyond the Gaussian norm's 99.9 % quantile, relative to expectation.

    The reference of a seed is the norm of a Gaussian vector with the covariance of that seed's
    noise. Half a count is added to both numbers, so that logarithms exist.
    """
    noise = dataset.isel(optimizer=0, learning_rate=0, step=0, batch_size=0)
    excesses = []
    for seed in range(dataset.sizes["seed"]):
        run = noise.isel(seed=seed)
        eigenvalues = np.clip(run["noise_covariance_eigenvalues"].values, 0, None)
        threshold = GaussianNorm(eigenvalues).quantile(1 - FAR_SHARE)
        norms = run["noise_norm"].values
        excesses.append(((norms > threshold).sum() + 0.5) / (FAR_SHARE * norms.size + 0.5))
    return np.array(excesses)


def excess_kurtoses(dataset: xr.Dataset) -> Float[ndarray, " seed"]:
    """Excess kurtosis of the noise norms of each seed."""
    from scipy.stats import kurtosis

    noise = dataset["noise_norm"].isel(optimizer=0, learning_rate=0, step=0, batch_size=0)
    return np.asarray(kurtosis(noise.values, axis=-1, bias=False))


def first_loss(dataset: xr.Dataset, optimizer: str) -> Table:
    """The loss at initialisation."""
    return losses(dataset, optimizer).isel(step=0).values


def final_attention(dataset: xr.Dataset, optimizer: str, name: str = SHARE) -> Table:
    """The median of a run's last 20 values of a measure of its attention, the mean over layers.

    It is NaN for diverged runs: their scores are neither sparse nor dense.
    """
    last = _attention(dataset, optimizer, name).isel(step=slice(-LAST, None))
    diverged = of_optimizer(dataset, optimizer)["status"].values == Status.diverged
    return np.where(diverged[:, None], np.nan, last.median("step", skipna=False).values)


def first_attention(dataset: xr.Dataset, optimizer: str, name: str = SHARE) -> Table:
    """The same measure at initialisation."""
    return _attention(dataset, optimizer, name).isel(step=0).values


def _attention(dataset: xr.Dataset, optimizer: str, name: str) -> xr.DataArray:
    """Values (seed, step, evaluation), at the steps where they were measured."""
    steps = measured(dataset[name])["step"]
    values = over_evaluations(of_optimizer(dataset, optimizer)[name]).sel(step=steps)
    return values.mean("layer", skipna=False).transpose("seed", "step", "evaluation")


def _worst_where_diverged(table: Table, dataset: xr.Dataset, optimizer: str) -> Table:
    diverged = of_optimizer(dataset, optimizer)["status"].values == Status.diverged
    return np.where(diverged[:, None] | np.isnan(table), np.inf, table)


def _diverged_by(dataset: xr.Dataset, optimizer: str, step: int) -> Table:
    """Whether a run had diverged at a step, as a column."""
    runs = of_optimizer(dataset, optimizer)
    if "diverged_at" in runs:
        return ((runs["diverged_at"] >= 0) & (runs["diverged_at"] <= step)).values[:, None]
    return (runs["status"] == Status.diverged).values[:, None]

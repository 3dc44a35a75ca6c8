"""Speed-up of Adam over SGDM and gap in directional smoothness, by setting and pair of rates.

A pair is a rate of SGDM with a rate of Adam. Pairs of one setting share runs, so they are dependent
and never the units of an interval; settings are. Each of the two numbers is taken from another half
of the seeds: chance that makes a run both rough and slow adds no correlation. Pairs with a diverged
run are left out: as the roughest and the slowest of all, they would make a correlation.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float
from numpy import ndarray
from scipy import stats

from attnscape.errors import UsageError
from attnscape.experiments.artifact import Results
from attnscape.paper.claims import _per_run as per_run
from attnscape.statistics import FEWEST, Interval, RankCorrelation, mean_interval, rank_correlation
from attnscape.training import Status

OPTIMIZERS = ("sgdm", "adam")
_GAPS, _SPEEDS = slice(0, None, 2), slice(1, None, 2)  # the seeds that each number is taken from


@dataclasses.dataclass(frozen=True)
class Pair:
    """One pair of rates in one setting, at which no run diverged.

    Attributes:
        rates: Learning rates of SGDM and Adam.
        middle: Whether both are the middle ones of those that were run: the setting's own.
        gap: (s - a)/(|s| + |a|) of SGDM's and Adam's median smoothness s and a: 1/3 where s is
            twice a; (seed,), mean over evaluation batches.
        speed_up: The steps that SGDM needs over those that Adam needs, (other seed,).
    """

    rates: tuple[float, float]
    middle: bool
    gap: Float[ndarray, " seed"]
    speed_up: Float[ndarray, " other_seed"]

    @property
    def medians(self) -> tuple[float, float]:
        """Gap and speed-up, each the median over its seeds."""
        return float(np.median(self.gap)), float(np.median(self.speed_up))


def pairs_of(dataset: xr.Dataset) -> list[Pair]:
    """The pairs of rates of one setting, in the order of SGDM's and then Adam's rates."""
    return _pairs(dataset, _rates_of_pairs(dataset))


def _pairs(dataset: xr.Dataset, chosen: Sequence[tuple[float, float]]) -> list[Pair]:
    """Those of the given pairs of rates at which no run diverged."""
    pairs = []
    middle = _middle(dataset)
    for rates in chosen:
        sgdm, adam = (
            dataset.sel(optimizer=[name], learning_rate=[rate])
            for name, rate in zip(OPTIMIZERS, rates, strict=True)
        )
        if all((each["status"] == Status.finished).all() for each in (sgdm, adam)):
            gap = _gap(sgdm.isel(seed=_GAPS), adam.isel(seed=_GAPS))
            speed = speed_up(sgdm.isel(seed=_SPEEDS), adam.isel(seed=_SPEEDS))
            pairs.append(Pair(rates, rates == middle, gap, speed))
    return pairs


def _rates_of_pairs(dataset: xr.Dataset) -> list[tuple[float, float]]:
    return list(itertools.product(_rates(dataset, "sgdm"), _rates(dataset, "adam")))


def _middle(dataset: xr.Dataset) -> tuple[float, float]:
    sgdm, adam = (float(np.median(_rates(dataset, name))) for name in OPTIMIZERS)
    return sgdm, adam


def _rates(dataset: xr.Dataset, optimizer: str) -> list[float]:
    """The rates that an optimizer was run at, ascending."""
    run = (dataset["status"].sel(optimizer=optimizer) != Status.not_run).any("seed")
    return sorted(float(rate) for rate in dataset["learning_rate"].values[run.values])


def _gap(sgdm: xr.Dataset, adam: xr.Dataset) -> Float[ndarray, " seed"]:
    tables = per_run.smoothness(sgdm, "sgdm"), per_run.smoothness(adam, "adam")
    # Smoothness is measured on some of the batches only; on the others it is NaN.
    return np.nanmean(per_run.relative_difference(*tables), axis=1)


def speed_up(sgdm: xr.Dataset, adam: xr.Dataset) -> Float[ndarray, " seed"]:
    """Steps that SGDM needs over steps that Adam needs, until both have reached the same loss.

    That loss is the larger of the two final losses of a seed, so that both reach it, and nothing is
    censored. A number below 1 means that Adam is slower. Losses are geometric means over evaluation
    batches; the final loss is the median of the last 20 evaluations.
    """
    curves = [per_run.losses(runs, name) for runs, name in ((sgdm, "sgdm"), (adam, "adam"))]
    logs = [np.log(each.values).mean(axis=2) for each in curves]
    goal = np.max([np.median(each[:, -per_run.LAST :], axis=1) for each in logs], axis=0)
    steps = curves[0]["step"].values[1:]  # at the start no optimizer has done anything
    sgdm_needs, adam_needs = (steps[(each[:, 1:] <= goal[:, None]).argmax(axis=1)] for each in logs)
    return sgdm_needs / adam_needs


def at_own_rates(results: Results) -> list[Pair]:
    """The pair of each setting's own rates, for the settings where none of its runs diverged."""
    own = []
    for dataset in results.values():
        middle = _middle(dataset)  # between two rates if their number is even
        if middle in _rates_of_pairs(dataset):
            own += _pairs(dataset, [middle])
    return own


def at_best_rates(results: Results) -> list[Pair]:
    """The pair of each optimizer's best rates, by the smallest median final loss of all seeds."""
    chosen = []
    for dataset in results.values():
        sgdm, adam = (_best_rate(dataset, name) for name in OPTIMIZERS)
        chosen += _pairs(dataset, [(sgdm, adam)])
    return chosen


def _best_rate(dataset: xr.Dataset, optimizer: str) -> float:
    """The best of the rates at which no run diverged, if there are any."""
    losses = {
        rate: per_run.final_loss(dataset.sel(learning_rate=[rate]), optimizer)
        for rate in _rates(dataset, optimizer)
    }
    return min(losses, key=lambda rate: (np.isinf(losses[rate]).any(), np.median(losses[rate])))


def across(pairs: Sequence[Pair]) -> RankCorrelation:
    """Rank correlation of gap and speed-up over settings, from one pair of each.

    Raises:
        UsageError: If there is no pair.
    """
    if not pairs:
        raise UsageError(
            "In every setting some run diverged, so that gaps and speed-ups cannot be compared; "
            "take other learning rates."
        )
    return rank_correlation([pair.gap for pair in pairs], [pair.speed_up for pair in pairs])


def within(pairs: Sequence[Pair]) -> float:
    """Rank correlation over one setting's pairs; NaN if they are fewer than 5 or all alike."""
    if len(pairs) < FEWEST:
        return np.nan
    gaps, speeds = np.transpose([pair.medians for pair in pairs])
    if np.ptp(gaps) == 0 or np.ptp(speeds) == 0:
        return np.nan
    return float(np.asarray(stats.spearmanr(gaps, speeds))[0])


def mean_within(results: Results) -> Interval:
    """The mean over settings of the rank correlations within them, with settings as the units."""
    return mean_interval([within(pairs_of(dataset)) for dataset in results.values()])

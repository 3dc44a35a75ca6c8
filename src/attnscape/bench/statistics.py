"""The statistics of a bench, computed from arrays over settings, optimizers and seeds."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray
from scipy.stats import rankdata

from attnscape.statistics import Interval, bootstrap, mean_interval

_LAST = 0.05  # the loss at the budget is the median over this share of the evaluations
GOOD = 2.0  # a learning rate is good if its loss is at most this factor times the best rate's


def loss_at_budget(losses: Float[ndarray, "seed step"]) -> Float[ndarray, " seed"]:
    """The median of the last 5 % of the evaluations of each seed; infinite after divergence."""
    count = max(1, math.ceil(_LAST * losses.shape[1]))
    return np.nan_to_num(np.median(losses[:, -count:], axis=1), nan=np.inf, posinf=np.inf)


def steps_to_reach(
    losses: Float[ndarray, "seed step"],
    steps: Float[ndarray, " step"],
    targets: Float[ndarray, " seed"],
) -> Float[ndarray, " seed"]:
    """The first evaluated step of each seed with a loss of at most its target, or infinity."""
    # A NaN never reaches the target. If the baseline diverged, there is no target.
    reached = (losses <= targets[:, None]) & np.isfinite(targets)[:, None]
    return np.where(reached.any(axis=1), steps[reached.argmax(axis=1)], np.inf)


def speed_ups(
    baseline: Float[ndarray, " seed"], steps: Float[ndarray, " seed"]
) -> Float[ndarray, " counted"]:
    """The baseline's steps to a target over an optimizer's; 0 if the optimizer never reaches it.

    Seeds on which the target was reached at the start, or the baseline diverged, are left out.
    """
    counted = np.isfinite(baseline) & (baseline > 0)
    return baseline[counted] / np.maximum(steps[counted], 1)


def loss_ratios(
    losses: Float[ndarray, "setting seed"], baseline: Float[ndarray, "setting seed"]
) -> Float[ndarray, " seed"]:
    """The losses over a baseline's for each seed, geometric mean over settings.

    Divergence counts: the ratio is infinite if the optimizer diverged on more settings than the
    baseline, and 0 if on fewer. If both diverged on equally many, the ratio uses the settings that
    both finished; it is 1 if there are none.
    """
    lost, theirs = np.isinf(losses), np.isinf(baseline)
    logs = np.log(np.where(lost | theirs, 1.0, losses)) - np.log(
        np.where(lost | theirs, 1.0, baseline)
    )
    both = np.maximum((~(lost | theirs)).sum(axis=0), 1)
    more, fewer = lost.sum(axis=0), theirs.sum(axis=0)
    return np.select([more > fewer, more < fewer], [np.inf, 0.0], np.exp(logs.sum(axis=0) / both))


def mean_ranks(losses: Float[ndarray, "setting optimizer seed"]) -> list[Interval]:
    """The rank of each optimizer (1 is best, ties share), averaged over settings and seeds.

    The interval holds for other seeds on the same settings.
    """
    of_seeds = rankdata(losses, axis=1).mean(axis=0)
    return [mean_interval(ranks) for ranks in of_seeds]


def profile(
    losses: Float[ndarray, "setting optimizer seed"], factors: Float[ndarray, " factor"]
) -> Float[ndarray, "optimizer factor"]:
    """Performance profiles (Dolan and More, 2002).

    The share of (setting, seed) problems on which an optimizer's loss is at most a factor times
    the best one's.
    """
    best = losses.min(axis=1, keepdims=True)
    # If all optimizers diverged, none of them is within any factor.
    with np.errstate(invalid="ignore"):
        ratios = np.where(np.isfinite(losses), losses / best, np.inf)
    within = ratios[..., None] <= factors
    return within.mean(axis=(0, 2))


def good_range(table: pd.DataFrame) -> Interval:
    """Factor between the largest and the smallest good learning rate around the best one.

    A rate is good if no run diverged and its median loss over tuning seeds is at most twice the
    best rate's. The range ends before the first rate that is not good.

    Args:
        table: Columns learning_rate, seed, loss (infinite if diverged), of one optimizer.
    """
    losses = table.pivot(index="learning_rate", columns="seed", values="loss").sort_index()
    rates = losses.index.to_numpy()

    def width(seeds: ndarray) -> float:
        chosen = losses.to_numpy()[:, seeds.astype(int)]
        medians = np.where(np.isinf(chosen).any(axis=1), np.inf, np.median(chosen, axis=1))
        best = int(np.argmin(medians))
        if not np.isfinite(medians[best]):
            return 0.0
        good = medians <= GOOD * medians[best]
        low = high = best
        while low > 0 and good[low - 1]:
            low -= 1
        while high + 1 < len(good) and good[high + 1]:
            high += 1
        return float(rates[high] / rates[low])

    return bootstrap(width, np.arange(losses.shape[1]), resamples=500)

"""What a bench says of optimizers: arrays over settings, optimizers and seeds in, numbers out."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray
from scipy.stats import rankdata

from attnscape.estimators import Interval, bootstrap, mean_interval

_LAST = 0.05  # share of the evaluations that the loss at the budget is the median of
GOOD = 2.0  # a learning rate is good if its loss is at most so many times the best rate's


def loss_at_budget(losses: Float[ndarray, "seed step"]) -> Float[ndarray, " seed"]:
    """Of each seed: the median of the last 5 % of the evaluations; infinite after divergence."""
    count = max(1, math.ceil(_LAST * losses.shape[1]))
    return np.nan_to_num(np.median(losses[:, -count:], axis=1), nan=np.inf, posinf=np.inf)


def steps_to_reach(
    losses: Float[ndarray, "seed step"],
    steps: Float[ndarray, " step"],
    targets: Float[ndarray, " seed"],
) -> Float[ndarray, " seed"]:
    """Of each seed: the first evaluated step with a loss of at most its target; else infinite."""
    # NaN is not; and where the baseline diverged there is nothing to reach.
    reached = (losses <= targets[:, None]) & np.isfinite(targets)[:, None]
    return np.where(reached.any(axis=1), steps[reached.argmax(axis=1)], np.inf)


def speed_ups(
    baseline: Float[ndarray, " seed"], steps: Float[ndarray, " seed"]
) -> Float[ndarray, " counted"]:
    """The baseline's steps to a target over an optimizer's; 0 where it never arrives.

    Seeds on which the target was there at the start, or the baseline diverged, are left out.
    """
    counted = np.isfinite(baseline) & (baseline > 0)
    return baseline[counted] / np.maximum(steps[counted], 1)


def loss_ratios(
    losses: Float[ndarray, "setting seed"], baseline: Float[ndarray, "setting seed"]
) -> Float[ndarray, " seed"]:
    """Of each seed: the losses over a baseline's, geometric mean over settings.

    Divergence counts: infinite where the optimizer diverged on more settings than the baseline, 0
    where on fewer. Where on as many, the ratio is over the settings that both finished, 1 if none.
    """
    lost, theirs = np.isinf(losses), np.isinf(baseline)
    logs = np.log(np.where(lost | theirs, 1.0, losses)) - np.log(
        np.where(lost | theirs, 1.0, baseline)
    )
    both = np.maximum((~(lost | theirs)).sum(axis=0), 1)
    more, fewer = lost.sum(axis=0), theirs.sum(axis=0)
    return np.select([more > fewer, more < fewer], [np.inf, 0.0], np.exp(logs.sum(axis=0) / both))


def mean_ranks(losses: Float[ndarray, "setting optimizer seed"]) -> list[Interval]:
    """Of each optimizer: its rank (1 is best, ties share), averaged over settings and seeds.

    The interval is over seeds, the settings being what they are.
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
    # Where all diverged nobody is within any factor.
    with np.errstate(invalid="ignore"):
        ratios = np.where(np.isfinite(losses), losses / best, np.inf)
    within = ratios[..., None] <= factors
    return within.mean(axis=(0, 2))


def good_range(table: pd.DataFrame) -> Interval:
    """Factor between the largest and the smallest good learning rate around the best one.

    Good: no run diverged and the median loss over tuning seeds is at most twice the best rate's.
    Neighbours count up to the first that is not good.

    Args:
        table: Columns learning_rate, seed, loss (infinite where diverged), of one optimizer.
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

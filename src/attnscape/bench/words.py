"""The cells of a bench's tables, in words."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from attnscape.statistics import Interval, median


def interval_in_words(interval: Interval, n: int) -> str:
    """Estimate, ends and n; without ends if there are none; infinity is written `diverged`."""
    if n == 0 or math.isnan(interval.estimate):
        return "none"
    estimate, low, high = map(_number, (interval.estimate, interval.low, interval.high))
    if math.isnan(interval.low) or math.isnan(interval.high):
        return f"{estimate} (n = {n})"
    return f"{estimate} [{low}, {high}] (n = {n})"


def speed_up_in_words(ratios: Float[ndarray, " seed"]) -> str:
    """The median of speed-ups; a speed-up of 0 means that the target was not reached.

    If half or more of the targets were not reached, the text has no number.
    """
    n, missed = ratios.size, int(np.count_nonzero(ratios == 0))
    if n == 0:
        return "no target"
    if 2 * missed >= n:
        return f"not reached ({missed} of {n})"
    interval = median(ratios)
    low = f"{interval.low:.3g}" if interval.low > 0 else "not reached"
    words = f"{interval.estimate:.3g}"
    if not math.isnan(interval.low):
        words += f" [{low}, {interval.high:.3g}]"
    return words + (f" (n = {n}, not reached: {missed})" if missed else f" (n = {n})")


def _number(value: float) -> str:
    return "diverged" if value == math.inf else f"{value:.3g}"

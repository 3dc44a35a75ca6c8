"""Exact intervals: of a median by order statistics, and of a share.

Sources: David and Nagaraja, Order Statistics (2003), section 7.1 (interval of a median); Clopper
and Pearson, Biometrika 26 (1934).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtr, betaincinv

from attnscape.statistics._check import fraction, vector
from attnscape.statistics._interval import FEWEST, Interval, no_interval
from attnscape.statistics._one_sided import Binomial, Signs


def median(values: ArrayLike, *, level: float = 0.95) -> Interval:
    """Median with its exact interval between order statistics; values may be infinite.

    For any distribution of the values, the interval covers its median with probability at least
    `level`. Coverage at 95 %: 96.9 % for n = 6 (from the smallest to the largest value), 97.9 % for
    n = 10, 97.7 % for n = 24. Stuck runs and diverged runs (infinite) count like any other value.

    Args:
        values: (n,) independent values, infinite if a run diverged.
        level: Least coverage.

    Returns:
        The ends are NaN if even the range of the values covers less than `level` (at 95 %: with
        fewer than 6 values). Estimate and ends are NaN if a value is NaN.

    Raises:
        ValueError: If `values` is not a vector or `level` is not between 0 and 1.

    Examples:
        >>> from attnscape.statistics import median
        >>> print(median([1.0, 2.0, 3.0, 4.0, 5.0, float("inf")]))
        3.5 [1, inf] (95 %, n = 6)
    """
    level = fraction("level", level)
    ordered = np.sort(vector("values", values, finite=False))
    n, finite = ordered.size, int(np.count_nonzero(np.isfinite(ordered)))
    if n == 0 or np.isnan(ordered[-1]):
        return no_interval(np.nan, finite, level)
    lower, upper = ordered[(n - 1) // 2], ordered[n // 2]
    with np.errstate(invalid="ignore"):  # opposite infinities have no mean
        estimate = lower if lower == upper else (lower + upper) / 2
    rank = int(np.count_nonzero(bdtr(np.arange(n), n, 0.5) <= (1 - level) / 2))
    if n < FEWEST or rank == 0:
        return no_interval(float(estimate), n, level)
    low, high = float(ordered[rank - 1]), float(ordered[n - rank])
    return Interval(float(estimate), low, high, level, n, "exact", Signs(ordered))


def proportion(successes: int, trials: int, *, level: float = 0.95) -> Interval:
    """Exact (Clopper-Pearson) interval of a share; coverage is at least `level` for any n.

    Raises:
        ValueError: If `successes` is not between 0 and `trials`.

    Examples:
        >>> from attnscape.statistics import proportion
        >>> print(proportion(0, 10))  # the upper end is 1 - 0.025^(1/10)
        0 [0, 0.308] (95 %, n = 10)
    """
    level = fraction("level", level)
    if not 0 <= successes <= trials:
        raise ValueError(
            f"{successes} successes in {trials} trials were given; "
            "there must be between 0 and as many as trials."
        )
    if trials == 0:
        return no_interval(np.nan, 0, level)
    k, failures, tail = successes, trials - successes, (1 - level) / 2
    low = betaincinv(k, failures + 1, tail) if k else 0.0
    high = betaincinv(k + 1, failures, 1 - tail) if failures else 1.0
    tails = Binomial(successes, trials)
    return Interval(k / trials, float(low), float(high), level, trials, "exact", tails)

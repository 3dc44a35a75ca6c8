"""Intervals of means and geometric means: Student's t for few values, bootstrap t for more.

Source: Hesterberg, "What Teachers Should Know About the Bootstrap", The American Statistician 69
(2015), section 5 (bootstrap t).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from attnscape.statistics._check import FloatArray, at_least, fraction, vector
from attnscape.statistics._interval import FEWEST, Interval, no_interval
from attnscape.statistics._one_sided import Student, Studentised

_STUDENT = 10  # up to so many values Student's t is used; above, the bootstrap


def mean_interval(
    values: ArrayLike, *, level: float = 0.95, resamples: int = 5000, seed: int = 0
) -> Interval:
    """Mean of the finite values: no ends for n < 5, Student's t for n <= 10, else bootstrap t.

    The bootstrap t resamples (mean - truth) / standard error; unlike percentiles and Student's t,
    it corrects for skewness. Coverage in % at nominal 95 %, measured on 4,000 samples each
    (the standard error is 0.3 to 0.7):

    ===========  =====  =====  ======  ======  ======
    values       n = 5  n = 6  n = 10  n = 11  n = 24
    ===========  =====  =====  ======  ======  ======
    normal       95.0   95.4   95.5    95.3    95.0
    log-normal   81.7   82.7   83.9    90.3    91.5
    stuck        75.1   77.8   89.1    90.8    96.8
    ===========  =====  =====  ======  ======  ======

    "Stuck": log losses, normal with standard deviation 0.3, but one run in five has ten times the
    loss. A quarter of the samples of six contain no stuck run. From such a sample no method can
    know of stuck runs, so no interval of a mean has its nominal coverage. The same is true of the
    mean of log-normal values. Compare losses by their logarithms (`geometric_mean`) or, if single
    runs may be stuck, by the `median`, whose interval is exact.

    Args:
        values: (n,) independent values; those that are not finite are left out.
        level: Nominal coverage.
        resamples: Bootstrap resamples.
        seed: Seed of the bootstrap.

    Raises:
        ValueError: If `values` is not a vector, `level` is not between 0 and 1, or there are fewer
            than 2 resamples.

    Examples:
        >>> from attnscape.statistics import mean_interval
        >>> print(mean_interval([1.0, 2.0, 3.0, 4.0, 5.0, float("nan")]))
        3 [1.04, 4.96] (95 %, n = 5)
    """
    level, resamples = fraction("level", level), at_least("resamples", resamples, 2)
    values = vector("values", values, finite=False)
    values = values[np.isfinite(values)]
    n = values.size
    if n < FEWEST:
        return no_interval(float(np.mean(values)) if n else np.nan, n, level)
    mean = float(np.mean(values))
    # The standard deviation of equal values is the rounding error of their mean, not 0.
    error = float(np.std(values, ddof=1) / np.sqrt(n)) if np.ptp(values) > 0 else 0.0
    replicates = _studentised(values, resamples, seed) if n > _STUDENT and error > 0 else None
    if replicates is None:
        half = float(stdtrit(n - 1, (1 + level) / 2)) * error
        tails = Student(mean, error, n - 1)
        return Interval(mean, mean - half, mean + half, level, n, "Student t", tails)
    high, low = mean - error * np.quantile(replicates, [(1 - level) / 2, (1 + level) / 2])
    tails = Studentised(mean, error, replicates)
    return Interval(mean, float(low), float(high), level, n, "bootstrap", tails)


def _studentised(values: FloatArray, resamples: int, seed: int) -> FloatArray | None:
    """Sorted (mean of a resample - mean) / standard error of the resample.

    None if so many resamples have no spread, because many values are equal, that they would
    determine the ends.
    """
    n, rng = values.size, np.random.default_rng(seed)
    centred = values - np.mean(values)
    batch = max(1, 2**22 // n)  # bounds memory at some 30 MB
    moments = []
    for start in range(0, resamples, batch):
        drawn = centred[rng.integers(0, n, (min(batch, resamples - start), n))]
        moments.append([drawn.mean(axis=1), np.square(drawn).mean(axis=1)])
    means, squares = np.concatenate(moments, axis=1)
    spread = squares - means**2
    flat = spread <= 1e-12 * np.mean(centred**2)
    if np.mean(flat) > 1e-3:
        return None
    return np.sort(means[~flat] / np.sqrt(spread[~flat] / (n - 1)))


def geometric_mean(
    values: ArrayLike, *, level: float = 0.95, resamples: int = 5000, seed: int = 0
) -> Interval:
    """Geometric mean of positive values, such as ratios: exp of `mean_interval` of the logs.

    Args:
        values: (n,) independent values; those that are not finite are left out.
        level: Nominal coverage.
        resamples: Bootstrap resamples.
        seed: Seed of the bootstrap.

    Returns:
        NaN if a value is zero or negative.

    Raises:
        ValueError: As `mean_interval`.

    Examples:
        >>> from attnscape.statistics import geometric_mean
        >>> print(geometric_mean([1.0, 2.0, 4.0, 8.0, 16.0]))
        4 [1.03, 15.6] (95 %, n = 5)
    """
    values = vector("values", values, finite=False)
    values = values[np.isfinite(values)]
    if values.size and values.min() <= 0:
        return no_interval(np.nan, values.size, fraction("level", level))
    return mean_interval(np.log(values), level=level, resamples=resamples, seed=seed).exp()

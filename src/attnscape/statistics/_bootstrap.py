"""Bootstrap intervals of any statistic.

Source: Hesterberg, "What Teachers Should Know About the Bootstrap", The American Statistician 69
(2015), section 4.1 (expanded percentiles).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr, stdtrit

from attnscape.statistics._check import FloatArray, at_least, fraction, vector
from attnscape.statistics._interval import FEWEST, Interval, no_interval
from attnscape.statistics._one_sided import Percentiles, Student


def bootstrap(
    statistic: Callable[..., Any],
    *samples: ArrayLike,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    paired: bool = False,
) -> Interval:
    """Bootstrap interval of a statistic of one or more samples of independent values.

    Percentiles of `scipy.stats.bootstrap`, expanded for small samples: resampling n values
    underestimates their spread by sqrt((n - 1)/n) and ignores the heavier tails of Student's t, so
    each end is the percentile at the normal tail of sqrt(n/(n - 1)) t_{n-1} (n: the smallest
    sample). With the few seeds of a comparison, this correction matters more than BCa's. Besides,
    BCa's jackknife fails for a median and costs n^2 on a large sample. Coverage measured at nominal
    95 % with n = 6: mean of normal values 93 % (plain percentiles 87 %, BCa 86 %), mean of
    exponential values 89 %, median 97 %. With fewer than 5 values no resampling interval has its
    nominal coverage (the interval of two values is their range, which covers a median half of the
    time), so the ends are NaN. For means and medians there are better methods: `mean_interval`,
    `geometric_mean` and `median`.

    Args:
        statistic: Maps samples to a number. If it takes `axis`, it is called on all resamples at
            once; otherwise once for each.
        *samples: Vectors; lengths may differ unless `paired`.
        level: Nominal coverage.
        resamples: Number of resamples.
        seed: Seed of the resampling.
        paired: Whether the samples are resampled jointly, so that values with one index stay
            together.

    Returns:
        The ends are NaN if a sample has fewer than 5 values or the statistic is not defined on the
        sample or on a resample; they equal the estimate if every sample is constant.

    Raises:
        ValueError: If there is no sample, a sample is not a finite vector, `paired` samples differ
            in length, there are fewer than 2 resamples, or `level` is not between 0 and 1.

    Examples:
        >>> import numpy as np
        >>> from attnscape.statistics import bootstrap
        >>> first, second = [2, 4, 6, 8, 10], [1, 2, 3, 4, 5]
        >>> print(bootstrap(lambda a, b: np.mean(a) / np.mean(b), first, second, paired=True))
        2 [2, 2] (95 %, n = 5)
    """
    level, resamples = fraction("level", level), at_least("resamples", resamples, 2)
    arrays = _samples(samples, paired)
    n = min(array.size for array in arrays)
    if n == 0:
        return no_interval(np.nan, 0, level)
    with np.errstate(all="ignore"):  # an undefined statistic is NaN in the result
        estimate = float(statistic(*arrays))
    if n < FEWEST or not np.isfinite(estimate):
        return no_interval(estimate, n, level)
    if all(np.ptp(array) == 0 for array in arrays):
        certain = Student(estimate, 0.0, n - 1)
        return Interval(estimate, estimate, estimate, level, n, "bootstrap", certain)
    low, high, replicates = _resampled(
        statistic, arrays, _expanded(level, n), resamples, seed, paired
    )
    if np.isnan(low) or np.isnan(high):
        return no_interval(estimate, n, level)
    return Interval(estimate, low, high, level, n, "bootstrap", Percentiles(replicates, n))


def _samples(samples: Sequence[ArrayLike], paired: bool) -> list[FloatArray]:
    """The samples as vectors; raises ValueError as `bootstrap` does."""
    if not samples:
        raise ValueError("No sample was given; pass at least one vector after the statistic.")
    arrays = [vector(f"Sample {i}", sample) for i, sample in enumerate(samples)]
    sizes = [array.size for array in arrays]
    if paired and len(set(sizes)) > 1:
        raise ValueError(f"Paired samples have {sizes} values; they must be equally long.")
    return arrays


def _resampled(
    statistic: Callable[..., Any],
    arrays: Sequence[FloatArray],
    level: float,
    resamples: int,
    seed: int,
    paired: bool,
) -> tuple[float, float, FloatArray]:
    """Ends of the percentile interval at `level`, and the sorted replicates."""
    from scipy.stats import DegenerateDataWarning  # imported here, as it takes half a second
    from scipy.stats import bootstrap as resample

    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)  # the ends are then NaN
        result = resample(
            arrays,
            statistic,
            n_resamples=resamples,
            batch=max(1, 2**22 // max(array.size for array in arrays)),  # at most some 100 MB
            paired=paired,
            confidence_level=level,
            method="percentile",
            rng=np.random.default_rng(seed),
        )
    low, high = (float(end) for end in result.confidence_interval)
    return low, high, np.sort(result.bootstrap_distribution)


def _expanded(level: float, n: int) -> float:
    """The percentile level at which n values give coverage `level` (Hesterberg 2015)."""
    return float(1 - 2 * ndtr(-np.sqrt(n / (n - 1)) * stdtrit(n - 1, (1 + level) / 2)))

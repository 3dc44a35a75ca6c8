"""Confidence intervals: by the bootstrap for any statistic, exactly for a share.

Sources: Hesterberg, "What Teachers Should Know About the Bootstrap", The American Statistician 69
(2015), section 4.1 (expanded percentiles); Clopper and Pearson, Biometrika 26 (1934).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincinv, ndtr, stdtrit

from attnscape.estimators._check import at_least, fraction, vector


@dataclass(frozen=True)
class Interval:
    """An estimate and its two-sided confidence interval.

    `low` and `high` are NaN where the data cannot say how far the estimate is off. Every question
    below is then answered with False, so that a missing interval never supports a verdict.

    Attributes:
        estimate: The statistic of the sample.
        low: Lower end.
        high: Upper end.
        level: Nominal coverage, such as 0.95.
    """

    estimate: float
    low: float
    high: float
    level: float

    def above(self, value: float) -> bool:
        """Whether the whole interval lies above `value`."""
        return self.low > value

    def below(self, value: float) -> bool:
        """Whether the whole interval lies below `value`."""
        return self.high < value

    def covers(self, value: float) -> bool:
        """Whether `value` lies in the closed interval."""
        return self.low <= value <= self.high

    def __str__(self) -> str:
        if np.isnan(self.estimate):
            return "not defined"
        return f"{self.estimate:.3g} [{self.low:.3g}, {self.high:.3g}] ({100 * self.level:g} %)"


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
    understates their spread by sqrt((n - 1)/n) and knows nothing of Student's t, so each end is
    taken at the normal tail of sqrt(n/(n - 1)) t_{n-1} (n: the smallest sample). With the handful
    of seeds that a comparison has, this matters more than what BCa corrects, and BCa's jackknife
    fails for a median and costs n^2 on a large sample. Coverage measured at nominal 95 % with
    n = 6: mean of normal values 93 % (plain percentiles 87 %, BCa 86 %), mean of exponential
    values 89 %, median 97 %. Below 5 values no resampling interval holds its level: two values
    give their range, which covers a median half of the time.

    Args:
        statistic: Maps samples to a number. If it takes `axis`, it is called on all resamples at
            once; otherwise once for each.
        *samples: Vectors; lengths may differ unless `paired`.
        level: Nominal coverage.
        resamples: Number of resamples.
        seed: Seed of the resampling.
        paired: Resample the samples jointly, keeping value i of each together.

    Returns:
        Ends are NaN when a sample has fewer than 2 values or the statistic is not defined on the
        sample or on a resample; they equal the estimate when every sample is constant.

    Raises:
        ValueError: If there is no sample, a sample is not a finite vector, `paired` samples differ
            in length, there are fewer than 2 resamples, or `level` is not between 0 and 1.
    """
    level, resamples = fraction("level", level), at_least("resamples", resamples, 2)
    if not samples:
        raise ValueError("No sample was given; pass at least one vector after the statistic.")
    arrays = [vector(f"Sample {i}", sample) for i, sample in enumerate(samples)]
    sizes = [array.size for array in arrays]
    if paired and len(set(sizes)) > 1:
        raise ValueError(f"Paired samples have {sizes} values; they must be equally long.")
    n = min(sizes)
    if n == 0:
        return Interval(np.nan, np.nan, np.nan, level)
    with np.errstate(all="ignore"):  # an undefined statistic is NaN, and NaN is in the answer
        estimate = float(statistic(*arrays))
    if n < 2 or not np.isfinite(estimate):
        return Interval(estimate, np.nan, np.nan, level)
    if all(np.ptp(array) == 0 for array in arrays):
        return Interval(estimate, estimate, estimate, level)

    from scipy.stats import DegenerateDataWarning  # half a second: only who asks for it waits
    from scipy.stats import bootstrap as resample

    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)  # likewise, NaN says it
        result = resample(
            arrays,
            statistic,
            n_resamples=resamples,
            batch=max(1, 2**22 // max(sizes)),  # bounds memory at some 100 MB
            paired=paired,
            confidence_level=_expanded(level, n),
            method="percentile",
            rng=np.random.default_rng(seed),
        ).confidence_interval
    return Interval(estimate, float(result.low), float(result.high), level)


def median(values: ArrayLike) -> Interval:
    """Median with its bootstrap interval at 95 %; infinite values (diverged runs) count as such.

    Returns:
        Ends are NaN where a value is infinite, since resamples of those have no interval, and where
        there are fewer than 2 values.
    """
    if np.isfinite(values).all():
        return bootstrap(np.median, values)
    return Interval(float(np.median(np.asarray(values, float))), np.nan, np.nan, 0.95)


def _expanded(level: float, n: int) -> float:
    """The percentile level at which n values give coverage `level` (Hesterberg 2015)."""
    return float(1 - 2 * ndtr(-np.sqrt(n / (n - 1)) * stdtrit(n - 1, (1 + level) / 2)))


def proportion(successes: int, trials: int, *, level: float = 0.95) -> Interval:
    """Exact (Clopper-Pearson) interval of a share; coverage is at least `level`.

    Raises:
        ValueError: If `successes` is not between 0 and `trials`.
    """
    level = fraction("level", level)
    if not 0 <= successes <= trials:
        raise ValueError(
            f"{successes} successes in {trials} trials were given; "
            "there must be between 0 and as many as trials."
        )
    if trials == 0:
        return Interval(np.nan, np.nan, np.nan, level)
    k, failures, tail = successes, trials - successes, (1 - level) / 2
    low = betaincinv(k, failures + 1, tail) if k else 0.0
    high = betaincinv(k + 1, failures, 1 - tail) if failures else 1.0
    return Interval(k / trials, float(low), float(high), level)

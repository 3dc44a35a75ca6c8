"""Confidence intervals: of means, medians and shares, and by the bootstrap for any statistic.

Sources: Hesterberg, "What Teachers Should Know About the Bootstrap", The American Statistician 69
(2015), sections 4.1 (expanded percentiles) and 5 (bootstrap t); Clopper and Pearson, Biometrika 26
(1934); David and Nagaraja, Order Statistics (2003), section 7.1 (interval of a median).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtr, betaincinv, ndtr, stdtrit

from attnscape.estimators._check import FloatArray, at_least, fraction, vector
from attnscape.estimators._tails import (
    Binomial,
    Mapped,
    Percentiles,
    Signs,
    Student,
    Studentised,
    Tails,
)

Method = Literal["Student t", "bootstrap", "exact", "crossed", "none"]
FEWEST = 5  # finite values below which no interval is given: none holds its level there
_STUDENT = 10  # values up to which a mean has Student's interval, and beyond the bootstrap's


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
        n: Values that it rests on, without those left out as not finite; of two samples the size
            of the smaller one.
        method: How the ends were found; "none" where there are none.
        tails: One-sided p-values of the same method at any value; see `p_at_most`.
    """

    estimate: float
    low: float
    high: float
    level: float
    n: int
    method: Method
    tails: Tails | None = field(default=None, repr=False, compare=False)

    def above(self, value: float) -> bool:
        """Whether the whole interval lies above `value`."""
        return self.low > value

    def below(self, value: float) -> bool:
        """Whether the whole interval lies below `value`."""
        return self.high < value

    def covers(self, value: float) -> bool:
        """Whether `value` lies in the closed interval."""
        return self.low <= value <= self.high

    def p_at_most(self, value: float) -> float:
        """One-sided p-value of "the truth is at most `value`"; 1 without an interval.

        Where only the ends are known, it is (1 - level)/2 if the interval lies above and 1 if not.
        """
        return self._p(value)[0]

    def p_at_least(self, value: float) -> float:
        """One-sided p-value of "the truth is at least `value`"; as `p_at_most`."""
        return self._p(value)[1]

    def _p(self, value: float) -> tuple[float, float]:
        if np.isnan(self.low) or np.isnan(self.high):
            return 1.0, 1.0
        if self.tails is not None:
            return self.tails(value)
        error = (1 - self.level) / 2
        return (error if self.above(value) else 1.0, error if self.below(value) else 1.0)

    def exp(self) -> Interval:
        """Of a logarithm's interval: that of the ratio itself."""
        return self._mapped(_exp, _log)

    def times(self, factor: float) -> Interval:
        """The interval of the truth in another unit; `factor` is positive."""
        return self._mapped(lambda value: value * factor, lambda value: value / factor)

    def _mapped(
        self, function: Callable[[float], float], inverse: Callable[[float], float]
    ) -> Interval:
        estimate, low, high = map(function, (self.estimate, self.low, self.high))
        tails = None if self.tails is None else Mapped(self.tails, inverse)
        return Interval(estimate, low, high, self.level, self.n, self.method, tails)

    def __str__(self) -> str:
        if np.isnan(self.estimate):
            return "not defined"
        if np.isnan(self.low) or np.isnan(self.high):
            return f"{self.estimate:.3g} (no interval, n = {self.n})"
        return (
            f"{self.estimate:.3g} [{self.low:.3g}, {self.high:.3g}] "
            f"({100 * self.level:g} %, n = {self.n})"
        )


def _exp(value: float) -> float:
    with np.errstate(over="ignore"):
        return float(np.exp(value))


def _log(value: float) -> float:
    return float(np.log(value)) if value > 0 else -np.inf


def no_interval(estimate: float, n: int, level: float = 0.95) -> Interval:
    """An estimate of which n values cannot say how far it is off."""
    return Interval(float(estimate), np.nan, np.nan, level, n, "none")


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
    values 89 %, median 97 %. Below 5 values no resampling interval holds its level (two values give
    their range, which covers a median half of the time), so that none is given. For means and
    medians there are better methods: `mean_interval`, `geometric_mean` and `median`.

    Args:
        statistic: Maps samples to a number. If it takes `axis`, it is called on all resamples at
            once; otherwise once for each.
        *samples: Vectors; lengths may differ unless `paired`.
        level: Nominal coverage.
        resamples: Number of resamples.
        seed: Seed of the resampling.
        paired: Resample the samples jointly, keeping value i of each together.

    Returns:
        Ends are NaN when a sample has fewer than 5 values or the statistic is not defined on the
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
        return no_interval(np.nan, 0, level)
    with np.errstate(all="ignore"):  # an undefined statistic is NaN, and NaN is in the answer
        estimate = float(statistic(*arrays))
    if n < FEWEST or not np.isfinite(estimate):
        return no_interval(estimate, n, level)
    if all(np.ptp(array) == 0 for array in arrays):
        certain = Student(estimate, 0.0, n - 1)
        return Interval(estimate, estimate, estimate, level, n, "bootstrap", certain)

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
        )
    low, high = (float(end) for end in result.confidence_interval)
    if np.isnan(low) or np.isnan(high):
        return no_interval(estimate, n, level)
    tails = Percentiles(np.sort(result.bootstrap_distribution), n)
    return Interval(estimate, low, high, level, n, "bootstrap", tails)


def mean_interval(
    values: ArrayLike, *, level: float = 0.95, resamples: int = 5000, seed: int = 0
) -> Interval:
    """Mean of the finite values: no ends below 5, Student's t up to 10, bootstrap t beyond.

    The bootstrap t resamples (mean - truth) / standard error; it corrects for skewness, where
    percentiles and Student's t do not. Coverage in % at nominal 95 %, of 4,000 samples each
    (the standard error is 0.3 to 0.7):

    ===========  =====  =====  ======  ======  ======
    values       n = 5  n = 6  n = 10  n = 11  n = 24
    ===========  =====  =====  ======  ======  ======
    normal       95.0   95.4   95.5    95.3    95.0
    log-normal   81.7   82.7   83.9    90.3    91.5
    stuck        75.1   77.8   89.1    90.8    96.8
    ===========  =====  =====  ======  ======  ======

    "Stuck": normal logs of losses of standard deviation 0.3, of which one run in five lies at ten
    times. Where no stuck run happens to be in the sample (a quarter of the samples of six) no
    method can know of it, and no interval of a mean holds its level; nor does one of the mean of
    log-normal values. A loss is better compared by its logarithm (`geometric_mean`), and where
    single runs may be stuck by the `median`, whose interval is exact.

    Args:
        values: (n,) independent values; those that are not finite are left out.
        level: Nominal coverage.
        resamples: Bootstrap resamples.
        seed: Seed of the bootstrap.

    Raises:
        ValueError: If `values` is not a vector, `level` is not between 0 and 1, or there are fewer
            than 2 resamples.
    """
    level, resamples = fraction("level", level), at_least("resamples", resamples, 2)
    values = vector("values", values, finite=False)
    values = values[np.isfinite(values)]
    n = values.size
    if n < FEWEST:
        return no_interval(float(np.mean(values)) if n else np.nan, n, level)
    mean = float(np.mean(values))
    # Equal values leave the rounding of their mean, which is no spread.
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

    None where resamples without spread are likely to decide the ends, as with many equal values.
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
    """Geometric mean of positive values, as of ratios: `mean_interval` of the logs, then exp.

    Args:
        values: (n,) independent values; those that are not finite are left out.
        level: Nominal coverage.
        resamples: Bootstrap resamples.
        seed: Seed of the bootstrap.

    Returns:
        Not defined (NaN) where a value is zero or negative.

    Raises:
        ValueError: As `mean_interval`.
    """
    values = vector("values", values, finite=False)
    values = values[np.isfinite(values)]
    if values.size and values.min() <= 0:
        return no_interval(np.nan, values.size, fraction("level", level))
    return mean_interval(np.log(values), level=level, resamples=resamples, seed=seed).exp()


def median(values: ArrayLike, *, level: float = 0.95) -> Interval:
    """Median with its exact interval between order statistics; infinite values count as such.

    Whatever the law of the values, the interval covers its median with at least `level`. Coverage
    at 95 %: 96.9 % for n = 6 (from the smallest to the largest value), 97.9 % for n = 10, 97.7 %
    for n = 24. Stuck and diverged runs (infinite) are among the values, not an exception.

    Args:
        values: (n,) independent values, infinite where a run diverged.
        level: Least coverage.

    Returns:
        Ends are NaN where even the range of the values covers less than `level` (at 95 % below 6
        values), and all is where a value is NaN.

    Raises:
        ValueError: If `values` is not a vector or `level` is not between 0 and 1.
    """
    level = fraction("level", level)
    ordered = np.sort(vector("values", values, finite=False))
    n, finite = ordered.size, int(np.count_nonzero(np.isfinite(ordered)))
    if n == 0 or np.isnan(ordered[-1]):
        return no_interval(np.nan, finite, level)
    lower, upper = ordered[(n - 1) // 2], ordered[n // 2]
    with np.errstate(invalid="ignore"):  # opposite infinities have no middle
        estimate = lower if lower == upper else (lower + upper) / 2
    rank = int(np.count_nonzero(bdtr(np.arange(n), n, 0.5) <= (1 - level) / 2))
    if n < FEWEST or rank == 0:
        return no_interval(float(estimate), n, level)
    low, high = float(ordered[rank - 1]), float(ordered[n - rank])
    return Interval(float(estimate), low, high, level, n, "exact", Signs(ordered))


def _expanded(level: float, n: int) -> float:
    """The percentile level at which n values give coverage `level` (Hesterberg 2015)."""
    return float(1 - 2 * ndtr(-np.sqrt(n / (n - 1)) * stdtrit(n - 1, (1 + level) / 2)))


def proportion(successes: int, trials: int, *, level: float = 0.95) -> Interval:
    """Exact (Clopper-Pearson) interval of a share; coverage is at least `level` for any n.

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
        return no_interval(np.nan, 0, level)
    k, failures, tail = successes, trials - successes, (1 - level) / 2
    low = betaincinv(k, failures + 1, tail) if k else 0.0
    high = betaincinv(k + 1, failures, 1 - tail) if failures else 1.0
    tails = Binomial(successes, trials)
    return Interval(k / trials, float(low), float(high), level, trials, "exact", tails)

"""Measures of heavy tails: excess kurtosis, and exceedances of a reference's far quantile.

Hill's index of the tail's decay is in `_hill`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from attnscape.statistics._bootstrap import bootstrap
from attnscape.statistics._check import FloatArray, fraction, vector
from attnscape.statistics._exact import proportion
from attnscape.statistics._hill import hill
from attnscape.statistics._interval import Interval


def excess_kurtosis(
    sample: ArrayLike, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Excess kurtosis (0 for a normal distribution) by the estimator G2, unbiased if normal.

    G2 = (n-1)/((n-2)(n-3)) ((n+1) g2 + 6) with g2 = m4/m2^2 - 3 (Joanes and Gill 1998), that is
    `scipy.stats.kurtosis(bias=False)`. For other distributions it is only asymptotically unbiased.
    No sample can have a kurtosis above n, so on heavy tails estimate and interval are too low.
    Coverage measured at nominal 95 %: 90 % on normal samples of 200, 93 % on 1,000, and 85 % on
    1,000 values of Student's t with 12 degrees of freedom. In this last case the interval lies
    below the truth in 15 % of samples and above it in 0.3 %, so it rarely reports a heavy tail
    wrongly. With fewer than 4 values the kurtosis is NaN. The kurtosis of a reference that is not
    normal is `excess_kurtosis(qq.theoretical).estimate`.

    Args:
        sample: (n,) values.
        level: Nominal coverage.
        resamples: Bootstrap resamples.
        seed: Seed of the bootstrap.

    Raises:
        ValueError: If a value is not finite or `level` is not between 0 and 1.

    Examples:
        The excess kurtosis of a uniform distribution is -1.2:

        >>> import numpy as np
        >>> from attnscape.statistics import excess_kurtosis
        >>> round(excess_kurtosis(np.linspace(0.0, 1.0, 1000)).estimate, 2)
        -1.2
    """
    return bootstrap(_kurtosis, sample, level=level, resamples=resamples, seed=seed)


def _kurtosis(values: FloatArray, axis: int = -1) -> FloatArray:
    n = values.shape[axis]
    if n < 4:
        return np.full(np.delete(values.shape, axis), np.nan)
    mean = np.mean(values, axis=axis, keepdims=True)
    squares = (values - mean) ** 2
    variance = np.mean(squares, axis=axis)
    # The variance of equal values is a rounding error, and the kurtosis is meaningless. scipy's
    # bound is lower, and it warns below it and for n < 4, also on single resamples.
    variance = np.where(variance > 1e-28 * np.squeeze(mean, axis) ** 2, variance, np.nan)
    g2 = np.mean(squares**2, axis=axis) / variance**2 - 3
    return (n - 1) / ((n - 2) * (n - 3)) * ((n + 1) * g2 + 6)


@dataclass(frozen=True)
class FourthMoment:
    """Whether a sample's tail is so light that the kurtosis of its distribution is finite.

    The moment of order p exists if the tail index is above p. The kurtosis needs p = 4, and its
    standard error needs p = 8.

    Attributes:
        index: Hill's index of the upper tail, with the interval of a Pareto tail.
        estimable: Whether the interval lies above 4.
        infinite: Whether the interval lies below 4. Then the sample's kurtosis grows without bound
            with the sample size and says nothing about the distribution. If neither is true, the
            sample is too small to tell.

    Examples:
        >>> import numpy as np
        >>> from attnscape.statistics import fourth_moment
        >>> pareto = (np.arange(1, 10_001) / 10_000) ** (-1 / 3)  # quantiles of a tail with index 3
        >>> print(fourth_moment(pareto))
        kurtosis is not estimable: tail index 3.07 [2.5, 3.7] (95 %, n = 100), below 4
    """

    index: Interval
    estimable: bool
    infinite: bool

    def __str__(self) -> str:
        if self.estimable:
            return f"kurtosis is estimable: tail index {self.index}, above 4"
        why = "below 4" if self.infinite else "not known to be above 4"
        return f"kurtosis is not estimable: tail index {self.index}, {why}"


def fourth_moment(sample: ArrayLike, k: int | None = None, *, level: float = 0.95) -> FourthMoment:
    """Judge by Hill's index whether a kurtosis can be estimated; call it before printing one.

    Rates measured on samples of 10,000 draws at 95 %, with k = 100. `infinite` is true for
    |Student's t| with 3 degrees of freedom (no kurtosis) in 90 %, with 4 (no kurtosis, at the
    border) in 17 %, with 5 (excess kurtosis 6) in 0.4 %, and for normal values in 0 % of samples;
    `estimable` in 0, 0.4, 8 and 100 %. Hill's bias (see `hill`) makes `estimable` rare. A
    log-normal distribution of standard deviation 1 has an excess kurtosis of 111, which such
    samples cannot show: it is called infinite in 88 %.

    Args:
        sample: (n,) magnitudes, such as norms; their upper tail is judged.
        k: Number of largest values; by default sqrt(n), rounded.
        level: Nominal coverage of the index's interval.

    Raises:
        ValueError: In the same cases as `hill`.

    Examples:
        >>> import numpy as np
        >>> from attnscape.statistics import fourth_moment
        >>> magnitudes = np.abs(np.random.default_rng(0).normal(size=10_000))
        >>> moment = fourth_moment(magnitudes)
        >>> moment.estimable, moment.infinite
        (True, False)
    """
    index = hill(sample, k, level=level, resamples=2).pareto
    return FourthMoment(index, estimable=index.above(4), infinite=index.below(4))


@dataclass(frozen=True)
class TailExcess:
    """Observed and expected exceedances of a far quantile of a reference.

    Attributes:
        ratio: Observed divided by expected share of exceedances, with its exact interval; 1 under
            the reference.
        count: Number of values above the threshold.
        n: Number of values.
        share: Expected share above the threshold.
        p_value: Exact P(at least `count` exceedances) under the reference.

    Examples:
        >>> from attnscape.statistics import tail_excess
        >>> excess = tail_excess(range(1000), threshold=989, share=0.001)
        >>> excess.count, excess.share * excess.n, round(excess.ratio.estimate, 2)
        (10, 1.0, 10.0)
    """

    ratio: Interval
    count: int
    n: int
    share: float
    p_value: float

    def __str__(self) -> str:
        return (
            f"{self.count} of {self.n} beyond the reference's {100 * (1 - self.share):g} % "
            f"quantile, {self.ratio} times the expected {self.share * self.n:.3g}; "
            f"p = {self.p_value:.2g}"
        )


def tail_excess(
    sample: ArrayLike, threshold: float, *, share: float = 0.001, level: float = 0.95
) -> TailExcess:
    """Exceedances beyond the reference's quantile at 1 - `share`, with a Clopper-Pearson interval.

    Args:
        sample: (n,) independent values.
        threshold: The quantile, such as `GaussianNorm(eigenvalues).quantile(0.999)`. With a
            quantile from `norm_of_gaussian_fit`, Gaussian noise has an excess too, unless its
            covariance has equal eigenvalues (see `ScaledChi`).
        share: Probability of the reference above the threshold.
        level: Least coverage.

    Raises:
        ValueError: If the sample is empty or not finite, the threshold is NaN, or `share` or
            `level` is not between 0 and 1.

    Examples:
        >>> import numpy as np
        >>> from attnscape.statistics import GaussianNorm, tail_excess
        >>> norms = np.linalg.norm(np.random.default_rng(0).normal(size=(10_000, 2)), axis=1)
        >>> threshold = float(GaussianNorm(np.ones(2)).quantile(0.999))
        >>> tail_excess(norms, threshold, share=0.001).ratio.covers(1.0)
        True
    """
    values = vector("sample", sample, least=1)
    share = fraction("share", share)
    if np.isnan(threshold):
        raise ValueError("threshold is NaN; pass the reference's quantile at 1 - share.")
    n, count = values.size, int(np.count_nonzero(values > threshold))
    observed = proportion(count, n, level=level)
    return TailExcess(observed.times(1 / share), count, n, share, observed.p_at_most(share))

"""How heavy a tail is: excess kurtosis, and exceedances beyond a reference's far quantile.

The Hill index of the tail's decay is in `hill`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtrc

from attnscape.estimators._check import FloatArray, fraction, vector
from attnscape.estimators.hill import hill
from attnscape.estimators.intervals import Interval, bootstrap, proportion


def excess_kurtosis(
    sample: ArrayLike, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Excess kurtosis, 0 for a normal law, by the estimator G2 (unbiased on normal samples).

    G2 = (n-1)/((n-2)(n-3)) ((n+1) g2 + 6) with g2 = m4/m2^2 - 3 (Joanes and Gill 1998); on other
    laws it is only asymptotically unbiased. No sample can show a kurtosis above n, so on heavy
    tails estimate and interval fall short. Coverage measured at nominal 95 %: 90 % on normal
    samples of 200, 93 % on 1,000, and 85 % on 1,000 values of Student's t with 12 degrees of
    freedom, where the interval lies below the truth in 15 % of samples and above it in 0.3 %: a
    cautious witness for heavy tails. With fewer than 4 values it is NaN. A reference that is not
    normal has a kurtosis of its own, `excess_kurtosis(qq.theoretical).estimate`.

    Args:
        sample: (n,) values.
        level: Nominal coverage.
        resamples: Bootstrap resamples.
        seed: Seed of the bootstrap.

    Raises:
        ValueError: If a value is not finite or `level` is not between 0 and 1.
    """
    return bootstrap(_kurtosis, sample, level=level, resamples=resamples, seed=seed)


def _kurtosis(values: FloatArray, axis: int = -1) -> FloatArray:
    n = values.shape[axis]
    if n < 4:
        return np.full(np.delete(values.shape, axis), np.nan)
    mean = np.mean(values, axis=axis, keepdims=True)
    squares = (values - mean) ** 2
    variance = np.mean(squares, axis=axis)
    # Equal values leave the rounding of their mean, whose kurtosis means nothing.
    variance = np.where(variance > 1e-28 * np.squeeze(mean, axis) ** 2, variance, np.nan)
    g2 = np.mean(squares**2, axis=axis) / variance**2 - 3
    return (n - 1) / ((n - 2) * (n - 3)) * ((n + 1) * g2 + 6)


@dataclass(frozen=True)
class FourthMoment:
    """Whether a sample's tail leaves its law a kurtosis that can be estimated.

    The moment of order p exists where the tail index is above p; the kurtosis needs p = 4, and a
    standard error of it p = 8.

    Attributes:
        index: Hill's index of the upper tail, with the interval of a Pareto tail.
        estimable: Whether the interval lies above 4.
        infinite: Whether the interval lies below 4: then the sample's kurtosis grows without bound
            as the sample does, and says nothing of the law. With neither, the sample cannot tell.
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
    """Judge by Hill's index whether a kurtosis can be estimated, before one is printed.

    Error rates measured on 10,000 draws at 95 %, with k = 100: `infinite` on |Student's t| with 3
    degrees of freedom (no kurtosis) 90 %, with 4 (none, at the border) 17 %, with 5 (kurtosis 6
    above the normal's) 0.4 %, on normal values 0 %; `estimable` in 0, 0.4, 8 and 100 %. Hill's bias
    (see `hill`) makes it cautious. A log-normal law of standard deviation 1 has a kurtosis, of 111,
    that no such sample shows: it is called infinite in 88 %.

    Args:
        sample: (n,) magnitudes, such as norms; their upper tail is judged.
        k: Number of largest values; by default sqrt(n), rounded.
        level: Nominal coverage of the index's interval.

    Raises:
        ValueError: As `hill`.
    """
    index = hill(sample, k, level=level, resamples=2).pareto
    return FourthMoment(index, estimable=index.above(4), infinite=index.below(4))


@dataclass(frozen=True)
class TailExcess:
    """How often a sample exceeds a far quantile of its reference, against how often it should.

    Attributes:
        ratio: Observed over expected share of exceedances, 1 under the reference; exact interval.
        count: Values above the threshold.
        n: Values in all.
        share: Share expected above the threshold.
        p_value: Exact P(at least `count` exceedances) under the reference.
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
        threshold: That quantile, such as `GaussianNorm(eigenvalues).quantile(0.999)`. One from
            `norm_of_gaussian_fit` finds an excess in Gaussian noise too, unless its covariance
            has equal eigenvalues (see `ScaledChi`).
        share: Probability of the reference above the threshold.
        level: Nominal coverage, reached or exceeded.

    Raises:
        ValueError: If the sample is empty or not finite, the threshold is NaN, or `share` or
            `level` is not between 0 and 1.
    """
    values = vector("sample", sample, least=1)
    share = fraction("share", share)
    if np.isnan(threshold):
        raise ValueError("threshold is NaN; pass the reference's quantile at 1 - share.")
    n, count = values.size, int(np.count_nonzero(values > threshold))
    ratio = proportion(count, n, level=level).times(1 / share)
    p_value = float(bdtrc(count - 1, n, share)) if count else 1.0
    return TailExcess(ratio, count, n, share, p_value)

"""Compares the scores of two optimizers, such as losses; a diverged run is the worst result.

Leaving out diverged runs would reward the optimizer that diverged. Their score is infinite instead,
which medians and ranks can handle without further assumptions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from attnscape.statistics._check import FloatArray, fraction, pair, vector
from attnscape.statistics._exact import median
from attnscape.statistics._interval import FEWEST, Interval, no_interval
from attnscape.statistics._means import geometric_mean
from attnscape.statistics._shift import Shifts, mann_whitney
from attnscape.statistics._significance import permutation_test, sign_test


@dataclass(frozen=True)
class PairedComparison:
    """Comparison of the scores of first and second, seed by seed.

    Attributes:
        ratio: first / second, above 1 if second is better: the geometric mean if no run diverged,
            otherwise the median with its exact interval, in which a diverged run is the worst
            result.
        n: Number of seeds.
        diverged_first: Number of seeds on which first diverged (its score is infinite or NaN).
        diverged_second: Number of seeds on which second diverged.
        diverged_both: Number of seeds on which both diverged; these are ties.
        median: Median ratio over all seeds, with its exact interval.
        survivors: Geometric mean over the seeds on which neither diverged. It ignores the other
            seeds: an optimizer that diverges on every hard seed looks good here.
        sign_test_p: Two-sided exact p-value of "both are equally likely to be better", all seeds.
        permutation_p: Two-sided p-value of "the log-ratios are symmetric about 0"; NaN if runs
            diverged.

    Examples:
        >>> from attnscape.statistics import paired_comparison
        >>> first = [2.0, 4.0, 6.0, 8.0, 10.0, float("inf")]
        >>> result = paired_comparison(first, second=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
        >>> print(result.ratio)
        2 [2, inf] (95 %, n = 6)
        >>> result.divergence
        'diverged: 1 and 0 of 6 runs'
    """

    ratio: Interval
    n: int
    diverged_first: int
    diverged_second: int
    diverged_both: int
    median: Interval
    survivors: Interval
    sign_test_p: float
    permutation_p: float

    @property
    def diverged(self) -> int:
        """Number of seeds on which at least one diverged."""
        return self.diverged_first + self.diverged_second - self.diverged_both

    def __str__(self) -> str:
        kind = "median" if self.diverged else "geometric mean"
        text = f"{kind} {self.ratio}, sign test p = {self.sign_test_p:.2g}"
        if not self.diverged:
            return f"{text}, permutation test p = {self.permutation_p:.2g}"
        return f"{text}; {self.divergence}; survivors alone: {self.survivors}"

    @property
    def divergence(self) -> str:
        """The diverged runs in words; empty if there are none."""
        if not self.diverged:
            return ""
        text = f"diverged: {self.diverged_first} and {self.diverged_second} of {self.n} runs"
        return text + (f", {self.diverged_both} on the same seeds" if self.diverged_both else "")


def paired_comparison(
    first: ArrayLike,
    second: ArrayLike,
    *,
    level: float = 0.95,
    resamples: int = 5000,
    seed: int = 0,
) -> PairedComparison:
    """Compare positive scores (smaller is better) of two optimizers on the same seeds.

    A diverged run is worse than every finite one; two diverged runs of a seed tie.

    Args:
        first: (seeds,), infinite or NaN if the run diverged.
        second: (seeds,), in the same order.
        level: Nominal coverage of the intervals.
        resamples: Bootstrap resamples, used above 10 seeds.
        seed: Seed of the bootstrap.

    Raises:
        ValueError: If the vectors do not match, a score is negative, or `level` is not between 0
            and 1.

    Examples:
        >>> from attnscape.statistics import paired_comparison
        >>> first, second = [2.0, 4.0, 8.0, 6.0, 12.0, 24.0], [1.0, 1.0, 1.0, 3.0, 3.0, 3.0]
        >>> print(paired_comparison(first, second))
        geometric mean 4 [2.09, 7.67] (95 %, n = 6), sign test p = 0.031, permutation test p = 0.031
    """
    level = fraction("level", level)
    a, b = (_scores(each) for each in pair(("first", "second"), first, second))
    logs = _log_ratios(a, b)
    lost_a, lost_b = np.isinf(a), np.isinf(b)
    ratios = np.exp(logs[~lost_a & ~lost_b])
    survivors = geometric_mean(ratios, level=level, resamples=resamples, seed=seed)
    middle = median(logs, level=level).exp()
    ordinal = bool(np.isinf(logs).any() or (lost_a | lost_b).any())
    return PairedComparison(
        ratio=middle if ordinal else survivors,
        n=logs.size,
        diverged_first=int(np.count_nonzero(lost_a)),
        diverged_second=int(np.count_nonzero(lost_b)),
        diverged_both=int(np.count_nonzero(lost_a & lost_b)),
        median=middle,
        survivors=survivors,
        sign_test_p=sign_test(logs),
        permutation_p=permutation_test(logs) if not ordinal else np.nan,
    )


@dataclass(frozen=True)
class UnpairedComparison:
    """Comparison of the scores of first and second with unrelated seeds.

    Attributes:
        ratio: Hodges and Lehmann's estimate, the median of first / second over all pairs, with its
            exact interval; a diverged run is the worst result. It estimates the ratio of the
            medians if the logs of both have distributions of the same shape.
        n_first: Number of seeds of first.
        n_second: Number of seeds of second.
        diverged_first: Number of seeds of first that diverged.
        diverged_second: Number of seeds of second that diverged.
        share: Share of pairs in which first's score is larger; a tie counts half. It is 1/2 if
            neither is better, for any shapes.
        p_value: Two-sided p-value of the Mann-Whitney test of "both have the same distribution".

    Examples:
        >>> from attnscape.statistics import unpaired_comparison
        >>> result = unpaired_comparison([3.0, 4.0, 5.0], [1.0, 2.0, float("nan")])
        >>> round(result.share, 2)  # 6 of 9 pairs
        0.67
        >>> result.divergence
        'diverged: 0 of 3 and 1 of 3 runs'
    """

    ratio: Interval
    n_first: int
    n_second: int
    diverged_first: int
    diverged_second: int
    share: float
    p_value: float

    @property
    def divergence(self) -> str:
        """The diverged runs in words; empty if there are none."""
        if not self.diverged_first + self.diverged_second:
            return ""
        return (
            f"diverged: {self.diverged_first} of {self.n_first} and {self.diverged_second} of "
            f"{self.n_second} runs"
        )

    def __str__(self) -> str:
        text = f"shift {self.ratio}, Mann-Whitney p = {self.p_value:.2g}"
        return text + (f"; {self.divergence}" if self.divergence else "")


def unpaired_comparison(
    first: ArrayLike, second: ArrayLike, *, level: float = 0.95
) -> UnpairedComparison:
    """Compare positive scores of two groups of unrelated seeds; NaN or infinite means diverged.

    If first and second differ only by a factor, the interval has at least its nominal coverage for
    any distribution; with ties it is wider than necessary. Coverage measured at 95 %: 95.9 % for 6
    and 6 log-normal scores.

    Args:
        first: (seeds,) scores; infinite or NaN if the run diverged.
        second: (other seeds,).
        level: Least coverage.

    Raises:
        ValueError: If one is not a vector, a score is negative, or `level` is not between 0 and 1.

    Examples:
        >>> from attnscape.statistics import unpaired_comparison
        >>> print(unpaired_comparison([10.0, 20.0, 30.0, 40.0, 50.0], [1.0, 2.0, 3.0, 4.0, 5.0]))
        shift 10 [3.33, 30] (95 %, n = 5), Mann-Whitney p = 0.0079
    """
    level = fraction("level", level)
    a = _scores(vector("first", first, finite=False))
    b = _scores(vector("second", second, finite=False))
    m, n = a.size, b.size
    differences = np.sort(_log_ratios(a[:, None], b[None, :]), axis=None)
    lost_a, lost_b = (int(np.count_nonzero(np.isinf(each))) for each in (a, b))
    if m == 0 or n == 0:
        nothing = no_interval(np.nan, min(m, n), level)
        return UnpairedComparison(nothing, m, n, lost_a, lost_b, np.nan, np.nan)
    tails = Shifts(differences, m, n)
    rank = int(np.count_nonzero(mann_whitney(m, n) <= (1 - level) / 2))
    estimate = median(differences).estimate
    if min(m, n) < FEWEST or rank == 0:
        shift = no_interval(estimate, min(m, n), level)
    else:
        low, high = float(differences[rank - 1]), float(differences[-rank])
        shift = Interval(estimate, low, high, level, min(m, n), "exact", tails)
    wins = np.count_nonzero(differences > 0) + np.count_nonzero(differences == 0) / 2
    p_value = min(1.0, 2 * min(tails(0.0)))
    return UnpairedComparison(shift.exp(), m, n, lost_a, lost_b, float(wins / (m * n)), p_value)


def _scores(values: FloatArray) -> FloatArray:
    if (values < 0).any():
        raise ValueError(
            f"A score is {np.nanmin(values)}; ratios need positive ones. Compare differences, or "
            "pass exp of the scores."
        )
    return np.where(np.isnan(values), np.inf, values)


def _log_ratios(a: FloatArray, b: FloatArray) -> FloatArray:
    """log(a / b); 0 if a equals b, also if both are infinite or both are 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(a == b, 0.0, np.log(a) - np.log(b))

"""Two optimizers' scores, such as losses: who is better, where a diverged run is the worst result.

A run that diverged is not missing: leaving it out would reward the optimizer that loses it. Its
score is infinite; medians and ranks then need no further assumption.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from attnscape.estimators._check import FloatArray, fraction, pair, vector
from attnscape.estimators._shift import Shifts, mann_whitney
from attnscape.estimators.intervals import FEWEST, Interval, geometric_mean, median, no_interval
from attnscape.estimators.significance import permutation_test, sign_test


@dataclass(frozen=True)
class PairedComparison:
    """How the scores of first compare with those of second, seed by seed.

    Attributes:
        ratio: first over second, above 1 where second is better. Where no run diverged, the
            geometric mean; else the median, exact, with a diverged run as the worst result.
        n: Seeds.
        diverged_first: Seeds on which first diverged, its score infinite or NaN.
        diverged_second: Seeds on which second did.
        diverged_both: Seeds on which both did: ties.
        median: Median ratio over all seeds, exact.
        survivors: Geometric mean over the seeds on which neither diverged. It says nothing of the
            others: a method that loses all hard runs looks good here.
        sign_test_p: Two-sided exact p-value of "either is as likely to be better", all seeds.
        permutation_p: Two-sided, of "the log-ratios are symmetric about 0"; NaN where runs
            diverged.
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
        """Seeds on which at least one diverged."""
        return self.diverged_first + self.diverged_second - self.diverged_both

    def __str__(self) -> str:
        kind = "median" if self.diverged else "geometric mean"
        text = f"{kind} {self.ratio}, sign test p = {self.sign_test_p:.2g}"
        if not self.diverged:
            return f"{text}, permutation test p = {self.permutation_p:.2g}"
        return f"{text}; {self.divergence}; survivors alone: {self.survivors}"

    @property
    def divergence(self) -> str:
        """Which runs diverged, in words; empty where none did."""
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
        first: (seeds,), infinite or NaN where the run diverged.
        second: (seeds,), in the same order.
        level: Nominal coverage of the intervals.
        resamples: Bootstrap resamples, used above 10 seeds.
        seed: Seed of the bootstrap.

    Raises:
        ValueError: If the vectors do not match, a score is negative, or `level` is not between 0
            and 1.
    """
    level = fraction("level", level)
    a, b = (_scores(each) for each in pair(("first", "second"), first, second))
    logs = _log_ratios(a, b)
    lost_a, lost_b = np.isinf(a), np.isinf(b)
    options = {"level": level, "resamples": resamples, "seed": seed}
    survivors = geometric_mean(np.exp(logs[~lost_a & ~lost_b]), **options)
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
    """How the scores of first compare with those of second where their seeds are unrelated.

    Attributes:
        ratio: Hodges and Lehmann's estimate, the median over all pairs of first over second, with
            its exact interval, a diverged run being the worst result. It speaks for the ratio of
            medians where both laws of logs have one shape.
        n_first: Seeds of first.
        n_second: Seeds of second.
        diverged_first: Of these, diverged.
        diverged_second: Of these, diverged.
        share: Share of pairs in which first's score is larger, ties half: 1/2 where neither is
            better, whatever the shapes.
        p_value: Two-sided p-value of the Mann-Whitney test of "both have one law".
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
        """Which runs diverged, in words; empty where none did."""
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

    The interval holds its level whatever the law, if first and second differ by a factor only; with
    ties it is wider than need be. Coverage measured at 95 %: 95.9 % for 6 and 6 log-normal scores.

    Args:
        first: (seeds,) scores, or positive quantities that are infinite at worst.
        second: (other seeds,).
        level: Least coverage.

    Raises:
        ValueError: If one is not a vector, a score is negative, or `level` is not between 0 and 1.
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
    """log(a / b), where equals, both infinite or both zero, tie."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(a == b, 0.0, np.log(a) - np.log(b))

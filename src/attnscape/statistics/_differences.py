"""The difference of two quantities measured on the same seeds, such as log losses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from attnscape.statistics._check import FloatArray, fraction, pair
from attnscape.statistics._exact import median
from attnscape.statistics._interval import Interval
from attnscape.statistics._means import mean_interval


@dataclass(frozen=True)
class PairedDifference:
    """The difference first - second over seeds.

    Attributes:
        n: Number of pairs used.
        diverged: Number of pairs dropped because a value was NaN or infinite.
        mean: Mean difference, with `mean_interval` over seeds.
        std: Standard deviation of the differences, n - 1 in the denominator.
        median: Median difference, with its exact interval.
        wilcoxon_p: Two-sided p-value of the signed-rank test of "symmetric about 0"; zeros are
            left out (Wilcoxon's rule). It is 1 if all differences are zero.

    Examples:
        >>> from attnscape.statistics import paired_difference
        >>> result = paired_difference([3.0, 4.0, float("nan")], [1.0, 2.0, 3.0])
        >>> result.n, result.diverged, result.mean.estimate, result.std
        (2, 1, 2.0, 0.0)
    """

    n: int
    diverged: int
    mean: Interval
    std: float
    median: Interval
    wilcoxon_p: float

    def __str__(self) -> str:
        text = (
            f"{self.mean.estimate:.3g} ({self.std:.3g}) mean (std) of {self.n} pairs; "
            f"mean {self.mean}; median {self.median}; Wilcoxon p = {self.wilcoxon_p:.2g}"
        )
        return text + (f"; {self.diverged} dropped as not finite" if self.diverged else "")


def paired_difference(
    first: ArrayLike,
    second: ArrayLike,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> PairedDifference:
    """Difference first - second, seed by seed, in their common unit.

    Args:
        first: (seeds,), NaN if the run diverged.
        second: (seeds,), in the same order.
        level: Nominal coverage of both intervals.
        resamples: Bootstrap resamples.
        seed: Seed of the bootstrap.

    Raises:
        ValueError: If the vectors do not match or `level` is not between 0 and 1.

    Examples:
        >>> from attnscape.statistics import paired_difference
        >>> first, second = [2.0, 4.0, 6.0, 8.0, 10.0, 12.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
        >>> print(paired_difference(first, second).median)
        3.5 [1, 6] (95 %, n = 6)
    """
    level = fraction("level", level)
    a, b = pair(("first", "second"), first, second)
    kept = np.isfinite(a) & np.isfinite(b)
    differences = a[kept] - b[kept]
    return PairedDifference(
        n=differences.size,
        diverged=int(np.count_nonzero(~kept)),
        mean=mean_interval(differences, level=level, resamples=resamples, seed=seed),
        std=float(np.std(differences, ddof=1)) if differences.size > 1 else np.nan,
        median=median(differences, level=level),
        wilcoxon_p=_wilcoxon(differences),
    )


def _wilcoxon(differences: FloatArray) -> float:
    """Exact without ties up to 50 pairs, and with ties up to 13 (scipy's automatic choice)."""
    from scipy.stats import wilcoxon

    moved = differences[differences != 0]
    if moved.size == 0:
        return 1.0 if differences.size else np.nan
    return float(np.asarray(wilcoxon(moved))[1])

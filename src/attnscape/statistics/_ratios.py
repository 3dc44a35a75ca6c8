"""The ratio of two quantities measured on the same seeds.

The paper prints a ratio as mean (n-1 standard deviation) over seeds. One large ratio can dominate
such a mean, so the median and the geometric mean are computed too, with intervals over seeds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from attnscape.statistics._check import fraction, pair
from attnscape.statistics._exact import median, proportion
from attnscape.statistics._interval import Interval
from attnscape.statistics._means import geometric_mean
from attnscape.statistics._significance import permutation_test, sign_test


@dataclass(frozen=True)
class PairedRatio:
    """The ratio numerator / denominator over seeds.

    Attributes:
        n: Number of pairs used.
        diverged: Number of pairs dropped because a value was NaN or infinite. Divergence usually
            depends on the quantities compared, so look at this number before the ratio.
        undefined: Number of pairs dropped because the ratio is not finite (zero denominator).
        nonpositive: Number of pairs used whose ratio is zero or negative; if there are any, the
            geometric mean is NaN.
        mean: Mean of the ratios.
        std: Standard deviation of the ratios, n - 1 in the denominator.
        median: Median of the ratios; exact interval.
        geometric_mean: exp of the mean of the logs, with `mean_interval` of the logs.
        share_above_one: Share of ratios above 1; exact interval.
        sign_test_p: Two-sided exact p-value of "above and below 1 are equally likely"; ratios of
            exactly 1 are left out.
        permutation_p: Two-sided p-value of "the logs are symmetric about 0" by flipping signs; NaN
            if a ratio has no logarithm.

    Examples:
        >>> from attnscape.statistics import paired_ratio
        >>> result = paired_ratio([2.0, float("nan"), 4.0], [1.0, 1.0, 0.0])
        >>> result.n, result.diverged, result.undefined, result.mean
        (1, 1, 1, 2.0)
    """

    n: int
    diverged: int
    undefined: int
    nonpositive: int
    mean: float
    std: float
    median: Interval
    geometric_mean: Interval
    share_above_one: Interval
    sign_test_p: float
    permutation_p: float

    def __str__(self) -> str:
        text = (
            f"{self.mean:.3g} ({self.std:.3g}) mean (std) of {self.n} pairs; "
            f"median {self.median}; geometric mean {self.geometric_mean}; "
            f"share above 1 {self.share_above_one}, sign test p = {self.sign_test_p:.2g}, "
            f"permutation test p = {self.permutation_p:.2g}"
        )
        for count, what in (
            (self.diverged, "dropped as not finite"),
            (self.undefined, "dropped for a zero denominator"),
            (self.nonpositive, "zero or negative"),
        ):
            if count:
                text += f"; {count} {what}"
        return text


def paired_ratio(
    numerator: ArrayLike,
    denominator: ArrayLike,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> PairedRatio:
    """Ratio numerator / denominator, seed by seed.

    Pairs with a diverged run are left out. If divergence matters, as in a comparison of two
    optimizers, use `paired_comparison`. Coverage of the intervals measured at nominal 95 % on
    log-normal ratios: median 97.3 % and geometric mean 95.7 % with 6 seeds, 96.0 % and 95.2 % with
    20.

    Args:
        numerator: (seeds,), NaN if the run diverged.
        denominator: (seeds,), in the same order.
        level: Nominal coverage of every interval.
        resamples: Bootstrap resamples.
        seed: Seed of the bootstrap.

    Raises:
        ValueError: If the vectors do not match or `level` is not between 0 and 1.

    Examples:
        >>> from attnscape.statistics import paired_ratio
        >>> result = paired_ratio([2.0, 4.0, 8.0, 6.0, 12.0, 24.0], [1.0, 1.0, 1.0, 3.0, 3.0, 3.0])
        >>> print(result.median)
        4 [2, 8] (95 %, n = 6)
        >>> round(result.mean, 2), round(result.geometric_mean.estimate, 2)
        (4.67, 4.0)
    """
    level = fraction("level", level)
    a, b = pair(("numerator", "denominator"), numerator, denominator)
    kept = np.isfinite(a) & np.isfinite(b)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratios = a[kept] / b[kept]
    defined = np.isfinite(ratios)
    ratios = ratios[defined]
    n, nonpositive = ratios.size, int(np.count_nonzero(ratios <= 0))
    logs = np.log(ratios) if n and not nonpositive else np.full(1, np.nan)
    return PairedRatio(
        n=n,
        diverged=int(np.count_nonzero(~kept)),
        undefined=int(np.count_nonzero(~defined)),
        nonpositive=nonpositive,
        mean=float(np.mean(ratios)) if n else np.nan,
        std=float(np.std(ratios, ddof=1)) if n > 1 else np.nan,
        median=median(ratios, level=level),
        geometric_mean=geometric_mean(ratios, level=level, resamples=resamples, seed=seed),
        share_above_one=proportion(int(np.count_nonzero(ratios > 1)), n, level=level),
        sign_test_p=sign_test(ratios, 1.0),
        permutation_p=permutation_test(logs),
    )

"""Growth of smoothness with the gradient norm: log-log slope and rank correlation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from attnscape.statistics._blocks import block_counts, block_length, percentile_interval
from attnscape.statistics._check import FloatArray, Weights, at_least, fraction, pair
from attnscape.statistics._interval import Interval, no_interval


@dataclass(frozen=True)
class Trend:
    """Growth of smoothness with the gradient norm along a run.

    Attributes:
        log_slope: Least-squares slope of log smoothness against log gradient norm, over the points
            with both positive. It is p if smoothness is proportional to the norm to the power p.
        rank_correlation: Spearman's correlation over all points, including negative smoothness.
        n: Number of points in the rank correlation.
        left_out: Number of these points that are not in the slope, as they have no logarithm.
        missing: Number of points left out of both, as they were NaN or infinite.
        block: Block length of the bootstrap, in points.

    Examples:
        >>> from attnscape.statistics import log_trend
        >>> smoothness = [-1.0, 4.0, 9.0, 16.0, 25.0, float("nan")]
        >>> trend = log_trend([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], smoothness)
        >>> trend.n, trend.left_out, trend.missing
        (5, 1, 1)
    """

    log_slope: Interval
    rank_correlation: Interval
    n: int
    left_out: int
    missing: int
    block: int

    def __str__(self) -> str:
        return (
            f"log-log slope {self.log_slope} ({self.left_out} of {self.n} points without a "
            f"logarithm left out); Spearman's correlation {self.rank_correlation}; "
            f"blocks of {self.block}"
        )


def log_trend(
    gradient_norm: ArrayLike,
    smoothness: ArrayLike,
    *,
    block: int | None = None,
    level: float = 0.95,
    resamples: int = 500,
    seed: int = 0,
) -> Trend:
    """Log-log slope and Spearman correlation with block-bootstrap intervals.

    The slope leaves out points with negative smoothness. If they are many, it is biased; use the
    rank correlation, which includes all points.

    Args:
        gradient_norm: (steps,) in the order of the steps, NaN = not measured.
        smoothness: (steps,) directional smoothness, sign kept.
        block: Points per block; by default chosen from the ranks as in `fit_smoothness`.
        level: Nominal coverage of both intervals.
        resamples: Bootstrap resamples.
        seed: Seed of the bootstrap.

    Returns:
        Both are NaN if fewer than 3 points are left, or the points have no spread.

    Raises:
        ValueError: If the vectors do not match, `level` is not between 0 and 1, there are fewer
            than 2 resamples, or `block` is below 1 or above half of the points.

    Examples:
        >>> import numpy as np
        >>> from attnscape.statistics import log_trend
        >>> gradient_norm = np.linspace(1.0, 10.0, 30)
        >>> trend = log_trend(gradient_norm, gradient_norm**2)
        >>> round(trend.log_slope.estimate, 2), round(trend.rank_correlation.estimate, 2)
        (2.0, 1.0)
    """
    level, resamples = fraction("level", level), at_least("resamples", resamples, 2)
    x, y = pair(("gradient_norm", "smoothness"), gradient_norm, smoothness)
    measured = np.isfinite(x) & np.isfinite(y)
    missing = int(np.count_nonzero(~measured))
    x, y = x[measured], y[measured]
    positive = (x > 0) & (y > 0)
    left_out = int(np.count_nonzero(~positive))
    if x.size < 3:
        nothing = no_interval(np.nan, x.size, level)
        return Trend(nothing, nothing, x.size, left_out, missing, 0)
    block = block_length(block, *(ranks(v, np.ones((1, v.size)))[0] for v in (x, y)))
    log_x, log_y = (np.log(np.where(positive, v, 1.0)) for v in (x, y))
    original = np.ones((1, x.size), dtype=np.int64)
    counts = np.concatenate([original, block_counts(x.size, block, resamples, seed)])
    with np.errstate(invalid="ignore", divide="ignore"):
        slope, correlation = (
            percentile_interval(statistic[0], statistic[1:], level, x.size)
            for statistic in (
                _slope(log_x, log_y, counts * positive),
                _rank_correlation(x, y, counts),
            )
        )
    return Trend(slope, correlation, x.size, left_out, missing, block)


def _moments(
    x: FloatArray, y: FloatArray, weights: Weights
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Weighted variances of x and y (NaN if only rounding) and covariance, (resamples,) each."""
    weights = weights / np.sum(weights, axis=1, keepdims=True)
    tiny_x, tiny_y = 1e-28 * np.max(x**2), 1e-28 * np.max(y**2)
    x = x - np.sum(weights * x, axis=1, keepdims=True)
    y = y - np.sum(weights * y, axis=1, keepdims=True)
    xx, yy, xy = (np.sum(weights * a * b, axis=1) for a, b in ((x, x), (y, y), (x, y)))
    return np.where(xx > tiny_x, xx, np.nan), np.where(yy > tiny_y, yy, np.nan), xy


def _slope(x: FloatArray, y: FloatArray, weights: Weights) -> FloatArray:
    xx, _, xy = _moments(x, y, weights)
    return xy / xx


def _rank_correlation(x: FloatArray, y: FloatArray, weights: Weights) -> FloatArray:
    xx, yy, xy = _moments(ranks(x, weights), ranks(y, weights), weights)
    return xy / np.sqrt(xx * yy)


def ranks(values: FloatArray, weights: Weights) -> FloatArray:
    """Mid-ranks of `values`, each repeated `weights` times, (resamples, n)."""
    _, tie = np.unique(values, return_inverse=True)
    order = np.argsort(tie, kind="stable")
    first = np.flatnonzero(np.diff(tie[order], prepend=-1))
    group = np.add.reduceat(weights[:, order], first, axis=1)
    return (np.cumsum(group, axis=1) - group / 2)[:, tie]

"""Whether smoothness grows with the gradient norm: log-log slope and rank correlation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attnscape.estimators._blocks import block_counts, block_length, percentile_interval
from attnscape.estimators._check import FloatArray, at_least, fraction, pair
from attnscape.estimators.intervals import Interval, no_interval


@dataclass(frozen=True)
class Trend:
    """Growth of smoothness with the gradient norm along a run.

    Attributes:
        log_slope: Least-squares slope of log smoothness against log gradient norm, over the points
            where both are positive. A smoothness proportional to a power p of the norm has slope p.
        rank_correlation: Spearman's, over all points, negative smoothness included.
        n: Points in the rank correlation.
        left_out: Points of these without a logarithm, hence not in the slope.
        missing: Points that were NaN or infinite, in neither.
        block: Block length of the bootstrap, in points.
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

    Leaving out points with negative smoothness biases the slope where they are many: then only the
    rank correlation speaks for all points.

    Args:
        gradient_norm: (steps,) in the order of the steps, NaN = not measured.
        smoothness: (steps,) directional smoothness, sign kept.
        block: Points per block; by default chosen from the ranks as in `fit_smoothness`.
        level: Nominal coverage of both intervals.
        resamples: Bootstrap resamples.
        seed: Seed of the bootstrap.

    Returns:
        Both are NaN where fewer than 3 points, or points without spread, are left.

    Raises:
        ValueError: If the vectors do not match, `level` is not between 0 and 1, there are fewer
            than 2 resamples, or `block` is below 1 or above half of the points.
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
    intervals = []
    with np.errstate(invalid="ignore", divide="ignore"):
        for statistic in (
            _slope(log_x, log_y, counts * positive),
            _rank_correlation(x, y, counts),
        ):
            intervals.append(percentile_interval(statistic[0], statistic[1:], level, x.size))
    return Trend(*intervals, n=x.size, left_out=left_out, missing=missing, block=block)


def _moments(
    x: FloatArray, y: FloatArray, weights: NDArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Weighted variances of x and y (NaN if mere rounding) and covariance, (resamples,) each."""
    weights = weights / np.sum(weights, axis=1, keepdims=True)
    tiny_x, tiny_y = 1e-28 * np.max(x**2), 1e-28 * np.max(y**2)
    x = x - np.sum(weights * x, axis=1, keepdims=True)
    y = y - np.sum(weights * y, axis=1, keepdims=True)
    xx, yy, xy = (np.sum(weights * a * b, axis=1) for a, b in ((x, x), (y, y), (x, y)))
    return np.where(xx > tiny_x, xx, np.nan), np.where(yy > tiny_y, yy, np.nan), xy


def _slope(x: FloatArray, y: FloatArray, weights: NDArray) -> FloatArray:
    xx, _, xy = _moments(x, y, weights)
    return xy / xx


def _rank_correlation(x: FloatArray, y: FloatArray, weights: NDArray) -> FloatArray:
    xx, yy, xy = _moments(ranks(x, weights), ranks(y, weights), weights)
    return xy / np.sqrt(xx * yy)


def ranks(values: FloatArray, weights: NDArray) -> FloatArray:
    """Mid-ranks of `values`, each repeated `weights` times, (resamples, n)."""
    _, tie = np.unique(values, return_inverse=True)
    order = np.argsort(tie, kind="stable")
    first = np.flatnonzero(np.diff(tie[order], prepend=-1))
    group = np.add.reduceat(weights[:, order], first, axis=1)
    return (np.cumsum(group, axis=1) - group / 2)[:, tie]

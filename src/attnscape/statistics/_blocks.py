"""Block bootstrap of a sequence of points whose neighbours are correlated.

Resampling single points would treat correlated points as independent, and intervals would be too
narrow. Blocks of consecutive points preserve the correlation. Sources: Politis and Romano
(1992), circular block bootstrap; Politis and White, Econometric Reviews 23 (2004) 53, with the
correction of Patton, Politis and White 28 (2009) 372, block length.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attnscape.statistics._check import FloatArray
from attnscape.statistics._interval import Interval, no_interval


def block_length(block: int | None, x: FloatArray, y: FloatArray) -> int:
    """`block` if given, otherwise a block length for regressions of y on x, ordered by step.

    The length is the larger of Politis and White's lengths for the two sequences whose sums
    determine a line: the least-squares residuals r, and r (x - mean x). It is at most n/3. It is at
    least n^(1/3), the rate at which a good length grows, because the automatic choice can miss
    correlation by chance.

    Raises:
        ValueError: If `block` is below 1 or above n/2, where resamples hardly differ.
    """
    n = x.size
    if block is not None:
        if not 1 <= block <= n / 2:
            raise ValueError(
                f"block is {block} with {n} points; it must be at least 1 and leave 2 blocks."
            )
        return block
    deviation = x - np.mean(x)
    spread = deviation @ deviation
    slope = deviation @ y / spread if spread > 0 else 0.0
    residual = y - np.mean(y) - slope * deviation
    floor = int(np.ceil(n ** (1 / 3)))
    longest = max(floor, *map(_politis_white, (residual, residual * deviation)))
    return max(1, min(longest, n // 3))


def _politis_white(sequence: FloatArray) -> int:
    n = sequence.size
    centred = sequence - np.mean(sequence)
    if n < 4 or np.ptp(sequence) == 0:
        return 1
    longest = int(np.ceil(min(3 * np.sqrt(n), n / 3)))
    quiet_run = max(5, int(np.ceil(np.sqrt(np.log10(n)))))
    lags = min(n - 1, 2 * (int(np.ceil(np.sqrt(n))) + quiet_run))
    covariance = np.array([centred[: n - lag] @ centred[lag:] for lag in range(lags + 1)]) / n
    quiet = np.abs(covariance[1:] / covariance[0]) < 2 * np.sqrt(np.log10(n) / n)
    # The last lag before a run of negligible correlations; if there is no such run, the last lag.
    starts = [i for i in range(lags - quiet_run + 1) if quiet[i : i + quiet_run].all()]
    cutoff = min(2 * max(1, starts[0] if starts else lags), lags)
    lag = np.arange(1, cutoff + 1)
    flat_top = np.clip(2 * (1 - lag / cutoff), 0, 1)
    variance = covariance[0] + 2 * flat_top @ covariance[1 : cutoff + 1]
    drift = 2 * (flat_top * lag) @ covariance[1 : cutoff + 1]
    if variance <= 0:
        return longest
    length = (2 * drift**2 / (4 / 3 * variance**2)) ** (1 / 3) * n ** (1 / 3)
    return int(np.clip(np.ceil(length), 1, longest))


def block_counts(n: int, block: int, resamples: int, seed: int) -> NDArray[np.int64]:
    """Counts of each of n points in each resample of circular blocks, (resamples, n)."""
    starts = np.random.default_rng(seed).integers(0, n, (resamples, -(-n // block)))
    points = (starts[:, :, None] + np.arange(block)) % n
    points = points.reshape(resamples, -1)[:, :n] + n * np.arange(resamples)[:, None]
    return np.bincount(points.ravel(), minlength=resamples * n).reshape(resamples, n)


def percentile_interval(estimate: float, replicates: FloatArray, level: float, n: int) -> Interval:
    """Percentile interval of n points; the ends are NaN if the estimate or a replicate is."""
    if not np.isfinite(estimate) or not np.isfinite(replicates).all():
        return no_interval(estimate, n, level)
    low, high = np.quantile(replicates, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(estimate), float(low), float(high), level, n, "bootstrap")

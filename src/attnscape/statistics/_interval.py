"""Intervals: an estimate, its ends, and one-sided p-values of the same method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from attnscape.statistics._one_sided import Mapped, Tails

Method = Literal["Student t", "bootstrap", "exact", "crossed", "none"]
FEWEST = 5  # with fewer finite values no method has its nominal coverage, so there is no interval


@dataclass(frozen=True)
class Interval:
    """An estimate and its two-sided confidence interval.

    `low` and `high` are NaN if the error of the estimate is unknown. `above`, `below` and `covers`
    are then False, so that a missing interval never supports a verdict.

    Attributes:
        estimate: The statistic of the sample.
        low: Lower end.
        high: Upper end.
        level: Nominal coverage, such as 0.95.
        n: Number of values used, without those left out as not finite; for two samples, the size
            of the smaller one.
        method: The method for the ends; "none" if there are none.
        tails: One-sided p-values of the same method at any value; see `p_at_most`.

    Examples:
        >>> from attnscape.statistics import Interval
        >>> interval = Interval(estimate=2.0, low=1.5, high=2.5, level=0.95, n=10, method="exact")
        >>> print(interval)
        2 [1.5, 2.5] (95 %, n = 10)
        >>> interval.above(1.0), interval.covers(3.0), round(interval.p_at_most(1.0), 3)
        (True, False, 0.025)
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

        If only the ends are known, it is (1 - level)/2 if the interval lies above `value`, and 1
        otherwise.
        """
        return self._p(value)[0]

    def p_at_least(self, value: float) -> float:
        """One-sided p-value of "the truth is at least `value`"; see `p_at_most`."""
        return self._p(value)[1]

    def _p(self, value: float) -> tuple[float, float]:
        if np.isnan(self.low) or np.isnan(self.high):
            return 1.0, 1.0
        if self.tails is not None:
            return self.tails(value)
        error = (1 - self.level) / 2
        return (error if self.above(value) else 1.0, error if self.below(value) else 1.0)

    def exp(self) -> Interval:
        """The interval of a ratio, computed from this interval of its logarithm."""
        return self._mapped(_exp, _log)

    def times(self, factor: float) -> Interval:
        """The interval in another unit; `factor` is positive."""
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
    """An estimate from n values, without ends.

    Examples:
        >>> from attnscape.statistics import no_interval
        >>> interval = no_interval(1.5, n=3)
        >>> print(interval)
        1.5 (no interval, n = 3)
        >>> interval.above(0.0)
        False
    """
    return Interval(float(estimate), np.nan, np.nan, level, n, "none")

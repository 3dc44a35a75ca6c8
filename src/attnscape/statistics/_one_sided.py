"""One-sided p-values of intervals; they determine the interval of every level.

Each object is called with a value and returns two p-values: of "the truth is at most the value" and
of "the truth is at least the value". The interval at level 1 - 2 alpha lies above a value exactly
if the first p-value is at most alpha.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr, bdtrc, ndtri, stdtr

from attnscape.statistics._check import FloatArray

Tails = Callable[[float], tuple[float, float]]


@dataclass(frozen=True)
class Student:
    """An estimate whose error divided by `standard_error` follows Student's t."""

    estimate: float
    standard_error: float
    freedom: float

    def __call__(self, value: float) -> tuple[float, float]:
        distance = self.estimate - value
        if self.standard_error == 0:
            return (float(distance <= 0), float(distance >= 0))
        t = distance / self.standard_error
        return float(stdtr(self.freedom, -t)), float(stdtr(self.freedom, t))


@dataclass(frozen=True, eq=False)
class Studentised:
    """An estimate whose error / `standard_error` is distributed like the sorted `replicates`."""

    estimate: float
    standard_error: float
    replicates: FloatArray

    def __call__(self, value: float) -> tuple[float, float]:
        t = (self.estimate - value) / self.standard_error
        count = self.replicates.size
        above = count - np.searchsorted(self.replicates, t, side="left")
        below = np.searchsorted(self.replicates, t, side="right")
        return float(above + 1) / (count + 1), float(below + 1) / (count + 1)


@dataclass(frozen=True, eq=False)
class Percentiles:
    """Sorted bootstrap replicates of a statistic of n values, with Hesterberg's expansion."""

    replicates: FloatArray
    n: int

    def __call__(self, value: float) -> tuple[float, float]:
        count = self.replicates.size
        below = int(np.searchsorted(self.replicates, value, side="right"))
        above = count - int(np.searchsorted(self.replicates, value, side="left"))
        return self._student(below), self._student(above)

    def _student(self, cases: int) -> float:
        share = (cases + 1) / (self.replicates.size + 2)
        return float(stdtr(self.n - 1, ndtri(share) / np.sqrt(self.n / (self.n - 1))))


@dataclass(frozen=True)
class Binomial:
    """A share, estimated from `successes` in `trials`."""

    successes: int
    trials: int

    def __call__(self, value: float) -> tuple[float, float]:
        k, n, p = self.successes, self.trials, min(max(value, 0.0), 1.0)
        return (float(bdtrc(k - 1, n, p)) if k else 1.0, float(bdtr(k, n, p)) if k < n else 1.0)


@dataclass(frozen=True, eq=False)
class Signs:
    """The sign test of the median of the distribution that the sorted `values` come from."""

    values: FloatArray

    def __call__(self, value: float) -> tuple[float, float]:
        n = self.values.size
        above = n - int(np.searchsorted(self.values, value, side="right"))
        below = int(np.searchsorted(self.values, value, side="left"))
        # P(at least this many values on one side) if each side has probability at most 1/2.
        return float(bdtr(n - above, n, 0.5)), float(bdtr(n - below, n, 0.5))


@dataclass(frozen=True)
class Mapped:
    """The p-values of an increasing function of the truth, by the inverse of the function."""

    tails: Tails
    inverse: Callable[[float], float]

    def __call__(self, value: float) -> tuple[float, float]:
        return self.tails(self.inverse(value))

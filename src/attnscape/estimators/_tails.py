"""One-sided p-values that belong to intervals: the interval of any level can be read off them.

Each object is called with a value and answers (p of "the truth is at most it", p of "the truth is
at least it"). An interval at level 1 - 2 alpha lies above a value exactly where the first is at
most alpha.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr, bdtrc, ndtri, stdtr

from attnscape.estimators._check import FloatArray

Tails = Callable[[float], tuple[float, float]]


@dataclass(frozen=True)
class Student:
    """An estimate whose error over `standard_error` is Student's t."""

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
    """An estimate whose error over `standard_error` is distributed as its sorted `replicates`."""

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
    """A share of which `successes` in `trials` were seen."""

    successes: int
    trials: int

    def __call__(self, value: float) -> tuple[float, float]:
        k, n, p = self.successes, self.trials, min(max(value, 0.0), 1.0)
        return (float(bdtrc(k - 1, n, p)) if k else 1.0, float(bdtr(k, n, p)) if k < n else 1.0)


@dataclass(frozen=True, eq=False)
class Signs:
    """The median of a law that sorted `values` were drawn from: the sign test."""

    values: FloatArray

    def __call__(self, value: float) -> tuple[float, float]:
        n = self.values.size
        above = n - int(np.searchsorted(self.values, value, side="right"))
        below = int(np.searchsorted(self.values, value, side="left"))
        # At least so many on one side, where each side has probability 1/2 at most.
        return float(bdtr(n - above, n, 0.5)), float(bdtr(n - below, n, 0.5))


@dataclass(frozen=True)
class Mapped:
    """Tails of an increasing function of the truth, by the function's inverse."""

    tails: Tails
    inverse: Callable[[float], float]

    def __call__(self, value: float) -> tuple[float, float]:
        return self.tails(self.inverse(value))

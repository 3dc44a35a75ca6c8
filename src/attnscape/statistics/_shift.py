"""The shift between two samples: Hodges and Lehmann's estimate and the Mann-Whitney test.

Sources: Mann and Whitney, Annals of Mathematical Statistics 18 (1947) 50 (the recursion); Hodges
and Lehmann 34 (1963) 598; Hollander, Wolfe and Chicken, Nonparametric Statistical Methods (2014),
section 4.3 (the interval between ordered differences).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from attnscape.statistics._check import FloatArray


@functools.lru_cache(maxsize=64)
def mann_whitney(m: int, n: int) -> FloatArray:
    """P(U <= u) for u = 0 .. m n, if both samples have the same distribution, without ties.

    U counts the pairs whose first value is larger. The largest of all m + n values belongs to the
    first sample with probability m/(m + n); then it is larger in n pairs. Otherwise it belongs to
    the second sample and adds nothing to U.
    """
    # Two rows of the table over (m, n) suffice; row i holds P(U = u) for i values against 0 .. n.
    row = [np.ones(1) for _ in range(n + 1)]
    for i in range(1, m + 1):
        new = [np.ones(1)]
        for j in range(1, n + 1):
            density = np.zeros(i * j + 1)
            density[j:] += i / (i + j) * row[j]
            density[: i * (j - 1) + 1] += j / (i + j) * new[j - 1]
            new.append(density)
        row = new
    return np.minimum(np.cumsum(row[n]), 1.0)


@dataclass(frozen=True, eq=False)
class Shifts:
    """p-values of the shift between two samples, from the m n sorted differences of values."""

    differences: FloatArray
    m: int
    n: int

    def __call__(self, value: float) -> tuple[float, float]:
        cases, distribution = self.differences.size, mann_whitney(self.m, self.n)
        above = cases - int(np.searchsorted(self.differences, value, side="right"))
        below = int(np.searchsorted(self.differences, value, side="left"))
        return float(distribution[cases - above]), float(distribution[cases - below])

"""Rank correlations as cosines of scores, their permutation test, and their law for normal values.

Kendall's tau-b and Spearman's correlation are the cosines of two vectors of whole numbers (Daniels,
Biometrika 33 (1944) 129): of the signs of all differences for Kendall, and of the sums of these
signs over the second value, which are twice the centred mid-ranks, for Spearman. So permutations
are compared without rounding.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from attnscape.statistics._check import FloatArray

Kind = Literal["spearman", "kendall"]
Integers = NDArray[np.int64]

_EXACT = 8  # up to so many values, all permutations are used: 40,320
_PERMUTATIONS = 10_000


def scores(values: FloatArray, kind: Kind) -> Integers:
    """Scores of values (..., n), whose cosines are the correlation: (..., n) or (..., n(n-1)/2).

    Infinite values are larger than all others and equal to each other.
    """
    above = values[..., :, None] > values[..., None, :]
    signs = above.astype(np.int8) - np.swapaxes(above, -1, -2)
    if kind == "spearman":
        return signs.sum(axis=-1, dtype=np.int64)
    rows, columns = np.triu_indices(values.shape[-1], 1)
    return signs[..., rows, columns].astype(np.int64)


def correlation(first: Integers, second: Integers) -> FloatArray:
    """Cosines of scores (..., m); NaN where all scores of one are equal, and thus 0."""
    product = np.sum(first * second, axis=-1)
    squares = np.sum(first**2, axis=-1) * np.sum(second**2, axis=-1)
    with np.errstate(invalid="ignore"):
        return product / np.sqrt(squares)


def permutation_p(first: FloatArray, second: FloatArray, kind: Kind, seed: int) -> float:
    """Two-sided p-value of "no association" of two vectors: |correlation| at least as observed."""
    n = first.size
    if n <= _EXACT:
        orders = np.array(list(itertools.permutations(range(n))))
    else:
        identity = np.tile(np.arange(n), (_PERMUTATIONS, 1))
        orders = np.random.default_rng(seed).permuted(identity, axis=1)
    fixed = scores(first, kind)
    # The lengths of both vectors of scores are the same in each order, so products are compared.
    products = np.abs(scores(second[orders], kind) @ fixed)
    extreme = int(np.count_nonzero(products >= abs(scores(second, kind) @ fixed)))
    random = int(n > _EXACT)  # then the observed order counts as one more (Phipson and Smyth 2010)
    return (extreme + random) / (len(orders) + random)


def to_normal(value: float, kind: Kind) -> float:
    """Pearson's correlation of normal values whose rank correlation is `value` (Pearson 1907)."""
    return (
        2 * math.sin(math.pi * value / 6) if kind == "spearman" else math.sin(math.pi * value / 2)
    )


def from_normal(value: float, kind: Kind) -> float:
    """Inverse of `to_normal`."""
    return (
        (6 / math.pi * math.asin(value / 2))
        if kind == "spearman"
        else (2 / math.pi * math.asin(value))
    )


@dataclass(frozen=True, eq=False)
class NormalRanks:
    """p-values of a population's rank correlation, if its ranks are those of normal values.

    At each value of the correlation, the sample's is compared with those of samples drawn from the
    population. All values use the same normal draws, so that the p-values hardly jump.

    Attributes:
        first: (n,) values of the sample. Its ties, if any, are made in every drawn sample.
        second: (n,) values.
        kind: The rank correlation.
        normal: (draws, n) independent standard normal values.
        noise: (draws, n) others.
    """

    first: FloatArray
    second: FloatArray
    kind: Kind
    normal: FloatArray
    noise: FloatArray

    def __call__(self, value: float) -> tuple[float, float]:
        drawn = self.products(value)
        observed = scores(self.first, self.kind) @ scores(self.second, self.kind)
        above, below = np.count_nonzero(drawn >= observed), np.count_nonzero(drawn <= observed)
        count = len(drawn) + 1
        return float(above + 1) / count, float(below + 1) / count

    def products(self, value: float) -> Integers:
        """Products of the scores of each draw, (draws,), if the correlation is `value`."""
        r = to_normal(min(max(value, -1.0), 1.0), self.kind)
        partner = r * self.normal + math.sqrt(max(0.0, 1 - r**2)) * self.noise
        first, second = (
            self._with_ties(drawn, sample)
            for drawn, sample in ((self.normal, self.first), (partner, self.second))
        )
        return np.sum(first * second, axis=-1)

    def _with_ties(self, drawn: FloatArray, sample: FloatArray) -> Integers:
        """Scores of the draws after the k-th smallest of n became the k-th smallest of `sample`."""
        return scores(np.sort(sample)[drawn.argsort(axis=-1).argsort(axis=-1)], self.kind)

    def ends(self, level: float) -> tuple[float, float]:
        """The smallest and largest correlation whose p-values both exceed (1 - level)/2."""
        error = (1 - level) / 2
        return self._end(0, -1.0, error), self._end(1, 1.0, error)

    def _end(self, side: int, limit: float, error: float) -> float:
        """The value next to `limit` that is not rejected, to 1e-4."""
        rejected, accepted = limit, -limit  # at the other limit this p-value is 1
        if self(limit)[side] > error:
            return limit
        while abs(accepted - rejected) > 1e-4:
            middle = (accepted + rejected) / 2
            if self(middle)[side] > error:
                accepted = middle
            else:
                rejected = middle
        return rejected

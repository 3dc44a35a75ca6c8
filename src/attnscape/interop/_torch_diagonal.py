"""The diagonal of a Hessian, exact or estimated, and the condition numbers that follow from it.

Hutchinson's estimate is the mean of v * (H v) over random signs v (Bekas, Kokiopoulou and Saad
2007). The off-diagonal entries are its noise: it serves for large entries, while small ones drown.
Medians are therefore taken of entries at random places, each exact by one product.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import bdtr, stdtrit
from torch import Tensor

from attnscape.errors import UsageError
from attnscape.estimators import CONDITION_NUMBERS, PUBLIC_CODE, ConditionNumber, Interval
from attnscape.estimators._check import FloatArray, fraction


@dataclass(frozen=True, eq=False)
class HessianDiagonal:
    """The diagonal of a Hessian with its error, in double precision.

    Attributes:
        value: (p,) the diagonal, or its unbiased estimate.
        standard_error: (p,) of the value; 0 where that is exact.
        dead: (p,) whether the row of the Hessian is zero (in an estimate: in every product).
        sampled: Indices of an estimate's entries that are exact, chosen at random; else all.
        probes: Products with random signs in the estimate; 0 where the whole diagonal is exact.
        eigenvalues: (p,) of the whole Hessian, ascending; None in an estimate.
        row_norm: (p,) of the Hessian; None in an estimate.
    """

    value: FloatArray
    standard_error: FloatArray
    dead: np.ndarray
    sampled: np.ndarray
    probes: int = 0
    eigenvalues: FloatArray | None = None
    row_norm: FloatArray | None = None

    @property
    def exact(self) -> bool:
        """Whether the whole diagonal is exact."""
        return self.probes == 0

    def interval(self, level: float = 0.95) -> tuple[FloatArray, FloatArray]:
        """Ends of each entry's own interval, (p,) and (p,): Student's t times the standard error.

        Coverage of estimated entries measured at nominal 95 %, on three kinds of matrices with 40
        to 300 rows and 10 to 100 probes: 94 to 97 %.

        Raises:
            ValueError: If the level is not between 0 and 1.
        """
        level = fraction("level", level)
        half = stdtrit(max(self.probes - 1, 1), (1 + level) / 2) * self.standard_error
        return self.value - half, self.value + half

    def condition_number(self, name: str = PUBLIC_CODE, level: float = 0.95) -> Interval:
        """The largest over the median, with an interval that holds its level or more.

        Of an exact Hessian the interval is the number itself. In an estimate the largest entry is
        Hutchinson's, between ends that hold for all entries together (Bonferroni), and the median
        that of the sampled entries, between two of their order statistics (no law is assumed);
        each fails with probability (1 - level)/2 at most. The upper end is infinite where the
        median cannot be told from zero, and all is NaN with fewer than 7 sampled entries.

        Args:
            name: Of `attnscape.estimators.CONDITION_NUMBERS`.
            level: Nominal coverage.

        Raises:
            UsageError: If there is no such name, or it asks for eigenvalues in an estimate.
            ValueError: If the level is not between 0 and 1.
        """
        kind = condition_number(name, exact=self.exact)
        error = (1 - fraction("level", level)) / 2
        if self.eigenvalues is not None and self.row_norm is not None:
            number = float(kind(self.eigenvalues, self.value, self.row_norm))
            return Interval(number, number, number, level, self.value.size, "exact")
        low, high = self.interval(1 - error / self.value.size)
        value = self.value
        if not kind.signed:
            low, high = np.maximum(np.maximum(low, -high), 0), np.maximum(high, -low)
            value = np.abs(value)
        kept = ~self.dead if kind.live else np.ones_like(self.dead)
        sample = np.sort(value[self.sampled][kept[self.sampled]])
        # P(Binomial(m, 1/2) < rank) <= error/2: so rarely do fewer lie on one side of the median.
        rank = int((bdtr(np.arange(sample.size), sample.size, 0.5) <= error / 2).sum())
        if rank == 0 or not np.isfinite(value).all():
            return Interval(np.nan, np.nan, np.nan, level, sample.size, "none")
        median = float(np.quantile(sample, 0.5, method="lower" if kind.lower else "linear"))
        least, most = float(sample[rank - 1]), float(sample[-rank])
        return Interval(
            float(value[kept].max()) / median if median > 0 else np.nan,
            max(1.0, float(low[kept].max()) / most) if most > 0 else np.nan,
            float(high[kept].max()) / least if least > 0 else np.inf,
            level,
            sample.size,
            "exact",
        )


def condition_number(name: str, *, exact: bool) -> ConditionNumber:
    """The condition number of that name, if it can be had of a Hessian that is exact or is not.

    Raises:
        UsageError: If there is none, or it asks for eigenvalues of an estimate.
    """
    if name not in CONDITION_NUMBERS:
        raise UsageError(
            f"There is no condition number {name!r}; choose one of {', '.join(CONDITION_NUMBERS)}."
        )
    if CONDITION_NUMBERS[name].of == "eigenvalue" and not exact:
        raise UsageError(
            f"{name!r} asks for a median of eigenvalues, which neither an estimated diagonal nor a "
            "Krylov method can give; choose a condition number of the diagonal, or give the "
            "Objective a dense_limit of as many as there are parameters, and no probes."
        )
    return CONDITION_NUMBERS[name]


def of_hessian(hessian: Tensor) -> HessianDiagonal:
    """The exact diagonal, with the spectrum; NaN throughout where an entry is not finite."""
    matrix = hessian.double().cpu().numpy()
    matrix = (matrix + matrix.T) / 2
    finite = np.isfinite(matrix).all()
    if not finite:
        matrix = np.full_like(matrix, np.nan)
    row_norm = np.sqrt((matrix**2).sum(axis=1))
    return HessianDiagonal(
        value=matrix.diagonal().copy(),
        standard_error=np.zeros(len(matrix)),
        dead=row_norm == 0,
        sampled=np.arange(len(matrix)),
        eigenvalues=np.asarray(np.linalg.eigvalsh(matrix) if finite else row_norm, np.float64),
        row_norm=row_norm,
    )


def estimated(
    product: Callable[[Tensor], Tensor], like: Tensor, probes: int, seed: int
) -> HessianDiagonal:
    """From `probes` products with random signs and as many with unit vectors like `like`."""
    draws = torch.Generator().manual_seed(seed)  # on the CPU: the same on every device
    mean = torch.zeros(like.shape, dtype=torch.float64, device=like.device)
    squares, dead = torch.zeros_like(mean), torch.ones_like(mean, dtype=torch.bool)
    for count in range(1, probes + 1):
        signs = (2 * torch.randint(2, like.shape, generator=draws) - 1).to(like)
        row = product(signs)
        deviation = signs * row - mean
        mean += deviation / count  # Welford's update
        squares += deviation * (signs * row - mean)
        dead &= row == 0
    error = (squares / (probes * (probes - 1))).sqrt()
    sampled = torch.randperm(like.numel(), generator=draws)[:probes]
    for index in sampled.tolist():
        unit = torch.zeros_like(like)
        unit[index] = 1
        row = product(unit)
        mean[index], error[index], dead[index] = row[index].double(), 0, (row == 0).all()
    value, error, dead = (tensor.cpu().numpy() for tensor in (mean, error, dead))
    return HessianDiagonal(value, error, dead, sampled.numpy(), probes)

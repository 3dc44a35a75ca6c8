"""Robust condition numbers by name: the largest entry of a Hessian divided by the median entry.

Jiang et al. (2022) use the diagonal of the Hessian; the paper writes eigenvalues, and its public
code uses max |H_ii| divided by the lower median of |H_ii| (PAPER.md, section 4). All of them are
here, because verdicts depend on the choice. Every function works along the last axis and is
vectorised over the other axes; NaN (a diverged run, a step without a measurement) results in NaN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attnscape.statistics._check import FloatArray


@dataclass(frozen=True)
class ConditionNumber:
    """The largest of a Hessian's eigenvalues or diagonal entries, divided by their median.

    The number is NaN if it is not defined, that is if the median is not above the rounding error of
    the matrix, p eps times its largest absolute entry. This happens if the median is zero (half of
    the parameters are dead), zero up to rounding (1e-17), or negative (signed medians, if half of
    the entries are negative). All other numbers are returned unchanged, even very large ones.

    Attributes:
        of: The entries of the Hessian to use.
        signed: Whether signs are kept; otherwise absolute values are used.
        lower: Whether the median of an even number of entries is the lower of the two middle ones
            (`torch.median`) or their mean (`numpy.median`).
        live: Whether dead parameters are left out: their row of the Hessian is exactly zero. A dead
            row adds a zero to the spectrum and does not change the rest. So one eigenvalue is left
            out for each dead row, beginning with the smallest absolute value.

    Examples:
        >>> from attnscape.statistics import ConditionNumber
        >>> number = ConditionNumber(of="eigenvalue", signed=False, lower=False, live=False)
        >>> entries = [1.0, 2.0, 10.0]  # of a diagonal Hessian
        >>> float(number(eigenvalues=entries, diagonal=entries, row_norm=entries))
        5.0
    """

    of: Literal["diagonal", "eigenvalue"]
    signed: bool
    lower: bool
    live: bool

    def __call__(
        self, eigenvalues: ArrayLike, diagonal: ArrayLike, row_norm: ArrayLike
    ) -> FloatArray:
        """The condition number of each matrix.

        Args:
            eigenvalues: Eigenvalues of the Hessian, (..., p), in any order.
            diagonal: Diagonal of the Hessian, (..., p).
            row_norm: Norms of the Hessian's rows, (..., p), in the order of the diagonal.

        Raises:
            ValueError: If the shapes differ.
        """
        eigenvalues, diagonal, row_norm = _alike(
            eigenvalues=eigenvalues, diagonal=diagonal, row_norm=row_norm
        )
        values = diagonal if self.of == "diagonal" else eigenvalues
        floor = values.shape[-1] * np.finfo(np.float64).eps * np.max(np.abs(values), axis=-1)
        kept = np.ones(values.shape, bool)
        if self.live and self.of == "diagonal":
            kept = ~(row_norm == 0)
        elif self.live:
            rank = np.argsort(np.argsort(np.abs(values), axis=-1), axis=-1)
            kept = rank >= np.count_nonzero(row_norm == 0, axis=-1)[..., None]
        largest, median = _largest_and_median(
            values if self.signed else np.abs(values), kept, self.lower
        )
        return np.divide(largest, median, out=np.full_like(median, np.nan), where=median > floor)

    def __str__(self) -> str:
        median = "lower median" if self.lower else "median"
        sign = "signed" if self.signed else "absolute"
        entries = "diagonal entries" if self.of == "diagonal" else "eigenvalues"
        live = ", without dead parameters" if self.live else ""
        return f"largest over {median} of {sign} {entries}{live}"


def _largest_and_median(
    values: FloatArray, kept: np.ndarray, lower: bool
) -> tuple[FloatArray, FloatArray]:
    """Largest and median of the values to keep; NaN if one of them is NaN or there are none."""
    count = np.count_nonzero(kept, axis=-1)[..., None]
    # Sorting moves NaN and left-out values to the end.
    ordered = np.sort(np.where(kept, values, np.inf), axis=-1)

    def entry(index: NDArray[np.intp]) -> FloatArray:
        return np.take_along_axis(ordered, np.maximum(index, 0), axis=-1)[..., 0]

    below, above = entry((count - 1) // 2), entry(np.minimum(count // 2, values.shape[-1] - 1))
    undefined = (count[..., 0] == 0) | np.isnan(values).any(axis=-1)
    return (
        np.where(undefined, np.nan, entry(count - 1)),
        np.where(undefined, np.nan, below if lower else (below + above) / 2),
    )


def _alike(**arrays: ArrayLike) -> tuple[FloatArray, ...]:
    converted = {name: np.asarray(array, np.float64) for name, array in arrays.items()}
    shapes = {array.shape for array in converted.values()}
    if len(shapes) > 1 or not min(shapes) or 0 in min(shapes):
        given = ", ".join(f"{name} {array.shape}" for name, array in converted.items())
        raise ValueError(
            f"Shapes are {given}; they must be equal, (..., p) for p parameters, none of them 0."
        )
    return tuple(converted.values())


def _name(of: str, signed: bool, lower: bool, live: bool) -> str:
    sign = "-signed" if signed else ("-absolute" if of == "eigenvalue" else "")
    # A name without a median means the ordinary one, except that `diagonal` alone would be
    # ambiguous.
    median = "-lower-median" if lower else ("-median" if of + sign == "diagonal" else "")
    return of + sign + median + ("-live" if live else "")


CONDITION_NUMBERS: Mapping[str, ConditionNumber] = MappingProxyType(
    {
        _name(of, signed, lower, live): ConditionNumber(of, signed, lower, live)
        for live, of, signed, lower in product(
            (False, True), ("diagonal", "eigenvalue"), (False, True), (True, False)
        )
    }
)
PUBLIC_CODE = "diagonal-lower-median"


def condition_number(
    name: str, *, eigenvalues: ArrayLike, diagonal: ArrayLike, row_norm: ArrayLike
) -> FloatArray:
    """The robust condition number with the given name, for the arguments of `ConditionNumber`.

    Raises:
        ValueError: If there is no such name, or the shapes differ.

    Examples:
        >>> from attnscape.statistics import condition_number
        >>> entries = [1.0, 2.0, 8.0, 40.0]  # of a diagonal Hessian
        >>> hessian = {"eigenvalues": entries, "diagonal": entries, "row_norm": entries}
        >>> names = ("diagonal-lower-median", "diagonal-median")
        >>> [float(condition_number(name, **hessian)) for name in names]
        [20.0, 8.0]
    """
    if name not in CONDITION_NUMBERS:
        raise ValueError(
            f"There is no condition number {name!r}; there are {', '.join(CONDITION_NUMBERS)}."
        )
    return CONDITION_NUMBERS[name](eigenvalues, diagonal, row_norm)


def block_condition_numbers(
    name: str,
    blocks: Sequence[str],
    *,
    diagonal: ArrayLike,
    row_norm: ArrayLike,
) -> dict[str, FloatArray]:
    """The robust condition number of each diagonal block; Jiang et al. use it for each layer.

    A parameter is dead if its row of the whole Hessian is zero.

    Args:
        name: A key of `CONDITION_NUMBERS` that uses the diagonal.
        blocks: For each parameter, the name of its block (the Dataset's coordinate `parameter`).
        diagonal: Diagonal of the whole Hessian, (..., p).
        row_norm: Norms of the rows of the whole Hessian, (..., p).

    Raises:
        ValueError: If the diagonal has no number of this name, or the shapes differ.

    Examples:
        >>> from attnscape.statistics import block_condition_numbers
        >>> blocks, h = ["P", "P", "P", "Q", "Q", "Q"], [1.0, 2.0, 10.0, 3.0, 3.0, 6.0]
        >>> numbers = block_condition_numbers("diagonal-median", blocks, diagonal=h, row_norm=h)
        >>> {block: float(number) for block, number in numbers.items()}
        {'P': 5.0, 'Q': 2.0}
    """
    if name in CONDITION_NUMBERS and CONDITION_NUMBERS[name].of != "diagonal":
        raise ValueError(
            f"{name!r} is a number of eigenvalues; of blocks only those of the diagonal are known."
        )
    diagonal, row_norm = _alike(diagonal=diagonal, row_norm=row_norm)
    names = np.asarray(blocks)
    if names.shape != diagonal.shape[-1:]:
        raise ValueError(
            f"blocks names {names.size} parameters, but there are {diagonal.shape[-1]}; "
            "give one name for each."
        )
    numbers = {}
    for block in dict.fromkeys(names.tolist()):
        mine = names == block
        numbers[block] = condition_number(
            name,
            eigenvalues=diagonal[..., mine],  # not used
            diagonal=diagonal[..., mine],
            row_norm=row_norm[..., mine],
        )
    return numbers


def sharpness(eigenvalues: ArrayLike) -> FloatArray:
    """The largest eigenvalue, with its sign; `eigenvalues` is (..., p) in any order.

    Examples:
        >>> from attnscape.statistics import sharpness
        >>> sharpness([[-3.0, 1.0], [2.0, 5.0]]).tolist()
        [1.0, 5.0]
    """
    return np.max(np.asarray(eigenvalues, np.float64), axis=-1)


def dead_parameters(row_norm: ArrayLike) -> FloatArray:
    """Number of rows of the Hessian that are exactly zero; NaN if a norm is NaN.

    Examples:
        >>> from attnscape.statistics import dead_parameters
        >>> float(dead_parameters([0.0, 1.0, 0.0]))
        2.0
    """
    return _count(np.asarray(row_norm) == 0, row_norm)


def negative_eigenvalues(eigenvalues: ArrayLike) -> FloatArray:
    """Number of eigenvalues below zero by more than the rounding error; NaN if one is NaN.

    The rounding error is p eps times the largest absolute eigenvalue.

    Examples:
        >>> from attnscape.statistics import negative_eigenvalues
        >>> float(negative_eigenvalues([-1.0, -1e-17, 2.0]))
        1.0
    """
    values = np.asarray(eigenvalues, np.float64)
    largest = np.max(np.abs(values), axis=-1, keepdims=True)
    return _count(values < -values.shape[-1] * np.finfo(np.float64).eps * largest, values)


def _count(which: np.ndarray, values: ArrayLike) -> FloatArray:
    missing = np.isnan(np.asarray(values)).any(axis=-1)
    return np.where(missing, np.nan, np.count_nonzero(which, axis=-1))

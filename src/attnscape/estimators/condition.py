"""Robust condition numbers by name: the largest over the median of a Hessian's entries.

Jiang et al. (2022) take the diagonal of the Hessian; the paper writes eigenvalues, and its public
code takes max |H_ii| over the lower median of |H_ii| (PAPER.md, section 4). All are here, since
verdicts depend on the choice. Every function works along the last axis and is vectorised over the
axes before it; NaN (a diverged run, a step without a measurement) gives NaN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from attnscape.estimators._check import FloatArray


@dataclass(frozen=True)
class ConditionNumber:
    """The largest over the median of a Hessian's eigenvalues or diagonal.

    It is NaN where it is not defined: where the median is not above the rounding error of the
    matrix, p eps times its largest absolute entry. That is so for a median of zero (half of the
    parameters dead), one that rounding made 1e-17, and a negative one, which signed medians are
    where half of the entries are. Everything else is returned as it is, however large.

    Attributes:
        of: What of the Hessian.
        signed: Whether signs are kept; otherwise absolute values are taken.
        lower: Whether the median of an even number of entries is the lower of the two middle ones
            (`torch.median`) or their mean (`numpy.median`).
        live: Whether dead parameters, whose row of the Hessian is exactly zero, are left out. Among
            eigenvalues, as many are left out as there are dead rows, smallest absolute value first:
            a dead row adds a zero to the spectrum and changes nothing else in it.
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
            eigenvalues: Of the Hessian, (..., p), in any order.
            diagonal: Of the Hessian, (..., p).
            row_norm: Norms of its rows, (..., p), in the order of the diagonal.

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
    """Of the values that are kept; NaN where one of them is NaN or none is kept."""
    count = np.count_nonzero(kept, axis=-1)[..., None]
    # NaN, and what is left out, sorts to the end.
    ordered = np.sort(np.where(kept, values, np.inf), axis=-1)

    def entry(index):
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
    # The plain `diagonal` would not say which median; the others are ordinary unless said.
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
    """The robust condition number of that name; the arguments are `ConditionNumber`'s.

    Raises:
        ValueError: If there is no such name, or the shapes differ.
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
    """The robust condition number of every diagonal block, as Jiang et al. take it of every layer.

    A parameter counts as dead if its row of the whole Hessian is zero.

    Args:
        name: Of `CONDITION_NUMBERS`, one of the diagonal.
        blocks: For each parameter, the name of its block (the Dataset's coordinate `parameter`).
        diagonal: Of the whole Hessian, (..., p).
        row_norm: Of the whole Hessian, (..., p).

    Raises:
        ValueError: If the diagonal has no number of this name, or the shapes differ.
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
            eigenvalues=diagonal[..., mine],  # not looked at
            diagonal=diagonal[..., mine],
            row_norm=row_norm[..., mine],
        )
    return numbers


def sharpness(eigenvalues: ArrayLike) -> FloatArray:
    """The largest eigenvalue, with its sign, of (..., p) in any order."""
    return np.max(np.asarray(eigenvalues, np.float64), axis=-1)


def dead_parameters(row_norm: ArrayLike) -> FloatArray:
    """How many rows of the Hessian are exactly zero; NaN where a norm is NaN."""
    return _count(np.asarray(row_norm) == 0, row_norm)


def negative_eigenvalues(eigenvalues: ArrayLike) -> FloatArray:
    """How many eigenvalues lie below zero by more than rounding; NaN where one is NaN.

    Rounding is p eps times the largest absolute eigenvalue.
    """
    values = np.asarray(eigenvalues, np.float64)
    largest = np.max(np.abs(values), axis=-1, keepdims=True)
    return _count(values < -values.shape[-1] * np.finfo(np.float64).eps * largest, values)


def _count(which: np.ndarray, values: ArrayLike) -> FloatArray:
    missing = np.isnan(np.asarray(values)).any(axis=-1)
    return np.where(missing, np.nan, np.count_nonzero(which, axis=-1))

"""Checks of arguments, shared by all estimators so that messages are equal."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
Weights = NDArray[np.int64] | FloatArray  # for example, the counts of a resample


def vector(name: str, values: ArrayLike, *, least: int = 0, finite: bool = True) -> FloatArray:
    """`values` as a float64 vector.

    Raises:
        ValueError: If it is not one-dimensional, has fewer than `least` values, or, with `finite`,
            contains NaN or infinity.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(
            f"{name} has shape {array.shape}; it must have one dimension. "
            "Pass one value per seed, draw or step."
        )
    if array.size < least:
        raise ValueError(f"{name} has {array.size} values; at least {least} are needed.")
    if finite and (bad := int(np.count_nonzero(~np.isfinite(array)))):
        raise ValueError(
            f"{name} has {bad} values of {array.size} that are NaN or infinite; all must be "
            "finite. Drop them, and say how many were dropped."
        )
    return array


def pair(
    names: tuple[str, str], first: ArrayLike, second: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Two float64 vectors of equal length, whose values need not be finite.

    Raises:
        ValueError: If one is not one-dimensional, or the lengths differ.
    """
    a = vector(names[0], first, finite=False)
    b = vector(names[1], second, finite=False)
    if a.size != b.size:
        raise ValueError(
            f"{names[0]} has {a.size} values and {names[1]} has {b.size}; they are compared "
            "pair by pair and must be equally long, in the same order."
        )
    return a, b


def fraction(name: str, value: float) -> float:
    """`value` as a float strictly between 0 and 1.

    Raises:
        ValueError: If it is not.
    """
    if not 0.0 < value < 1.0:
        raise ValueError(f"{name} is {value}; it must lie strictly between 0 and 1, like 0.95.")
    return float(value)


def nonnegative(name: str, values: ArrayLike, *, least: int = 0) -> FloatArray:
    """`values` as a finite float64 vector without negative entries.

    Raises:
        ValueError: If it is not.
    """
    array = vector(name, values, least=least)
    if array.size and array.min() < 0:
        raise ValueError(f"{name} has the value {array.min()}; a norm is never negative.")
    return array


def at_least(name: str, value: int, least: int) -> int:
    """`value` if it is no smaller than `least`.

    Raises:
        ValueError: If it is smaller.
    """
    if value < least:
        raise ValueError(f"{name} is {value}; it must be at least {least}.")
    return value

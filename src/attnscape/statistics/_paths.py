"""The path of a run through the space of its parameters, and subspaces along it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from attnscape.statistics._check import FloatArray


def distance_from_start(parameters: ArrayLike) -> FloatArray:
    """Euclidean distance of each iterate from the first.

    Args:
        parameters: (..., step, parameter), at steps of any distance.

    Returns:
        (..., step); NaN where the first or the other iterate is.

    Raises:
        ValueError: If there are fewer than two axes.

    Examples:
        >>> from attnscape.statistics import distance_from_start
        >>> distance_from_start([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]]).tolist()
        [0.0, 5.0, 1.0]
    """
    iterates = _iterates(parameters, least=1)
    return np.linalg.norm(iterates - iterates[..., :1, :], axis=-1)


def displacement_angles(parameters: ArrayLike) -> FloatArray:
    """Angle between the displacements before and after each iterate, in degrees.

    0 is a straight path, 90 a right angle, and 180 a step back. Displacements are between
    consecutive given iterates, so angles depend on how far these are apart: steps of noise alone
    are at right angles in many dimensions, and iterates of an oscillation at 180 degrees or 0.

    Args:
        parameters: (..., step, parameter), at least three steps.

    Returns:
        (..., step - 2), for all iterates but the first and the last; NaN where a displacement is
        zero or an iterate is NaN.

    Raises:
        ValueError: If there are fewer than two axes or three steps.

    Examples:
        >>> from attnscape.statistics import displacement_angles
        >>> path = [[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [2.0, 5.0], [2.0, 4.0]]
        >>> displacement_angles(path).tolist()
        [0.0, 90.0, 180.0]
    """
    steps = np.diff(_iterates(parameters, least=3), axis=-2)
    lengths = np.linalg.norm(steps, axis=-1, keepdims=True)
    units = steps / np.where(lengths > 0, lengths, np.nan)
    before, after = units[..., :-1, :], units[..., 1:, :]
    # An arc cosine would lose half of the digits of small angles.
    apart = np.linalg.norm(before - after, axis=-1), np.linalg.norm(before + after, axis=-1)
    return np.degrees(2 * np.arctan2(*apart))


def subspace_overlap(first: ArrayLike, second: ArrayLike) -> FloatArray:
    """How much two subspaces of k orthonormal vectors share: |A B^T|^2 / k in the Frobenius norm.

    It is the mean squared length of the vectors of one subspace projected onto the other (Gur-Ari
    et al., 2018, "Gradient descent happens in a tiny subspace", arXiv 1812.04754): 1 for equal
    subspaces, whatever their bases, and k / p on average for random ones among p parameters.

    Args:
        first: (..., k, p) with orthonormal rows, such as `top_eigenvectors` at steps.
        second: The same of other subspaces, such as those of the following steps.

    Returns:
        (...); NaN where a vector is.

    Raises:
        ValueError: If the last two axes differ, or rows are not orthonormal.

    Examples:
        >>> import numpy as np
        >>> from attnscape.statistics import subspace_overlap
        >>> plane = np.eye(3)[:2]
        >>> [float(subspace_overlap(plane, other)) for other in (plane[::-1], np.eye(3)[1:])]
        [1.0, 0.5]
    """
    one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if min(one.ndim, other.ndim) < 2 or one.shape[-2:] != other.shape[-2:]:
        raise ValueError(
            f"The vectors have shapes {one.shape} and {other.shape}; both must be (..., k, p) with "
            "the same k and p."
        )
    count = one.shape[-2]
    for vectors in (one, other):
        products = vectors @ vectors.swapaxes(-1, -2) - np.eye(count)
        off = np.max(np.abs(products), initial=0.0, where=~np.isnan(products))
        if off > 1e-3:
            raise ValueError(
                f"The vectors are not orthonormal: a product is off by {off:.2g}. Give the rows of "
                "`top_eigenvectors`, or those of an orthogonal basis."
            )
    return ((one @ other.swapaxes(-1, -2)) ** 2).sum(axis=(-1, -2)) / count


def _iterates(parameters: ArrayLike, least: int) -> FloatArray:
    array = np.asarray(parameters, dtype=np.float64)
    if array.ndim < 2 or array.shape[-2] < least:
        raise ValueError(
            f"parameters has shape {array.shape}; it must be (..., step, parameter) with at least "
            f"{least} steps."
        )
    return array

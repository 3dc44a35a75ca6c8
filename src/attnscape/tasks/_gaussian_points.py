"""Normal points of a prompt by Bartlett's decomposition (1933), with or without the points.

The d x n matrix of n points N(0, I) is T O. T is lower triangular, d x r with r = min(d, n), with
chi numbers of n, n - 1, ... degrees of freedom on its diagonal and N(0, 1) below it. O has r
orthonormal rows, uniform among all such matrices and independent of T. Moments depend on T alone,
about d^2 / 2 numbers instead of n d; only points as such need O. Noise of the responses is one more
row of the matrix: r normals, then the chi number of n - r degrees.

A key of their own have: query, then T by rows; the noise (the query's, its row of T, its direction
outside of O); O. Numbers are drawn in float32 and computed with in the type that is asked for.
kernels/gaussian_points.hpp states the same functions on SIMD lanes; the two agree to rounding.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from attnscape import native
from attnscape.tasks._normals import key_words, normals
from attnscape.tasks.chi import FEW_DEGREES, chi_polynomials, numbers_of_chi


def triangle(
    key: Array, batch: int, n: int, factor: Float[np.ndarray, "d d"], dtype: jax.typing.DTypeLike
) -> tuple[Float[Array, "batch d"], Float[Array, "batch d r"]]:
    """The query, and T, both times the lower Cholesky factor of the covariance."""
    d = len(factor)
    drawn = normals(key, batch, d + sum(_numbers_of_row(i, n) for i in range(d)))
    query, rows = drawn[:, :d].astype(dtype), _rows(drawn[:, d:], n, range(d)).astype(dtype)
    L = jnp.asarray(factor, dtype)
    return (
        jnp.einsum("ij,bj->bi", L, query, precision="highest"),
        jnp.einsum("ij,bjk->bik", L, rows, precision="highest"),
    )


def noise_row(
    key: Array, batch: int, n: int, d: int, dtype: jax.typing.DTypeLike
) -> tuple[Float[Array, " batch"], Float[Array, "batch width"]]:
    """Noise of standard deviation 1: of the query, and its row of T with min(d + 1, n) numbers."""
    drawn = normals(key, batch, 1 + _numbers_of_row(d, n))
    return drawn[:, 0].astype(dtype), _rows(drawn[:, 1:], n, range(d, d + 1))[:, 0].astype(dtype)


def points(
    keys: tuple[Array, Array, Array],
    batch: int,
    n: int,
    factor: Float[np.ndarray, "d d"],
    *,
    noisy: bool,
    dtype: jax.typing.DTypeLike,
) -> tuple[Float[Array, "batch n_plus_1 d"], Float[Array, "batch n_plus_1"] | None]:
    """N points and the query, and noise of standard deviation 1 if asked for.

    Args:
        keys: The covariates' key, the noise's, and that of O.
        batch: Number of prompts.
        n: Number of points of a prompt.
        factor: The lower Cholesky factor of the covariance.
        noisy: Whether there is noise.
        dtype: Type of the results.
    """
    d = len(factor)
    if native.usable(dtype):
        covariates, noise, frame = ((key_words(key), False) for key in keys)
        x, errors = native.call(
            f"points_{jnp.dtype(dtype).name}",
            [
                (jax.ShapeDtypeStruct((batch, n + 1, d), dtype), True),
                (jax.ShapeDtypeStruct((batch, n + 1 if noisy else 0), dtype), True),
            ],
            *(covariates, noise, frame),
            *((jnp.asarray(a), False) for a in (factor, chi_polynomials(n, d + 1))),
        )
        return x, errors if noisy else None
    query, rows = triangle(keys[0], batch, n, factor, dtype)
    target_noise = None
    if noisy:
        target_noise, row = noise_row(keys[1], batch, n, d, dtype)
        rows = jnp.concatenate([_padded(rows, row.shape[1]), row[:, None]], axis=1)
    rows = _turned(_padded(rows, n), _directions(keys, batch, n, d, noisy=noisy).astype(dtype))
    x = jnp.concatenate([rows[:, :d].mT, query[:, None]], axis=1)
    if target_noise is None:
        return x, None
    return x, jnp.concatenate([rows[:, d], target_noise[:, None]], axis=1)


def _numbers_of_row(i: int, n: int) -> int:
    """How many normal numbers make row i of T."""
    return min(i, n) + numbers_of_chi(n - i)


def _rows(
    drawn: Float[Array, "batch numbers"], n: int, rows: range
) -> Float[Array, "batch rows width"]:
    """Rows of T from the numbers drawn for them; as wide as the last one needs."""
    index, columns = np.array(rows)[:, None], np.arange(min(n, rows.stop))
    starts = np.cumsum([0, *(_numbers_of_row(i, n) for i in rows)])[:-1, None]
    below = columns < index
    degrees = n - index[:, 0]
    chi_starts = np.where(degrees > 0, (starts + index)[:, 0], 0)
    terms = chi_polynomials(n, rows.stop)[rows.start :].T[:, None]
    score = drawn[:, chi_starts]
    diagonal = functools.reduce(lambda total, c: total * score + c, terms[::-1])
    if (degrees <= FEW_DEGREES).any():
        used = np.arange(FEW_DEGREES) < degrees[:, None]
        them = drawn[:, np.where(used, chi_starts[:, None] + np.arange(FEW_DEGREES), 0)]
        norms = jnp.sqrt(jnp.sum(jnp.where(used[None], them**2, 0), axis=-1))
        diagonal = jnp.where((degrees <= FEW_DEGREES)[None], norms, diagonal)
    lower = jnp.where(below[None], drawn[:, np.where(below, starts + columns, 0)], 0)
    return jnp.where((columns == index)[None], diagonal[:, :, None], lower)


def _directions(
    keys: tuple[Array, Array, Array], batch: int, n: int, d: int, *, noisy: bool
) -> Float[Array, "batch turns n"]:
    """The normal vectors of `_turned`: the last one is n long, those before it start with zeros."""
    rank = min(d, n)
    longest_last = range(n - rank + 1, n + 1)
    drawn = normals(keys[2], batch, sum(longest_last))
    if noisy and d < n:
        # Of the noise's key, so that the points are the same with and without noise.
        used = 1 + _numbers_of_row(d, n)
        drawn = jnp.concatenate([normals(keys[1], batch, used + n - d)[:, used:], drawn], axis=1)
        longest_last = range(n - d, n + 1)
    starts = np.cumsum([0, *longest_last])[:-1, None]
    skipped = n - np.array(longest_last)[:, None]
    there = np.arange(n) >= skipped
    return jnp.where(there[None], drawn[:, np.where(there, starts - skipped + np.arange(n), 0)], 0)


def _turned(
    rows: Float[Array, "batch rows n"], directions: Float[Array, "batch turns n"]
) -> Float[Array, "batch rows n"]:
    """Rows of T times O.

    Each turn leaves the columns before some k as they are and takes e_k to a uniform direction
    x/|x| of the others. It is the reflection that takes e_k to -sign(x_k) x/|x|, after a change of
    e_k's sign. Products of these, from the last column to the first, are uniform among the
    orthogonal matrices (Stewart 1980).
    """
    turns, n = directions.shape[1:]
    units = np.eye(n)[:turns, None][::-1]  # e_k of each turn

    def turn(rows: Array, given: tuple[Array, Array]) -> tuple[Array, None]:
        x, unit = given
        norm = jnp.linalg.norm(x, axis=-1, keepdims=True)
        first = jnp.sum(x * unit, axis=-1, keepdims=True)
        sign = jnp.where(first < 0, -1, 1).astype(x.dtype)
        x = x + sign * norm * unit
        rows = rows * (1 - (1 + sign) * unit)[:, None]
        scale = 1 / (norm * (norm + abs(first)))
        along = jnp.einsum("bij,bj->bi", rows, x, precision="highest") * scale
        return rows - along[:, :, None] * x[:, None], None

    given = (jnp.moveaxis(directions, 1, 0), jnp.asarray(units, rows.dtype))
    return jax.lax.scan(turn, rows, given, unroll=min(turns, 8))[0]


def _padded(rows: Float[Array, "batch rows r"], width: int) -> Float[Array, "batch rows width"]:
    """Rows with zeros behind them."""
    return jnp.pad(rows, ((0, 0), (0, 0), (0, width - rows.shape[2])))

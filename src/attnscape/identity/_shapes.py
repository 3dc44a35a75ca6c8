"""Shapes and dtypes to trace with."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

AXES = (2, 2)  # numbers of seeds and learning rates in a trace; any numbers would do


def key() -> jax.ShapeDtypeStruct:
    """The shape of one random key."""
    return jax.eval_shape(lambda: jax.random.key(0))


def is_trained(leaf: object) -> bool:
    """Whether it is an array of floating-point numbers, or the shape of one."""
    return isinstance(leaf, jax.ShapeDtypeStruct | jax.Array | np.ndarray) and jnp.issubdtype(
        leaf.dtype, jnp.inexact
    )


def shapes(tree: PyTree) -> PyTree:
    """The shapes and dtypes of a tree's arrays."""
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), tree)


def shapes_as(dtype: str, tree: PyTree) -> PyTree:
    """Like `shapes`, with inexact arrays in another precision; other leaves stay."""

    def of(leaf: Any) -> Any:
        if not hasattr(leaf, "dtype"):
            return leaf
        inexact = jnp.issubdtype(leaf.dtype, jnp.inexact)
        return jax.ShapeDtypeStruct(leaf.shape, jnp.dtype(dtype) if inexact else leaf.dtype)

    return jax.tree.map(of, tree)


def repeated(tree: PyTree, axes: tuple[int, ...]) -> PyTree:
    """Like `shapes`, with more axes in front."""
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct((*axes, *a.shape), a.dtype), tree)

"""Shapes of the arguments that the engine passes to a user's part, to trace it without numbers."""

from __future__ import annotations

import jax
from jaxtyping import PyTree

RUNS = 2  # numbers of seeds and of learning rates in a trace


def keys_of(shape: tuple[int, ...]) -> jax.ShapeDtypeStruct:
    """The shape and type of an array of random keys."""
    return jax.ShapeDtypeStruct(shape, jax.random.key(0).dtype)


def with_runs(tree: PyTree) -> PyTree:
    """The tree with a leading axis of `RUNS` runs on its arrays."""
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct((RUNS, *a.shape), a.dtype), tree)

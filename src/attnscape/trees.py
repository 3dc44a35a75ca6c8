"""Pytrees of models and prompts."""

from __future__ import annotations

import equinox as eqx
import jax
from jaxtyping import PyTree


def astype(dtype: jax.typing.DTypeLike, tree: PyTree) -> PyTree:
    """The tree with its inexact arrays converted to `dtype`."""
    return jax.tree.map(lambda a: a.astype(dtype) if eqx.is_inexact_array(a) else a, tree)

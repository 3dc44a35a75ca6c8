"""Pytrees of models and prompts."""

from __future__ import annotations

import equinox as eqx
import jax
from jaxtyping import PyTree


def astype(dtype: jax.typing.DTypeLike, tree: PyTree) -> PyTree:
    """The tree with its inexact arrays converted to `dtype`.

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape.trees import astype
        >>> tree = astype("float16", {"weights": jnp.ones(2), "count": jnp.arange(2)})
        >>> tree["weights"].dtype.name, tree["count"].dtype.name
        ('float16', 'int32')
    """
    return jax.tree.map(lambda a: a.astype(dtype) if eqx.is_inexact_array(a) else a, tree)

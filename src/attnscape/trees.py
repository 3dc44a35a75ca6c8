"""Pytrees of models and prompts, and plain values that say what is in one."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

# None, bool, int, float, str, numpy arrays of numbers, lists of plain values, and dicts from str to
# plain values: what can be written and read again bit for bit without running anybody's code. (A
# recursive type would have to be narrowed at every use.)
Plain = Any


class NotSavableError(ValueError):
    """A state cannot be turned into plain values; the message says what of it.

    Examples:
        >>> from attnscape.trees import NotSavableError
        >>> raise NotSavableError("its attribute inner is an Adam")
        Traceback (most recent call last):
            ...
        attnscape.trees.NotSavableError: its attribute inner is an Adam
    """


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


def to_plain(tree: PyTree) -> Plain:
    """The leaves of a tree of arrays, by their places in it; `from_plain` reads them.

    Examples:
        >>> import numpy as np
        >>> from attnscape.trees import from_plain, to_plain
        >>> saved = to_plain({"count": np.arange(2)})
        >>> from_plain({"count": np.zeros(2, int)}, saved)
        {'count': array([0, 1])}
    """
    return [
        {"place": place, "type": _type_of(leaf), "value": _numbers(leaf)}
        for place, leaf in _places(tree)
    ]


def from_plain(like: PyTree, saved: Plain) -> PyTree:
    """The tree that `to_plain` has saved, with the structure, types and shapes of another.

    Args:
        like: A tree made as the saved one was.
        saved: What `to_plain` has returned.

    Raises:
        ValueError: If a leaf has another place, type or shape.
    """
    fresh = _places(like)
    described = [(place, _type_of(leaf)) for place, leaf in fresh]
    found = [(each["place"], each["type"]) for each in saved]
    if described != found:
        differing = next(
            (pair for pair in zip(found, described, strict=False) if pair[0] != pair[1]),
            (f"{len(found)} arrays", f"{len(described)}"),
        )
        raise ValueError(f"the saved state has {differing[0]} where this one has {differing[1]}")
    leaves = [
        _array_like(leaf, each["value"]) for (_, leaf), each in zip(fresh, saved, strict=True)
    ]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _places(tree: PyTree) -> list[tuple[str, Any]]:
    paths, _ = jax.tree.flatten_with_path(tree)
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in paths]


def _type_of(leaf: jax.Array | np.ndarray) -> str:
    return f"{leaf.dtype}{list(leaf.shape)}"


def _is_key(leaf: jax.Array | np.ndarray) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _numbers(leaf: jax.Array | np.ndarray) -> np.ndarray:
    return np.array(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _array_like(leaf: jax.Array | np.ndarray, numbers: np.ndarray) -> jax.Array | np.ndarray:
    if isinstance(leaf, np.ndarray):
        return numbers
    if _is_key(leaf):
        return jax.random.wrap_key_data(jnp.asarray(numbers), impl=jax.random.key_impl(leaf))
    # JAX compiles a program apart for arrays of a weak type, which `set` keeps.
    weak = getattr(leaf, "weak_type", False)
    return leaf.at[...].set(numbers) if weak else jnp.asarray(numbers, leaf.dtype)

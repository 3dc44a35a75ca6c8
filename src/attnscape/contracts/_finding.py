"""Findings, and the comparisons that checks are made of."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from attnscape.errors import UsageError
from attnscape.loading import told

_DTYPES = ("float32", "float64")


@dataclasses.dataclass(frozen=True)
class Finding:
    """What came of one check.

    Attributes:
        check: What was looked at.
        ok: Whether the contract is kept.
        sentence: What was found.
    """

    check: str
    ok: bool
    sentence: str


class BrokenError(Exception):
    """A sentence on how the contract is broken."""


def finding(name: str, check: Callable[[], str]) -> Finding:
    """Runs a check, which returns a sentence or raises."""
    try:
        return Finding(name, True, check())
    except (BrokenError, UsageError) as error:
        return Finding(name, False, str(error))
    except Exception as error:  # whatever a user's part may raise
        return Finding(name, False, f"It raises {told(error)}.")


def findings(checks: Sequence[tuple[str, Callable[[], str]]]) -> list[Finding]:
    """All checks; where the first fails, there is nothing to look at for the others."""
    found = []
    for name, check in checks:
        found.append(finding(name, check))
        if len(found) == 1 and not found[0].ok:
            break
    return found


def in_each_dtype(name: str, check: Callable[[str], str]) -> list[tuple[str, Callable[[], str]]]:
    """The check in single and in double precision."""
    return [(f"{name}, {dtype}", functools.partial(check, dtype)) for dtype in _DTYPES]


def require(kept: Any, sentence: str) -> None:
    if not kept:
        raise BrokenError(sentence)


@contextlib.contextmanager
def precision(dtype: str) -> Iterator[None]:
    with jax.enable_x64(dtype == "float64"):
        yield


def is_same(one: Any, other: Any) -> bool:
    """Equal structures, shapes, types and values, NaN equal to NaN."""
    if shapes(one) != shapes(other):
        return False
    leaves = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(plain(a), plain(b), equal_nan=True) for a, b in leaves)


def plain(leaf: Any) -> np.ndarray:
    if eqx.is_array(leaf) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    array = np.asarray(leaf)
    return array.astype(float) if array.dtype.kind not in "biufc" else array  # bfloat16


def shapes(tree: Any) -> Any:
    leaves, structure = jax.tree.flatten(tree)
    return structure, [(jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves]


def all_finite(tree: Any) -> bool:
    return all(np.isfinite(plain(a)).all() for a in jax.tree.leaves(tree))


def counted(function: Callable[..., Any]) -> tuple[Callable[..., Any], list[None]]:
    """The function, and a list that grows by one whenever JAX traces it, which it then compiles."""
    traces: list[None] = []

    def traced(*arguments: Any) -> Any:
        traces.append(None)
        return function(*arguments)

    return traced, traces


def words(tree: Any) -> str:
    """Shapes and types of the leaves, as people write them."""
    leaves = jax.tree.leaves(tree)
    return ", ".join(f"{jnp.result_type(a)}{list(jnp.shape(a))}" for a in leaves) or "empty"

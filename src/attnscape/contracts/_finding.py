"""Findings, and the comparisons that checks are made of."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from attnscape.contracts._telling import BrokenError, told
from attnscape.contracts._tracing import form, plain
from attnscape.errors import UsageError

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


def finding(name: str, check: Callable[[], str]) -> Finding:
    """Runs a check, which returns a sentence or raises."""
    try:
        return Finding(name, True, check())
    except UsageError as error:
        return Finding(name, False, str(error))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever a user's part may raise
        return Finding(name, False, f"It raises {told(error)}.")


def findings(
    quick: Callable[[str], object],
    passed: Mapping[str, str],
    slow: Sequence[tuple[str, Callable[[], str]]],
) -> list[Finding]:
    """All checks of a part.

    Args:
        quick: What training checks too, in the precision that it is given; raises UsageError.
        passed: Of the checks in `quick`, in order, what to say where they are kept.
        slow: Further checks, made only where those are kept.
    """
    for dtype in _DTYPES:
        try:
            with jax.enable_x64(dtype == "float64"):
                quick(dtype)
        except UsageError as error:
            names = list(passed)
            check = error.check if isinstance(error, BrokenError) else names[0]
            names = names[: names.index(check)] if check in passed else names[:1]
            found = [Finding(name, True, passed[name]) for name in names]
            return [*found, Finding(f"{check}, {dtype}", False, str(error))]
    found = [Finding(name, True, sentence) for name, sentence in passed.items()]
    return found + [finding(name, check) for name, check in slow]


def in_each_dtype(name: str, check: Callable[[str], str]) -> list[tuple[str, Callable[[], str]]]:
    """The check in single and in double precision."""
    return [(f"{name}, {dtype}", functools.partial(check, dtype)) for dtype in _DTYPES]


def require(kept: Any, sentence: str) -> None:
    """Raises UsageError with that sentence unless the contract is kept."""
    if not kept:
        raise UsageError(sentence)


@contextlib.contextmanager
def precision(dtype: str) -> Iterator[None]:
    with jax.enable_x64(dtype == "float64"):
        yield


def is_same(one: Any, other: Any) -> bool:
    """Equal structures, shapes, types and values, NaN equal to NaN."""
    if form(one) != form(other):
        return False
    leaves = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(plain(a), plain(b), equal_nan=True) for a, b in leaves)


def all_finite(tree: Any) -> bool:
    return all(np.isfinite(plain(a)).all() for a in jax.tree.leaves(tree))


def counted(function: Callable[..., Any]) -> tuple[Callable[..., Any], list[None]]:
    """The function, and a list that grows by one whenever JAX traces it, which it then compiles."""
    traces: list[None] = []

    def traced(*arguments: Any) -> Any:
        traces.append(None)
        return function(*arguments)

    return traced, traces

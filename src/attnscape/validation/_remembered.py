"""A cache for checks, so that a part that passed is not checked again."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any


def remembered(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with a cache of its last results, for arguments that can be hashed.

    A failed check is not cached: it raises again.
    """
    cached = functools.lru_cache(maxsize=32)(
        lambda *arguments: function(*(argument.value for argument in arguments))
    )

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        known = [_Known(_content(argument), argument) for argument in arguments]
        return cached(*known) if _has_hash(known) else function(*arguments)

    return call


@dataclasses.dataclass(frozen=True)
class _Known:
    """An argument that is equal to others of the same content."""

    content: Any
    value: Any = dataclasses.field(compare=False)


def _content(argument: Any) -> Any:
    """What tells an argument from others: a `functools.partial` is equal to itself only."""
    if type(argument) is not functools.partial:
        return argument
    named = argument.keywords.items()
    values = [(name, type(value), value) for name, value in (*enumerate(argument.args), *named)]
    return (_content(argument.func), frozenset(values)) if _has_hash(values) else argument


def _has_hash(things: Any) -> bool:
    try:
        hash(tuple(things))
    except TypeError:
        return False
    return True

"""A cache for checks, so that a part that passed is not checked again."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any


def remembered(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with a cache of its last results, for arguments that can be hashed.

    A failed check is not cached: it raises again.
    """
    cached = functools.lru_cache(maxsize=32)(function)

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        try:
            hash(arguments)
        except TypeError:
            return function(*arguments)
        return cached(*arguments)

    return call

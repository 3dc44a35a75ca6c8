"""Recognises built-in parts, which are identified by their fields."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
import types
from typing import Any

import jax
import numpy as np

from attnscape.loading import is_installed

# Packages that wrap functions to check types at run time.
_WRAPPERS = ("attnscape", "jaxtyping", "beartype")


def is_built_in(value: Any) -> bool:
    """Whether it consists only of built-in parts, scipy's distributions, numbers and texts.

    Examples:
        >>> from attnscape import RegressionTask
        >>> from attnscape.identity import is_built_in
        >>> is_built_in(RegressionTask(dim=2)), is_built_in(lambda x, w: x)
        (True, False)
    """
    match value:
        case None | bool() | int() | float() | str() | np.generic() | np.dtype():
            return True
        case np.ndarray() | jax.Array():
            return value.dtype.kind in "biufU"
        case dict() | types.MappingProxyType():
            return all(isinstance(key, str) and is_built_in(entry) for key, entry in value.items())
        case list() | tuple() if type(value) in (list, tuple):
            return all(map(is_built_in, value))
        case functools.partial():
            return all(map(is_built_in, (value.func, value.args, value.keywords)))
        case types.FunctionType():
            return _is_built_in_function(value) and _is_where_it_says(value)
        case types.MethodType():
            return is_built_in(value.__self__) and _is_built_in_function(value.__func__)
        case type():
            return value.__module__.startswith("attnscape.") and _is_untouched(value)
        case _:
            pass
    if dataclasses.is_dataclass(value):
        fields = (getattr(value, field.name, None) for field in dataclasses.fields(value))
        named = {field.name for field in dataclasses.fields(value)}
        return (
            is_built_in(type(value))
            and vars(value).keys() <= named
            and all(map(is_built_in, fields))
        )
    return _is_scipys(value)


def _is_scipys(value: Any) -> bool:
    """Whether it is a frozen distribution of the class that scipy has under this name."""
    if not type(value).__module__.startswith("scipy.stats."):
        return False
    from scipy import stats

    distribution, arguments = getattr(value, "dist", None), getattr(value, "args", None)
    known = getattr(stats, str(getattr(distribution, "name", None)), None)
    return (
        known is not None
        and type(distribution) is type(known)
        and is_built_in(arguments)
        and is_built_in(value.kwds)
    )


def _is_untouched(kind: type) -> bool:
    """Whether no function of a class of attnscape or of its base classes was replaced."""
    if not _is_where_it_says(kind):
        return False
    return all(
        is_installed(base.__module__)
        and all(_is_built_in_function(function) for function in _functions(base))
        for base in kind.__mro__
        if base.__module__.startswith("attnscape.")
    )


def _functions(kind: type) -> list[types.FunctionType]:
    members = [getattr(m, "__func__", getattr(m, "fget", m)) for m in vars(kind).values()]
    return [member for member in members if isinstance(member, types.FunctionType)]


def _is_built_in_function(function: types.FunctionType) -> bool:
    """Whether the function, and all functions that it wraps, come from attnscape."""
    layers: list[Any] = [function]
    inspect.unwrap(function, stop=lambda layer: bool(layers.append(layer)))
    return all(
        getattr(layer, "__globals__", {}).get("__name__", "").partition(".")[0]
        in (*_WRAPPERS, "dataclasses", "equinox", "typing", "abc")
        for layer in layers
    )


def _is_where_it_says(code: Any) -> bool:
    """Whether a module of attnscape holds exactly this object under its name."""
    found: Any = sys.modules.get(code.__module__)
    for part in code.__qualname__.split("."):
        found = getattr(found, part, None)
    found = getattr(found, "__func__", found)
    return code.__module__.startswith("attnscape.") and found is code

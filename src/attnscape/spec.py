"""Specs: Python objects described as canonical JSON, so that equal experiments have equal ids.

Dataclasses are described by their fields, scipy distributions by name and arguments, partial calls
by function and arguments, and functions of a user's own by their source.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from attnscape.errors import UsageError


def describe(value: Any) -> Any:
    """`value` in terms of JSON.

    Raises:
        UsageError: If it is of a kind whose description would not pin it down.
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else repr(value)
        case np.generic():
            return describe(value.item())
        case np.ndarray():
            return describe(value.tolist())
        case Mapping():
            return {str(key): describe(entry) for key, entry in value.items()}
        case Sequence():
            return [describe(entry) for entry in value]
        case functools.partial():
            return {
                "call": describe(value.func),
                "args": describe(value.args),
                "keywords": describe(value.keywords),
            }
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: describe(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"type": _name(type(value)), **fields}
    if hasattr(value, "dist") and hasattr(value, "kwds"):
        return _describe_distribution(value)
    if callable(value):
        return _describe_callable(value)
    raise UsageError(
        f"{value!r} of type {type(value).__name__} cannot be part of an experiment; use numbers, "
        "dataclasses, scipy.stats distributions or functions."
    )


def _describe_distribution(frozen: Any) -> dict[str, Any]:
    return {
        "scipy.stats": frozen.dist.name,
        "args": describe(frozen.args),
        "keywords": describe(frozen.kwds),
    }


def _describe_callable(function: Any) -> dict[str, str]:
    name = _name(function)
    if name.startswith("attnscape."):
        return {"function": name}
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError):
        raise UsageError(
            f"The source of {function!r} cannot be found, so a result made with it could not be "
            "told from another; define it in a file."
        ) from None
    return {"function": name, "source": hashlib.sha256(source.encode()).hexdigest()}


def _name(function: Any) -> str:
    return f"{function.__module__}.{function.__qualname__}"


def canonical(value: Any) -> str:
    """The one JSON text of a described value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """SHA-256 of the canonical text, in hexadecimal."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()

"""Specs: Python objects described as canonical JSON, for people to read and for hashes.

Dataclasses are described by their fields, scipy distributions by name and arguments, partial calls
by function and arguments, functions and classes by their names. Results are told apart by more
than their specs: see `attnscape.identity`.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
import types
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from attnscape.loading import name_of

_EXACT = 2**53  # integers up to this are exact in float64
_LONGEST_ARRAY = 1000  # every result contains a spec, so longer arrays are replaced by a hash


def describe(value: Any) -> Any:
    """`value` as JSON data; equal numbers (1 and 1.0) have equal descriptions.

    Examples:
        >>> from attnscape.spec import describe
        >>> from attnscape.tasks import Gaussian
        >>> describe(Gaussian())
        {'name': 'attnscape.Gaussian', 'fields': {'covariance': None}}
        >>> describe((1, 1.0, float("inf")))
        [1, 1, 'inf']
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            if not math.isfinite(value):
                return repr(value)
            return int(value) if value.is_integer() and abs(value) <= _EXACT else value
        case np.generic():
            return describe(value.item())
        case np.dtype():
            return value.name
        case np.ndarray() if value.dtype.kind == "f" and value.size > _LONGEST_ARRAY:
            numbers = np.ascontiguousarray(value, "<f8") + 0.0  # -0 and 0 are equal
            sha256 = hashlib.sha256(numbers.tobytes()).hexdigest()
            return {"array": list(value.shape), "sha256": sha256}
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
        case type() | types.FunctionType() | types.ModuleType():
            return {"name": name_of(value)}
        case types.MethodType():
            return {"method": value.__name__, "of": describe(value.__self__)}
        case _:
            pass
    kind = {"name": name_of(type(value))}
    if dataclasses.is_dataclass(value):
        fields = {f.name: getattr(value, f.name, None) for f in dataclasses.fields(value)}
        return {**kind, "fields": describe(fields)}
    if hasattr(value, "dist") and hasattr(value, "kwds"):
        distribution = {"args": describe(value.args), "keywords": describe(value.kwds)}
        return {"distribution": getattr(value.dist, "name", None), **distribution}
    if hasattr(value, "__wrapped__"):  # such as a result of jax.jit
        return {**kind, "of": describe(value.__wrapped__)}
    if hasattr(value, "__array__"):
        return describe(np.asarray(value))
    return kind


def canonical(value: object) -> str:
    """The canonical JSON text of a described value.

    Examples:
        >>> from attnscape.spec import canonical
        >>> canonical({"b": 1, "a": [2.5, None]})
        '{"a":[2.5,null],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: object) -> str:
    """SHA-256 of the canonical text, in hexadecimal.

    Examples:
        >>> from attnscape.spec import digest
        >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
        True
        >>> len(digest({}))
        64
    """
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def short(run_id: str) -> str:
    """The beginning of a run id, as names of files and messages have it.

    Examples:
        >>> from attnscape.spec import digest, short
        >>> len(short(digest({})))
        16
    """
    return run_id[:16]

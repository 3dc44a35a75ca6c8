"""Specs: Python objects described as canonical JSON, so that equal experiments have equal ids.

Dataclasses are described by their fields, scipy distributions by name and arguments, partial calls
by function and arguments. Functions and classes of a user's own are described by their source and
by what its names stand for: closed-over values, defaults, global values, functions that it calls.
What attnscape defines is described by name, so that its results outlive its versions.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import functools
import hashlib
import inspect
import json
import math
import re
import sys
import textwrap
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from attnscape.errors import UsageError

_EXACT = 2**53  # whole numbers up to here are exact in float64
_LONGEST_ARRAY = 1000  # a spec stands in every result; longer arrays are told apart by a hash


def describe(value: Any) -> Any:
    """`value` in terms of JSON; numbers that are equal are described alike (1 and 1.0).

    Raises:
        UsageError: If it is of a kind whose description would not pin it down.
    """
    return _describe(value, ())


def canonical(value: Any) -> str:
    """The one JSON text of a described value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """SHA-256 of the canonical text, in hexadecimal."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def _describe(value: Any, within: tuple[Any, ...]) -> Any:
    """As `describe`; `within` holds the functions and classes that are being described."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            if not math.isfinite(value):
                return repr(value)
            return int(value) if value.is_integer() and abs(value) <= _EXACT else value
        case np.generic():
            return _describe(value.item(), within)
        case np.dtype():
            return value.name
        case np.ndarray() if value.dtype.kind == "f" and value.size > _LONGEST_ARRAY:
            numbers = np.ascontiguousarray(value, "<f8") + 0.0  # -0 and 0 are equal
            sha256 = hashlib.sha256(numbers.tobytes()).hexdigest()
            return {"array": list(value.shape), "sha256": sha256}
        case np.ndarray():
            return _describe(value.tolist(), within)
        case Mapping():
            return {str(key): _describe(entry, within) for key, entry in value.items()}
        case Sequence():
            return [_describe(entry, within) for entry in value]
        case functools.partial():
            return {
                "call": _describe(value.func, within),
                "args": _describe(value.args, within),
                "keywords": _describe(value.keywords, within),
            }
        case type() | types.FunctionType():
            return _describe_code(value, within)
        case types.ModuleType():
            return {"module": value.__name__, "source": digest(_source(value))}
        case types.MethodType():
            return {"method": value.__name__, "of": _describe(value.__self__, within)}
    if dataclasses.is_dataclass(value):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return {**_describe_code(type(value), within), "fields": _describe(fields, within)}
    if hasattr(value, "dist") and hasattr(value, "kwds"):
        return _describe_distribution(value, within)
    if hasattr(value, "__wrapped__"):  # such as jax.jit gives
        return {"wrapper": _name(type(value)), "of": _describe(value.__wrapped__, within)}
    if hasattr(value, "__array__"):
        return _describe(np.asarray(value), within)
    raise UsageError(
        f"{value!r} of type {type(value).__name__} cannot be part of an experiment; use numbers, "
        "dataclasses, scipy.stats distributions or functions."
    )


def _describe_distribution(frozen: Any, within: tuple[Any, ...]) -> dict[str, Any]:
    from scipy import stats

    law = frozen.dist
    arguments = {
        "args": _describe(frozen.args, within),
        "keywords": _describe(frozen.kwds, within),
    }
    if type(law) is type(getattr(stats, str(law.name), None)):
        return {"scipy.stats": law.name, **arguments}
    # A histogram, or a user's own: the name does not say which.
    quantiles = _describe(frozen.ppf(np.linspace(0, 1, 1001)[1:-1]), within)
    return {"name": _name(type(law)), "quantiles": digest(quantiles), **arguments}


def _describe_code(code: Any, within: tuple[Any, ...]) -> dict[str, str]:
    """A function or class by its name and, unless it is attnscape's own, a hash of the rest."""
    name = _name(code)
    own = name.startswith("attnscape.")
    if code in within or (own and not getattr(code, "__closure__", None)):
        return {"name": name}
    variables = _closure(code)
    content: dict[str, Any] = {}
    if not own:
        content |= {"source": (source := _source(code)), "end": _end(code)}
        if not _is_installed(code):
            variables = _meanings(code, source) | variables
    content["variables"] = {
        variable: _describe_variable(code, variable, value, (*within, code))
        for variable, value in variables.items()
    }
    return {"name": name, "source": digest(content)}


def _describe_variable(code: Any, name: str, value: Any, within: tuple[Any, ...]) -> Any:
    try:
        return _describe(value, within)
    except UsageError as error:
        # Type variables, loggers and their like are pinned down by what they print.
        if " at 0x" in repr(value):
            raise UsageError(f"{_name(code)} depends on {name}: {error}") from None
        return repr(value)


def _closure(code: Any) -> dict[str, Any]:
    """The variables that a function, or a class's methods, took from around their definition."""
    functions = [code]
    if isinstance(code, type):
        members = [getattr(m, "__func__", getattr(m, "method", m)) for m in vars(code).values()]
        functions = [
            m
            for m in members
            if isinstance(m, types.FunctionType)
            and m.__code__.co_qualname.startswith(code.__qualname__)  # not generated ones
        ]
    closure = {}
    for function in functions:
        cells = function.__closure__ or ()
        for name, cell in zip(function.__code__.co_freevars, cells, strict=True):
            with contextlib.suppress(ValueError):  # nothing was assigned to it yet
                owner = "" if function is code else f"{function.__name__}: "
                closure[owner + name] = cell.cell_contents
    return closure


def _meanings(code: Any, source: str) -> dict[str, Any]:
    """Defaults or base classes, and what the source's global names stand for.

    Names of installed functions, classes and modules speak for themselves.
    """
    if isinstance(code, type):
        known = vars(sys.modules[code.__module__])
        bases = [base for base in code.__mro__[1:] if not _is_installed(base)]
        meanings: dict[str, Any] = {"(bases)": bases}
    else:
        known = code.__globals__
        meanings = {"(defaults)": (code.__defaults__, code.__kwdefaults__)}
    for name in _names(source):
        if name in known:
            value = known[name]
            is_code = hasattr(value, "__qualname__") or isinstance(value, types.ModuleType)
            if not (is_code and _is_installed(value)):
                meanings[name] = value
    return meanings


def _names(source: str) -> set[str]:
    try:
        tree = ast.parse(textwrap.dedent(source))
    except SyntaxError:  # the line of a lambda need not be a statement
        return set(re.findall(r"[^\W\d]\w*", source))
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _source(code: Any) -> str:
    try:
        return inspect.getsource(getattr(code, "__code__", code))
    except (OSError, TypeError):
        if _is_installed(code):
            return ""
        raise UsageError(
            f"The source of {code!r} cannot be found, so a result made with it could not be "
            "told from another; define it in a file."
        ) from None


def _end(code: Any) -> Any:
    """Where a lambda ends: its source is a whole line, which may hold two of them."""
    if code.__name__ != "<lambda>":
        return None
    first = code.__code__.co_firstlineno
    ends = [(p[1] - first, p[3]) for p in code.__code__.co_positions() if p[1] and p[3]]
    return max(ends, default=None)


def _is_installed(code: Any) -> bool:
    """Whether it comes with Python or from a package, and not from a file of the user's own."""
    module = code.__name__ if isinstance(code, types.ModuleType) else code.__module__
    root = str(module).partition(".")[0]
    file = Path(getattr(sys.modules.get(root), "__file__", None) or ".")
    return (
        root == "attnscape"
        or root in sys.stdlib_module_names
        or not {"site-packages", "dist-packages"}.isdisjoint(file.parts)
    )


def _name(code: Any) -> str:
    return f"{code.__module__}.{code.__qualname__}"

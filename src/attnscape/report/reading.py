"""Reads JSON files as dataclasses; a value of the wrong type raises an error in one sentence."""

from __future__ import annotations

import collections.abc
import dataclasses
import json
import types
import typing
from pathlib import Path
from typing import Any


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        ValueError: If it cannot be read or is not JSON.
    """
    try:
        return json.loads(path.read_text("utf-8"), parse_constant=_refused)
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def typed(kind: Any, value: Any, where: str = "it") -> Any:
    """Converts a JSON value to the type `kind`.

    Args:
        kind: A dataclass, Mapping[str, ...], tuple[..., ...], a union, a Literal, str, int, float,
            bool, None or Any.
        value: The JSON value.
        where: The name of the value in the error's sentence.

    Raises:
        ValueError: If the value has another type; the sentence says where.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return _fields(kind, value, where)
    if origin is collections.abc.Mapping:
        _check(value, dict, where)
        return {key: typed(arguments[1], entry, f"{where}.{key}") for key, entry in value.items()}
    if origin is tuple:
        _check(value, list, where)
        kinds = [arguments[0]] * len(value) if arguments[-1] is ... else arguments
        if len(kinds) != len(value):
            raise ValueError(f"{where} has {len(value)} entries, not {len(kinds)}")
        return tuple(
            typed(entry_kind, entry, f"{where}[{index}]")
            for index, (entry_kind, entry) in enumerate(zip(kinds, value, strict=True))
        )
    if origin in (typing.Union, types.UnionType):
        return _one_of(arguments, value, where)
    if origin is typing.Literal:
        if value not in arguments:
            raise ValueError(f"{where} is {value!r}")
        return value
    if kind is float and type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise ValueError(f"{where} is too large") from None
    _check(value, kind, where)
    return value


def _fields(kind: Any, value: Any, where: str) -> Any:
    _check(value, dict, where)
    kinds = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    unknown = [key for key in value if key not in fields]
    if unknown:
        raise ValueError(f"{where} has an unknown entry {unknown[0]!r}")
    missing = [
        name
        for name, field in fields.items()
        if name not in value
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ValueError(f"{where} has no {missing[0]!r}")
    return kind(**{key: typed(kinds[key], entry, key) for key, entry in value.items()})


def _one_of(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    faults = []
    for kind in kinds:
        try:
            return typed(kind, value, where)
        except ValueError as error:
            faults.append(str(error))
    raise ValueError(faults[0])


def _check(value: Any, kind: type, where: str) -> None:
    # Python counts bool as a number; here it is not one.
    if type(value) is not kind:
        raise ValueError(f"{where} is {_WORDS.get(type(value))}, not {_WORDS.get(kind)}")


_WORDS = {
    dict: "an object",
    list: "a list",
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}

"""Texts such as `noise:at=0,500,samples=1000`: a name, and values for fields of a dataclass."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from attnscape.errors import UsageError

Words = Mapping[str, tuple[str, ...]]  # the values of each field, as they were written


def split_fields(text: str) -> tuple[str, Words]:
    """The name in a text, and the values of each field; a comma separates fields and values.

    The name may be a reference or a path, with colons of its own.

    Raises:
        UsageError: If a field has no value, or is given twice.

    Examples:
        >>> from attnscape.loading import split_fields
        >>> split_fields("noise:at=0,500,samples=1000")
        ('noise', {'at': ('0', '500'), 'samples': ('1000',)})
        >>> split_fields("my_file.py:Mine")
        ('my_file.py:Mine', {})
    """
    name, colon, rest = text.rpartition(":")
    if not colon or "=" not in rest:
        return text, {}
    words: dict[str, tuple[str, ...]] = {}
    key = ""
    for piece in rest.split(","):
        before, equals, value = piece.partition("=")
        key = before.strip() if equals else key
        value = (value if equals else before).strip()
        if not key or not value or (equals and key in words):
            raise UsageError(
                f"{text!r} cannot be read at {piece!r}; write each field once, with its values, as "
                "in name:field=1,other=2,3."
            )
        words[key] = (*words.get(key, ()), value)
    return name, words


def read_fields(
    name: str,
    kind: type,
    words: Words,
    *,
    replaced: Mapping[str, Mapping[str, object]] | None = None,
) -> dict[str, Any]:
    """Values for the fields of a dataclass, converted to the fields' types.

    Args:
        name: What the dataclass is called in messages.
        kind: The dataclass; its fields are numbers, texts, None, or tuples of them.
        words: The values as they were written.
        replaced: Fields that are given by keys of their own, with the types of these keys.

    Raises:
        UsageError: If there is no such field, or a value is not of its type.

    Examples:
        >>> import dataclasses
        >>> from attnscape.loading import read_fields
        >>> @dataclasses.dataclass
        ... class Point:
        ...     x: float = 0.0
        ...     tags: tuple[str, ...] = ()
        >>> read_fields("point", Point, {"x": ("0.5",), "tags": ("a", "b")})
        {'x': 0.5, 'tags': ('a', 'b')}
        >>> read_fields("point", Point, {"y": ("1",)})
        Traceback (most recent call last):
            ...
        attnscape.errors.UsageError: point has no field 'y'; it has x and tags.
    """
    hints = typing.get_type_hints(kind)
    replaced = replaced or {}
    known = {
        field.name: hints[field.name]
        for field in dataclasses.fields(kind)
        if field.init and field.name not in replaced
    }
    for keys in replaced.values():
        known |= keys
    values = {}
    for key, given in words.items():
        if key not in known:
            raise UsageError(f"{name} has no field {key!r}; it has {_listed(list(known))}.")
        try:
            values[key] = _converted(known[key], given)
        except ValueError:
            raise UsageError(
                f"{name} has {key}={','.join(given)}; {key} must be {_in_words(known[key])}."
            ) from None
    return values


def _converted(hint: Any, given: Sequence[str]) -> Any:
    """The words as a value of the type; raises ValueError if they are none."""
    if typing.get_origin(hint) is tuple:
        return tuple(_converted(typing.get_args(hint)[0], [word]) for word in given)
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        for each in typing.get_args(hint):
            try:
                return _converted(each, given)
            except ValueError:
                continue
        raise ValueError
    if len(given) != 1:
        raise ValueError
    word = given[0]
    if hint is type(None) or hint is bool:
        choices = {"none": None} if hint is type(None) else {"true": True, "false": False}
        if word.lower() not in choices:
            raise ValueError
        return choices[word.lower()]
    if hint in (int, float, str):
        return hint(word)
    raise ValueError


def _in_words(hint: Any) -> str:
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    if hint is type(None):
        return "none"
    if typing.get_origin(hint) is tuple:
        each = _in_words(typing.get_args(hint)[0])
        return f"one or more values, each {each}"
    parts = typing.get_args(hint)
    if parts:
        return " or ".join(dict.fromkeys(_in_words(part) for part in parts))
    return names.get(hint, "given from Python: it cannot be written as a text")


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]])) or "no fields"

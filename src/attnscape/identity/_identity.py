"""The identity of a traced part: its programs, and its files if the programs call Python."""

from __future__ import annotations

import dataclasses
import functools
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from attnscape.identity._program import Program
from attnscape.identity._sources import pinned_by
from attnscape.loading import name_of, source_of
from attnscape.optimizers.binding import Wrapped, unwrapped


class NotFoundAgainWarning(UserWarning):
    """A part depends on more than its code, so no other process finds its results."""


@dataclasses.dataclass(frozen=True)
class Identity:
    """All that distinguishes a part, or an experiment, from others.

    Attributes:
        content: The identity as JSON data.
        reasons: Sentences on why the part may change although the content stays the same; empty if
            it cannot. No other process finds a result that has reasons.

    Examples:
        >>> from attnscape.identity import Identity
        >>> Identity({"own": "adam"}) == Identity({"own": "adam"})
        True
        >>> Identity({"own": "adam"}).reasons  # none: other processes find its results
        ()
    """

    content: Any
    reasons: tuple[str, ...] = ()


def by_programs(name: str, thing: object, trace: Callable[[], list[Program]]) -> Identity:
    """The identity of a part by its programs; they are traced twice and must be equal."""
    first, second = trace(), trace()
    digests = [each.digest for each in first]
    if digests != [each.digest for each in second]:
        reason = "becomes another program each time it is traced"
        return with_reasons(name, thing, {"programs": []}, [reason])
    outside = sorted({words for each in first for words in each.outside})
    content: dict[str, Any] = {"programs": digests}
    unpinned = [words for words in outside if "foreign" in words]
    if outside:
        content["files"], depends = pinned_by(thing)
        unpinned += [f"{outside[0]}, and depends on {words}" for words in depends]
    return with_reasons(name, thing, content, unpinned)


def with_reasons(name: str, thing: object, content: Any, unpinned: Sequence[str]) -> Identity:
    """The identity of a part that depends on its content and on `unpinned`.

    If `unpinned` is not empty, the identity holds for this object in this process only.

    Examples:
        >>> from attnscape.identity import with_reasons
        >>> with_reasons("mine", object, {"files": {}}, []).reasons
        ()
        >>> len(with_reasons("mine", object, {"files": {}}, ["the time"]).reasons)
        1
    """
    if not unpinned:
        return Identity(content)
    place = place_of(thing)
    return Identity(
        {**content, "process": _process_token(thing)},
        (
            f"{name}{f' ({place})' if place else ''} depends on more than its code: "
            f"{unpinned[0]}. Its results are kept, but not found again by another command.",
        ),
    )


def place_of(thing: Any) -> str:
    """The place where a part is defined, if it is known."""
    while isinstance(thing, functools.partial | Wrapped):
        thing = thing.func if isinstance(thing, functools.partial) else thing.factory
    inner = unwrapped(getattr(thing, "make", None))
    return (
        source_of(thing)
        or (source_of(inner) if callable(inner) else "")
        or name_of(thing if isinstance(thing, type) else type(thing))
    )


_tokens: dict[int, tuple[object, str]] = {}  # keeps the things, so that no id is used again


def _process_token(thing: object) -> str:
    """A random word for this object in this process."""
    return _tokens.setdefault(id(thing), (thing, uuid.uuid4().hex))[1]

"""The sources of users' modules at the time when they were loaded."""

from __future__ import annotations

import sys
import types
from pathlib import Path

from attnscape.loading._origins import is_installed
from attnscape.loading._rooms import rooms

_sources: dict[types.ModuleType, bytes | None] = {}


def brought_in(module: types.ModuleType) -> dict[str, bytes | None]:
    """The sources of a user's module and of all users' modules that it uses, by name.

    A module in a room uses its whole room and everything that the room imported. Any other module
    uses the modules that its variables come from, recursively. A source that cannot be read is
    None.

    Examples:
        >>> import json
        >>> from attnscape.loading import brought_in
        >>> brought_in(json)  # installed, so no user's module
        {}
    """
    sources: dict[str, bytes | None] = {}
    waiting = [module.__name__]
    while waiting:
        name = waiting.pop()
        found = sys.modules.get(name)
        if name in sources or found is None or is_installed(name):
            continue
        room = rooms.get(name.partition(".")[0])
        if room is None:
            sources[name] = _source(found)
            waiting += _mentioned(found)
        else:
            room.fix()
            sources |= room.sources
            waiting += room.others
            for own in room.sources:
                waiting += _mentioned(sys.modules.get(own))
    return sources


def _mentioned(module: types.ModuleType | None) -> set[str]:
    """The modules among a module's variables, and the modules that its variables come from."""
    names = set[str]()
    for value in list(vars(module).values()) if module is not None else []:
        kind = type(value)
        for origin in (value, kind):
            name = origin.__name__ if isinstance(origin, types.ModuleType) else None
            name = name or getattr(origin, "__module__", None)
            if isinstance(name, str):
                names.add(name)
    return names


def _source(module: types.ModuleType) -> bytes | None:
    """The module's source at the time of the first call."""
    if module not in _sources:
        file = getattr(module, "__file__", None) or ""
        path = Path(file)
        _sources[module] = path.read_bytes() if file.endswith(".py") and path.is_file() else None
    return _sources[module]

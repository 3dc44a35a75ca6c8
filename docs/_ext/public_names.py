"""Writes the pages of the reference: one for each room whose names users import.

A public name without a docstring, or with one that shows no example, ends the build.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pages
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

# Room: what its page is about.
ROOMS = {
    "attnscape": "Everything at hand",
    "attnscape.tasks": "Tasks: prompts, covariates, responses, losses, tables",
    "attnscape.models": "Models",
    "attnscape.objective": "Loss, gradient, Hessian-vector products, Hessian",
    "attnscape.optimizers": "Optimizers and schedules",
    "attnscape.measures": "Measures",
    "attnscape.training": "Training",
    "attnscape.bench": "The bench",
    "attnscape.statistics": "Statistics: intervals and tests",
    "attnscape.torch": "PyTorch networks",
    "attnscape.networks": "Workloads: real networks with their data",
}


_CODE = re.compile(r"(``.+?``|`[^`]+`)")
_EXAMPLE = (">>>", "...")
_BLOCK = re.compile(r":\n\n(?=    )")  # what is indented after a colon is code


def write_pages(app: Sphinx) -> None:
    """Writes `reference/*.md`."""
    texts = {"index": _index()} | {_page(room): _text(room) for room in ROOMS}
    pages.write(Path(app.srcdir) / "reference", texts)


def public(room: str) -> dict[str, Any]:
    """The names that a room exports, and what they are; of the whole package, in all rooms."""
    module = importlib.import_module(room)
    names = getattr(module, "__all__", None) or [
        name for name in vars(module) if not name.startswith("_")
    ]
    found = {name: getattr(module, name) for name in names}
    return {
        name: thing
        for name, thing in sorted(found.items(), key=lambda item: item[0].lower())
        if _is_of(room, name, thing)
    }


def _is_of(room: str, name: str, thing: Any) -> bool:
    """Whether a name is the room's own, not one that it imports; constants do not know whose."""
    return _is_constant(name, thing) or getattr(thing, "__module__", "").startswith(room)


def _is_constant(name: str, thing: Any) -> bool:
    return name.isupper() and name != "TYPE_CHECKING" and not inspect.isclass(thing)


def _page(room: str) -> str:
    return room.rpartition(".")[2]


def _index() -> str:
    listed = "\n".join(_page(room) for room in ROOMS)
    return (
        "# Reference\n\nEvery public name, with shapes, units, errors, source and an example that "
        f"the tests run.\n\n```{{toctree}}\n:maxdepth: 1\n\n{listed}\n```\n"
    )


def _text(room: str) -> str:
    introduction = inspect.cleandoc(importlib.import_module(room).__doc__ or "")
    names = public(room)
    elsewhere = [_link(name, thing) for name, thing in names.items() if _home(name, thing) != room]
    entries = [_entry(room, name, thing) for name, thing in names.items()]
    body = "\n".join(elsewhere) + "\n\n" + "\n\n".join(filter(None, entries))
    return (
        f"# {ROOMS[room]}\n\n```{{eval-rst}}\n.. py:currentmodule:: {room}\n\n"
        f"{_as_rst(introduction)}\n\n{body}\n```\n"
    )


def _entry(room: str, name: str, thing: Any) -> str:
    if _is_constant(name, thing):
        return f".. py:data:: {room}.{name}\n\n   {_words(thing)}"
    if not (thing.__doc__ or "").strip():
        raise ExtensionError(f"{room}.{name} has no docstring; the reference would be silent.")
    if _home(name, thing) != room:
        return ""
    if inspect.isclass(thing):
        members = "" if issubclass(thing, BaseException) else "\n   :members:"
        return f".. autoclass:: {room}.{name}{members}"
    if inspect.isroutine(thing):
        return f".. autofunction:: {room}.{name}"
    return f".. autodata:: {room}.{name}"


def _words(constant: Any) -> str:
    """What a constant holds: the keys of a mapping, all of a tuple, or its value."""
    if isinstance(constant, Mapping):
        return "By name: " + ", ".join(f"``{key}``" for key in constant) + "."
    if isinstance(constant, tuple):
        return "One of " + ", ".join(f"``{each}``" for each in constant) + "."
    return f"``{constant!r}``"


def _link(name: str, thing: Any) -> str:
    first = inspect.cleandoc(thing.__doc__ or "").partition("\n\n")[0].replace("\n", " ")
    return f"- :py:obj:`{name} <{_home(name, thing)}.{name}>`: {_as_rst(first)}"


def _home(name: str, thing: Any) -> str:
    """The room on whose page a name is described: the first below the whole that exports it."""
    rooms = [*list(ROOMS)[1:], next(iter(ROOMS))]
    return next(room for room in rooms if public(room).get(name) is thing)


def _as_rst(text: str) -> str:
    """Docstrings are plain text: their bars are norms, not reStructuredText's substitutions."""
    parts = _CODE.split(_BLOCK.sub("::\n\n", text))
    parts[::2] = [part.replace("|", r"\|") for part in parts[::2]]
    return "".join(parts)


def _prepare(
    _app: Sphinx, _what: str, _name: str, _thing: Any, _options: Any, lines: list[str]
) -> None:
    lines[:] = [
        line if line.lstrip().startswith((">>>", "...")) else _as_rst(line) for line in lines
    ]


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the extension."""
    app.connect("builder-inited", write_pages)
    app.connect("autodoc-process-docstring", _prepare)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""References such as `file.py:name`: loads the file or module and returns the object."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

from attnscape.errors import UsageError
from attnscape.loading._origins import ROOM_PREFIX, is_installed_file
from attnscape.loading._rooms import Loader, Room, rooms
from attnscape.loading._sources import brought_in
from attnscape.loading._user_errors import format_user_error, own_frames


def is_reference(text: str) -> bool:
    """Whether it has the form `file.py:name` or `package.module:name`.

    Examples:
        >>> from attnscape.loading import is_reference
        >>> is_reference("my_file.py:factory"), is_reference("adam")
        (True, False)
    """
    return ":" in text


def load_object(reference: str) -> Any:
    """The object that a reference names.

    A file runs as Python would run it: it can import the files beside it.

    Args:
        reference: `my_file.py:thing`, or `package.module:thing`.

    Raises:
        UsageError: If there is no such file, module or thing, or running the file fails.

    Examples:
        >>> from attnscape.loading import load_object
        >>> load_object("math:sqrt")(4.0)
        2.0
        >>> load_object("my_file.py:factory")
        Traceback (most recent call last):
            ...
        attnscape.errors.UsageError: There is no file my_file.py; give the path of a Python file.
    """
    place, _, name = reference.rpartition(":")
    if not place or not name:
        raise UsageError(
            f"{reference!r} does not name a thing in a file; write my_file.py:thing or "
            "package.module:thing."
        )
    module = _load_file(Path(place)) if place.endswith(".py") else _import_module(place)
    thing: Any = module
    for part in name.split("."):
        try:
            thing = getattr(thing, part)
        except AttributeError:
            raise UsageError(f"{place} has no {name!r}; it defines {_defined(module)}.") from None
        except (Exception, SystemExit) as error:  # in a module's own `__getattr__`
            raise UsageError(f"{place} gives no {name!r}: {format_user_error(error)}.") from error
    where = str(Path(place).resolve()) if place.endswith(".py") else place
    _references.setdefault(id(thing), (thing, f"{where}:{name}"))
    return thing


_references: dict[int, tuple[object, str]] = {}  # keeps the things, so that no id is used again


def reference_of(thing: object) -> str | None:
    """The reference by which another process loads a thing, with the whole path of its file.

    None for what was not loaded by a reference, and does not come from a user's file either.

    Examples:
        >>> import json
        >>> from attnscape.loading import reference_of
        >>> reference_of(json.dumps) is None
        True
    """
    if id(thing) in _references:
        return _references[id(thing)][1]
    if isinstance(thing, type | types.FunctionType) and thing.__module__.startswith(ROOM_PREFIX):
        file = sys.modules[thing.__module__].__file__
        return None if "<" in thing.__qualname__ else f"{file}:{thing.__qualname__}"
    return None


def _load_file(path: Path) -> types.ModuleType:
    """Runs a file in a new room; reuses its old room if no file in it has changed."""
    if not path.is_file():
        raise UsageError(f"There is no file {path}; give the path of a Python file.")
    path = path.resolve()
    for room in reversed(rooms.values()):
        loaded = sys.modules.get(f"{room.name}.{path.stem}")
        if room.folder == path.parent and loaded is not None and room.is_unchanged():
            return loaded
    room = Room(path.parent)
    name = f"{room.name}.{path.stem}"
    loader = Loader(name, str(path))
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look up modules here
    try:
        with room.closed_on_failure():
            loader.exec_module(module)
            room.fix()
    except KeyboardInterrupt:  # the user's Ctrl-C
        raise
    except BaseException as error:  # a user's file may raise anything
        raise UsageError(_why_not(path, error)) from error
    return module


def _why_not(path: Path, error: BaseException) -> str:
    """The sentence for an error of a file that was run, or could not be read as Python."""
    if isinstance(error, SyntaxError):
        file = error.filename or ""
        # Without a file it is about this one, unless this one's code has raised it.
        if not file.startswith("<") and (file or not own_frames(error)):
            line = f" in line {error.lineno}" if error.lineno else ""
            return f"{file or path} is not Python: {error.msg}{line}."
    return f"Running {path} failed: {format_user_error(error)}."


def _import_module(name: str) -> types.ModuleType:
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        raise UsageError(
            f"The module {name!r} cannot be imported ({error}); install it, or give a file as "
            "my_file.py:thing."
        ) from error
    except (Exception, SystemExit) as error:
        raise UsageError(f"Importing {name} failed: {format_user_error(error)}.") from error
    brought_in(module)  # reads the sources now, before they can change
    return module


def _defined(module: types.ModuleType) -> str:
    """The public names that a module defines, in words; of a user's file, values too."""
    in_file = not is_installed_file(getattr(module, "__file__", None) or "")

    def is_own(value: object) -> bool:
        if in_file and not hasattr(value, "__name__"):
            return type(value).__module__ != "__future__"
        return _home(value).startswith(f"{module.__name__}.")

    own = [n for n, value in vars(module).items() if not n.startswith("_") and is_own(value)]
    return ", ".join(sorted(own)) or "nothing by a public name"


def _home(thing: object) -> str:
    """The module that defines the object, which a package may re-export, with a final dot."""
    return f"{getattr(thing, '__module__', None)}."

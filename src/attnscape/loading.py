"""Users' own parts by reference: `my_file.py:thing` or `package.module:thing`.

What goes wrong inside of a user's file is told as one sentence with the file and the line.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from attnscape.errors import UsageError


def is_reference(text: str) -> bool:
    """Whether it has the form `file.py:name` or `package.module:name`."""
    return ":" in text


def load_object(reference: str) -> Any:
    """The thing that a reference names.

    A file is run as it would be by Python: what lies beside it can be imported.

    Args:
        reference: `my_file.py:thing`, or `package.module:thing`.

    Raises:
        UsageError: If there is no such file, module or thing, or running the file fails.
    """
    place, _, name = reference.rpartition(":")
    if not place or not name:
        raise UsageError(
            f"{reference!r} does not name a thing in a file; write my_file.py:thing or "
            "package.module:thing."
        )
    module = _file(Path(place)) if place.endswith(".py") else _module(place)
    thing: Any = module
    for part in name.split("."):
        if not hasattr(thing, part):
            raise UsageError(f"{place} has no {name!r}; it defines {_defined(module)}.")
        thing = getattr(thing, part)
    return thing


def told(error: BaseException) -> str:
    """The error in words: its message, and the file and line of the user's that it came from."""
    message = str(error).strip().splitlines()
    words = f"{type(error).__name__}: {message[0]}" if message else type(error).__name__
    own = _own_frames(error)
    return f"{words} ({own[-1].filename}, line {own[-1].lineno})" if own else words


@contextlib.contextmanager
def telling() -> Iterator[None]:
    """Turns what a part of the user's own raises into a sentence; other errors pass.

    Raises:
        UsageError: If an error comes out of a user's file.
    """
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        if not _own_frames(error):
            raise
        raise UsageError(f"A part of yours failed: {told(error)}.") from error


def source_of(thing: Callable[..., Any]) -> str:
    """The file and line where a function or class is defined; empty if that is not known."""
    code = getattr(thing, "__code__", None) or getattr(
        getattr(thing, "__init__", None), "__code__", None
    )
    return f"{code.co_filename}, line {code.co_firstlineno}" if code else ""


def _file(path: Path) -> types.ModuleType:
    if not path.is_file():
        raise UsageError(f"There is no file {path}; give the path of a Python file.")
    path = path.resolve()
    name = path.stem
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__file__", None) != str(path):
        name = f"own_{name}"  # a file of a user's must not replace an installed module
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} cannot be read as Python; give the path of a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickles look their module up
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise UsageError(f"{path} is not Python: {error.msg} in line {error.lineno}.") from error
    except Exception as error:
        raise UsageError(f"Running {path} failed: {told(error)}.") from error
    finally:
        sys.path.remove(str(path.parent))
    return module


def _module(name: str) -> types.ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UsageError(
            f"The module {name!r} cannot be imported ({error}); install it, or give a file as "
            "my_file.py:thing."
        ) from error
    except Exception as error:
        raise UsageError(f"Importing {name} failed: {told(error)}.") from error


def _defined(module: types.ModuleType) -> str:
    own = [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and _home(value).startswith(f"{module.__name__}.")
    ]
    return ", ".join(sorted(own)) or "nothing by a public name"


def _home(thing: Any) -> str:
    """Where it was defined, with a dot behind: a package shows what its modules define."""
    return f"{getattr(thing, '__module__', None)}."


def _own_frames(error: BaseException) -> list[traceback.FrameSummary]:
    frames = traceback.extract_tb(error.__traceback__)
    return [frame for frame in frames if not is_installed(frame.filename)]


def is_installed(file: str) -> bool:
    """Whether a file of that name belongs to Python or to a package, and not to a user."""
    parts = Path(file).parts
    here = Path(__file__).parent
    return (
        file.startswith("<")
        or not {"site-packages", "dist-packages"}.isdisjoint(parts)
        or Path(file).is_relative_to(here)
        or Path(file).is_relative_to(Path(traceback.__file__).parent)
    )

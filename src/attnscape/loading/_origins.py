"""The origin of code: its file, its name, and whether it is installed or a user's."""

from __future__ import annotations

import functools
import sys
import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOM_PREFIX = "_attnscape_room_"  # begins the names of modules in rooms
_PACKAGE = Path(__file__).parents[1]  # the folder of attnscape itself


def source_of(thing: Callable[..., object]) -> str:
    """The file and line where a function or class is defined; empty if that is not known.

    Examples:
        >>> import json
        >>> from attnscape.loading import source_of
        >>> "__init__.py, line " in source_of(json.dumps)
        True
        >>> source_of(len)
        ''
    """
    code = getattr(thing, "__code__", None) or getattr(
        getattr(thing, "__init__", None), "__code__", None
    )
    if code is None or code.co_filename.startswith("<"):  # such as the `__init__` of a dataclass
        return ""
    return f"{code.co_filename}, line {code.co_firstlineno}"


def name_of(thing: Any) -> str:
    """The name of a function, class or module as its author knows it.

    Names from attnscape have no module, so that results are still found if the object moves to
    another module.

    Examples:
        >>> import json
        >>> from attnscape import RegressionTask
        >>> from attnscape.loading import name_of
        >>> name_of(json.dumps), name_of(RegressionTask)
        ('json.dumps', 'attnscape.RegressionTask')
    """
    module = getattr(thing, "__module__", None)
    if module is not None and module.partition(".")[0] == "attnscape":
        return f"attnscape.{thing.__qualname__}"
    return known_as(f"{module}.{thing.__qualname__}" if module is not None else thing.__name__)


def known_as(name: str) -> str:
    """The name of a module or of an object in it, without the room's prefix.

    Examples:
        >>> from attnscape.loading import known_as
        >>> known_as("_attnscape_room_1.my_file.factory"), known_as("json.dumps")
        ('my_file.factory', 'json.dumps')
    """
    return name.partition(".")[2] if name.startswith(ROOM_PREFIX) else name


def is_installed(module: str) -> bool:
    """Whether a module of that name comes with Python or from a package, not from a user's file.

    Examples:
        >>> from attnscape.loading import is_installed
        >>> is_installed("numpy"), is_installed("my_file")
        (True, False)
    """
    root = module.partition(".")[0]
    if root == "attnscape":
        return True
    file = getattr(sys.modules.get(root), "__file__", None)
    if file is None:
        return root in sys.builtin_module_names or root in sys.stdlib_module_names
    return is_installed_file(file)


@functools.cache
def is_installed_file(file: str) -> bool:
    """Whether a file of that name belongs to Python or to a package, and not to a user.

    Examples:
        >>> import json
        >>> from attnscape.loading import is_installed_file
        >>> is_installed_file(json.__file__), is_installed_file("my_file.py")
        (True, False)
    """
    path = Path(file)
    library = Path(sysconfig.get_path("stdlib"))
    return (
        file.startswith("<")
        or file.endswith(".pyx")  # compiled packages have frames without a file on this machine
        or not {"site-packages", "dist-packages"}.isdisjoint(path.parts)
        or path.is_relative_to(_PACKAGE)
        or path.is_relative_to(library)
        or path.is_relative_to(Path(traceback.__file__).parent)
    )

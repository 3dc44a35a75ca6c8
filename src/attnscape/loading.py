"""Users' own parts by reference: `my_file.py:thing` or `package.module:thing`.

A file is run once, and its modules are fixed then: the files of one folder make a room, in which
they find each other and nobody else does, whatever they are called. What goes wrong inside of a
user's file is told as one sentence with the file and the line.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import functools
import importlib
import importlib.machinery
import importlib.util
import itertools
import sys
import sysconfig
import traceback
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from attnscape.errors import UsageError

_ROOM = "_attnscape_room_"  # begins the names of modules in rooms
_SUFFIXES = importlib.machinery.SOURCE_SUFFIXES


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
    except (Exception, SystemExit) as error:  # neither ends the program
        if not _own_frames(error):
            raise
        raise UsageError(f"A part of yours failed: {told(error)}.") from error


def source_of(thing: Callable[..., Any]) -> str:
    """The file and line where a function or class is defined; empty if that is not known."""
    code = getattr(thing, "__code__", None) or getattr(
        getattr(thing, "__init__", None), "__code__", None
    )
    return f"{code.co_filename}, line {code.co_firstlineno}" if code else ""


def name_of(thing: Any) -> str:
    """The name of a function, class or module as its author knows it."""
    module = getattr(thing, "__module__", None)
    return known_as(f"{module}.{thing.__qualname__}" if module is not None else thing.__name__)


def known_as(name: str) -> str:
    """A module's name, or that of what it holds, as its author knows it."""
    return name.partition(".")[2] if name.startswith(_ROOM) else name


def is_installed(module: str) -> bool:
    """Whether a module of that name comes with Python or from a package, not from a user's file."""
    root = module.partition(".")[0]
    if root == "attnscape":
        return True
    file = getattr(sys.modules.get(root), "__file__", None)
    if file is None:
        return root in sys.builtin_module_names or root in sys.stdlib_module_names
    return is_installed_file(file)


def brought_in(module: types.ModuleType) -> dict[str, bytes | None]:
    """The sources of a user's module and of all others of users' that it led to, by name.

    Of a module in a room: of the whole room, and of what was imported for it. Of others: of what
    their variables, and those of the modules found so, come from. None where there is no source.
    """
    sources: dict[str, bytes | None] = {}
    waiting = [module.__name__]
    while waiting:
        name = waiting.pop()
        found = sys.modules.get(name)
        if name in sources or found is None or is_installed(name):
            continue
        room = _rooms.get(name.partition(".")[0])
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
    """The modules that a module's variables are, or come from."""
    names = set[str]()
    for value in list(vars(module).values()) if module is not None else []:
        kind = type(value)
        for origin in (value, kind):
            name = origin.__name__ if isinstance(origin, types.ModuleType) else None
            name = name or getattr(origin, "__module__", None)
            if isinstance(name, str):
                names.add(name)
    return names


_sources: dict[types.ModuleType, bytes | None] = {}


def _source(module: types.ModuleType) -> bytes | None:
    """As it was when it was asked for first."""
    if module not in _sources:
        file = getattr(module, "__file__", None) or ""
        path = Path(file)
        _sources[module] = path.read_bytes() if file.endswith(".py") and path.is_file() else None
    return _sources[module]


class _Room:
    """The modules of a folder: they are found under names that no other module has.

    Attributes:
        name: Of the package that they are in.
        sources: Of each module, what was run.
        others: Names of modules from elsewhere that were imported for them.
    """

    def __init__(self, folder: Path) -> None:
        self.name = f"{_ROOM}{next(_numbers)}"
        self.sources: dict[str, bytes | None] = {}
        self.others: set[str] = set()
        self.folder = folder
        self._files: dict[str, str] = {}
        self._builtins = vars(builtins) | {"__import__": self._import}
        package = types.ModuleType(self.name)
        package.__path__ = [str(folder)]
        sys.modules[self.name] = package
        _rooms[self.name] = self

    def prepare(self, module: types.ModuleType, source: bytes, file: str) -> None:
        """Before a module is run."""
        self._keep(module.__name__, source, file)
        vars(module)["__builtins__"] = self._builtins

    def _keep(self, name: str, source: bytes, file: str) -> None:
        self.sources[name], self._files[name] = source, file

    def fix(self) -> None:
        """Reads what functions may import later: then it is run as it is now."""
        waiting = list(self.sources)
        while waiting:
            name = waiting.pop()
            within = f"{name}.__init__" if self._files[name].endswith("__init__.py") else name
            for imported in _imports(self.sources[name] or b"", within, self.name):
                if imported not in self.sources and (file := self._file_of(imported)) is not None:
                    self._keep(imported, Path(file).read_bytes(), file)
                    waiting.append(imported)

    def _file_of(self, name: str) -> str | None:
        """The file of a module in the room, found without running anything."""
        path, spec = [str(self.folder)], None
        for end in range(2, len(parts := name.split(".")) + 1):
            spec = _Finder.find_spec(".".join(parts[:end]), path)
            if spec is None:
                return None
            path = list(spec.submodule_search_locations or [])
        return spec.origin if spec and isinstance(spec.loader, _Loader) else None

    def is_unchanged(self) -> bool:
        """Whether all that was run, or will be, lies in the folder as it was."""
        with contextlib.suppress(OSError):
            return all(
                source == Path(self._files[name]).read_bytes()
                for name, source in self.sources.items()
            )
        return False

    @contextlib.contextmanager
    def closed_on_failure(self) -> Iterator[None]:
        """What failed half way is not found again."""
        try:
            yield
        except BaseException:
            del _rooms[self.name]
            for name in [name for name in sys.modules if name.split(".")[0] == self.name]:
                del sys.modules[name]
            raise

    def _import(
        self,
        name: str,
        variables: Any = None,
        local: Any = None,
        wanted: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        """What `import` does in the room's modules, also later in their functions."""
        top = name.partition(".")[0]
        importer = (variables or {}).get("__name__", "")
        if level == 0 and importer != f"{self.name}.{top}" and self._has(top):
            module = importlib.import_module(f"{self.name}.{name}")
            if not wanted:
                return sys.modules[f"{self.name}.{top}"]
            # Python's own way to the modules of a package that are asked for by name.
            return builtins.__import__(module.__name__, variables, local, wanted)
        if name == "importlib" and level == 0:
            return self._importlib(wanted)
        before = set(sys.modules)
        module = builtins.__import__(name, variables, local, wanted or (), level)
        self.others |= sys.modules.keys() - before
        return module

    def _importlib(self, wanted: Sequence[str] | None) -> types.ModuleType:
        """`importlib` whose `import_module` knows the room."""
        stand_in = types.ModuleType("importlib")
        vars(stand_in).update(vars(importlib))

        def import_module(name: str, package: str | None = None) -> types.ModuleType:
            if name.startswith("."):
                return importlib.import_module(name, package)
            return self._import(name, wanted=("*",))

        vars(stand_in)["import_module"] = import_module
        return stand_in

    def _has(self, name: str) -> bool:
        if f"{self.name}.{name}" in sys.modules:
            return True
        spec = _Finder.find_spec(f"{self.name}.{name}", [str(self.folder)])
        # A folder without __init__.py is a package only where nothing else has its name.
        return spec is not None and (
            spec.loader is not None or importlib.util.find_spec(name) is None
        )


def _imports(source: bytes, module: str, room: str) -> Iterator[str]:
    """Names that modules of the room would have, of all that a source imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            wanted = [f"{room}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = module.split(".")[: -node.level] if node.level else [room]
            origin = ".".join([*package, *([node.module] if node.module else [])])
            wanted = [origin, *(f"{origin}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in wanted:
            parts = name.split(".")
            yield from (".".join(parts[:end]) for end in range(2, len(parts) + 1))


class _Loader(importlib.machinery.SourceFileLoader):
    """Runs what the file holds, and keeps it."""

    def get_code(self, fullname: str) -> types.CodeType:
        room = _room_of(fullname)
        kept = room.sources.get(fullname)
        source = self.get_data(self.path) if kept is None else kept
        room.prepare(sys.modules[fullname], source, self.path)
        return self.source_to_code(source, self.path)


class _Finder:
    """Finds the modules of rooms."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not name.startswith(_ROOM):
            return None
        kinds = (
            (importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES),
            (_Loader, _SUFFIXES),
        )
        for folder in path or []:
            spec = importlib.machinery.FileFinder(str(folder), *kinds).find_spec(name)
            if spec is not None:
                return spec
        return None


_numbers = itertools.count(1)
_rooms: dict[str, _Room] = {}  # by name
sys.meta_path.insert(0, _Finder)


def _room_of(module: str) -> _Room:
    return _rooms[module.partition(".")[0]]


def _file(path: Path) -> types.ModuleType:
    if not path.is_file():
        raise UsageError(f"There is no file {path}; give the path of a Python file.")
    path = path.resolve()
    for room in reversed(_rooms.values()):
        loaded = sys.modules.get(f"{room.name}.{path.stem}")
        if room.folder == path.parent and loaded is not None and room.is_unchanged():
            return loaded
    room = _Room(path.parent)
    name = f"{room.name}.{path.stem}"
    loader = _Loader(name, str(path))
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickles look their module up
    try:
        with room.closed_on_failure():
            loader.exec_module(module)
            room.fix()
    except SyntaxError as error:
        raise UsageError(
            f"{error.filename or path} is not Python: {error.msg} in line {error.lineno}."
        ) from error
    except (Exception, SystemExit) as error:
        raise UsageError(f"Running {path} failed: {told(error)}.") from error
    return module


def _module(name: str) -> types.ModuleType:
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        raise UsageError(
            f"The module {name!r} cannot be imported ({error}); install it, or give a file as "
            "my_file.py:thing."
        ) from error
    except Exception as error:
        raise UsageError(f"Importing {name} failed: {told(error)}.") from error
    brought_in(module)  # reads the sources now, while they are what was run
    return module


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
    return [frame for frame in frames if not is_installed_file(frame.filename)]


@functools.cache
def is_installed_file(file: str) -> bool:
    """Whether a file of that name belongs to Python or to a package, and not to a user."""
    path = Path(file)
    library = Path(sysconfig.get_path("stdlib"))
    return (
        file.startswith("<")
        or file.endswith(".pyx")  # frames of compiled packages name no place on this machine
        or not {"site-packages", "dist-packages"}.isdisjoint(path.parts)
        or path.is_relative_to(Path(__file__).parent)
        or path.is_relative_to(library)
        or path.is_relative_to(Path(traceback.__file__).parent)
    )

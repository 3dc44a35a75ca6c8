"""Rooms: the modules of one folder, under unique names.

A module of a room is called `_attnscape_room_1.helper` in `sys.modules`. Its own imports look in
the room first, so that `import helper` finds the file beside it.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import importlib
import importlib.machinery
import importlib.util
import itertools
import sys
import types
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path

from attnscape.loading._origins import ROOM_PREFIX

_SUFFIXES = importlib.machinery.SOURCE_SUFFIXES


class Room:
    """The modules of a folder.

    Attributes:
        name: The name of the package that holds the modules.
        folder: The folder.
        sources: The source of each module that was run or will be run.
        others: The names of modules from elsewhere that the room imported.
    """

    def __init__(self, folder: Path) -> None:
        self.name = f"{ROOM_PREFIX}{next(_numbers)}"
        self.sources: dict[str, bytes | None] = {}
        self.others: set[str] = set()
        self.folder = folder
        self._files: dict[str, str] = {}
        self._builtins = vars(builtins) | {"__import__": self._import}
        package = types.ModuleType(self.name)
        package.__path__ = [str(folder)]
        sys.modules[self.name] = package
        rooms[self.name] = self

    def prepare(self, module: types.ModuleType, source: bytes, file: str) -> None:
        """Stores a module's source, and makes its imports look in the room, before it runs."""
        self._keep(module.__name__, source, file)
        vars(module)["__builtins__"] = self._builtins

    def _keep(self, name: str, source: bytes, file: str) -> None:
        self.sources[name], self._files[name] = source, file

    def fix(self) -> None:
        """Reads modules that functions may import later, so that later edits have no effect."""
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
        return spec.origin if spec and isinstance(spec.loader, Loader) else None

    def is_unchanged(self) -> bool:
        """Whether the files in the folder still equal the sources stored in the room."""
        with contextlib.suppress(OSError):
            return all(
                source == Path(self._files[name]).read_bytes()
                for name, source in self.sources.items()
            )
        return False

    @contextlib.contextmanager
    def closed_on_failure(self) -> Generator[None]:
        """Removes the room and its modules if the block fails, so that no partial room remains."""
        try:
            yield
        except BaseException:
            del rooms[self.name]
            for name in [name for name in sys.modules if name.split(".")[0] == self.name]:
                del sys.modules[name]
            raise

    def _import(
        self,
        name: str,
        variables: Mapping[str, object] | None = None,
        local: Mapping[str, object] | None = None,
        wanted: Sequence[str] | None = (),
        level: int = 0,
    ) -> types.ModuleType:
        """Replaces `__import__` in the room's modules, also for later imports in functions."""
        top = name.partition(".")[0]
        importer = (variables or {}).get("__name__", "")
        if level == 0 and importer != f"{self.name}.{top}" and self._has(top):
            module = importlib.import_module(f"{self.name}.{name}")
            if not wanted:
                return sys.modules[f"{self.name}.{top}"]
            # Python itself imports the submodules that `from ... import` names.
            return builtins.__import__(module.__name__, variables, local, wanted)
        if name == "importlib" and level == 0:
            return self._importlib()
        before = set(sys.modules)
        module = builtins.__import__(name, variables, local, wanted or (), level)
        self.others |= sys.modules.keys() - before
        return module

    def _importlib(self) -> types.ModuleType:
        """A copy of `importlib` whose `import_module` looks in the room first."""
        stand_in = types.ModuleType("importlib")
        vars(stand_in).update(vars(importlib))

        def import_module(name: str, package: str | None = None) -> types.ModuleType:
            if name.startswith("."):
                return importlib.import_module(name, package)
            return self._import(name, wanted=("*",))

        vars(stand_in)["import_module"] = import_module
        return stand_in

    def _has(self, name: str) -> bool:
        """Whether the room has a module or package of that name."""
        if f"{self.name}.{name}" in sys.modules:
            return True
        spec = _Finder.find_spec(f"{self.name}.{name}", [str(self.folder)])
        # A folder without __init__.py is a package only if nothing else has its name.
        return spec is not None and (
            spec.loader is not None or importlib.util.find_spec(name) is None
        )


def _imports(source: bytes, module: str, room: str) -> Iterator[str]:
    """The names that a source's imports would have if they were modules of the room."""
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


class Loader(importlib.machinery.SourceFileLoader):
    """Runs the source stored in the room.

    If there is none, reads it from the file and stores it.
    """

    def get_code(self, fullname: str) -> types.CodeType:
        room = rooms[fullname.partition(".")[0]]
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
        if not name.startswith(ROOM_PREFIX):
            return None
        kinds = (
            (importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES),
            (Loader, _SUFFIXES),
        )
        for folder in path or []:
            spec = importlib.machinery.FileFinder(str(folder), *kinds).find_spec(name)
            if spec is not None:
                return spec
        return None


_numbers = itertools.count(1)
rooms: dict[str, Room] = {}  # by name
sys.meta_path.insert(0, _Finder)

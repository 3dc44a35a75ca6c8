"""The contents of a part: the values that it holds and the code that its functions use."""

from __future__ import annotations

import functools
import hashlib
import types
from collections.abc import Iterable, KeysView, ValuesView
from typing import Any

import numpy as np

from attnscape.loading import is_installed

# The trace sees the operations of these packages, or their version is a setting.
TRUSTED = {"attnscape", "builtins", "abc", "typing", "functools", "jax", "jaxlib", "equinox"}


class PartContents:
    """Visits the values that a part holds and that its functions name, down to installed packages.

    A value is essential if the part holds it; then its state must be readable. A value that is only
    named in the part's code is not essential.

    Attributes:
        modules: The modules that its functions, classes and values come from.
        classes: The classes of installed packages that it uses.
        contents: Numbers, texts and names, in the order of the visits.
        unknown: Names of the types of essential values whose state cannot be read.
    """

    def __init__(self, value: object) -> None:
        self.modules, self.classes = set[str](), set[type]()
        self.contents, self.unknown = list[str](), set[str]()
        self._seen: dict[int, object] = {}  # keeps the values, so that no id is used again
        self._visit(value, essential=True)

    def _visit(self, thing: Any, essential: bool) -> None:
        if thing is None or isinstance(thing, bool | int | float | complex | str | bytes):
            self.contents.append(repr(thing))
            return
        if id(thing) in self._seen:
            return
        self._seen[id(thing)] = thing
        match thing:
            case types.ModuleType():
                self.modules.add(thing.__name__)
                if not is_installed(thing.__name__):
                    self._each(_plain(vars(thing)), False)
            case types.FunctionType():
                self._function(thing)
            case functools.partial():
                self._each((thing.func, thing.args, thing.keywords), essential)
            case types.MethodType() | staticmethod() | classmethod():
                self._each((thing.__func__, getattr(thing, "__self__", None)), essential)
            case property():
                self._each((thing.fget,), essential)
            case type():
                self._class(thing)
            case dict() | types.MappingProxyType():
                self._each((thing.keys(), thing.values()), essential)
            case set() | frozenset():
                self._each(sorted(thing, key=repr), essential)
            case _ if isinstance(thing, Iterable) and _is_view(thing):
                self._each(thing, essential)
            case _ if hasattr(thing, "__array__"):
                array = np.asarray(thing.detach() if hasattr(thing, "detach") else thing)
                self.contents.append(f"{array.dtype} {array.shape} {array.tobytes().hex()}")
            case types.CodeType():
                self.contents.append(_code(thing))
            case _:
                self._instance(thing, essential)

    def _each(self, things: Iterable[object], essential: bool) -> None:
        for thing in things:
            self._visit(thing, essential)

    def _function(self, function: types.FunctionType) -> None:
        module = function.__globals__.get("__name__", "")
        self.modules.add(module)
        self.contents.append(function.__qualname__)
        if is_installed(module) and not function.__closure__:
            return
        self.contents.append(_code(function.__code__))
        cells = [_content(cell) for cell in function.__closure__ or ()]
        self._each((*cells, function.__defaults__, function.__kwdefaults__), True)
        if not is_installed(module):
            names = _names(function.__code__)
            self._each((v for k, v in function.__globals__.items() if k in names), False)

    def _class(self, kind: type) -> None:
        self.contents.append(kind.__qualname__)
        for base in kind.__mro__:
            self.modules.add(base.__module__)
            if not is_installed(base.__module__):
                self._each(_members(base).values(), False)
                continue
            if base.__module__.partition(".")[0] not in TRUSTED:
                self.classes.add(base)
            for member in vars(base).values():  # a user may have replaced a method
                function = getattr(member, "__func__", member)
                if isinstance(function, types.FunctionType) and not is_installed(
                    function.__globals__.get("__name__", "")
                ):
                    self._visit(function, True)

    def _instance(self, thing: Any, essential: bool) -> None:
        self._visit(type(thing), essential)
        state = getattr(thing, "__dict__", None)
        slots = [name for base in type(thing).__mro__ for name in getattr(base, "__slots__", ())]
        wrapped = getattr(thing, "__wrapped__", None)
        self._each((state, wrapped), essential)
        self._each((getattr(thing, name, None) for name in slots), essential)
        if essential and state is None and wrapped is None and not slots:
            self.unknown.add(type(thing).__qualname__)


def _plain(variables: dict[str, object]) -> Iterable[object]:
    """The numbers, texts, arrays and containers among a module's variables."""
    kinds = (bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset, np.ndarray)
    for name, value in variables.items():
        if isinstance(value, kinds) and not name.startswith("__"):
            yield value


def _members(kind: type) -> dict[str, object]:
    """A class's attributes, except its docstring, its module and similar ones."""
    return {k: v for k, v in vars(kind).items() if not (k.startswith("__") and type(v) is str)}


def _is_view(thing: Any) -> bool:
    return isinstance(thing, list | tuple | KeysView | ValuesView)


def _code(code: types.CodeType) -> str:
    """A hash of a function's code, without its line numbers."""
    constants = [
        _code(c) if isinstance(c, types.CodeType) else repr(_ordered(c)) for c in code.co_consts
    ]
    words = (code.co_code.hex(), *constants, *code.co_names, *code.co_varnames, *code.co_freevars)
    return hashlib.sha256("\0".join(words).encode()).hexdigest()


def _ordered(constant: Any) -> Any:
    """The constant, with a set in an order that is the same in every process."""
    return sorted(constant, key=repr) if isinstance(constant, frozenset) else constant


def _names(code: types.CodeType) -> set[str]:
    """The global names and attributes that a function and the functions in it use."""
    inner = (c for c in code.co_consts if isinstance(c, types.CodeType))
    return set(code.co_names).union(*map(_names, inner))


def _content(cell: types.CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # it has no value yet
        return None

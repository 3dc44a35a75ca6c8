"""The files that a part rests on, for what a trace cannot see: callbacks and PyTorch.

Of every module of a user's that loading the part brought in, its statements (comments and layout
do not count); of installed packages, their versions. What depends on more than its files, such as
the environment, the time or random numbers without a seed, is named: it cannot be pinned down.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
import inspect
import sys
import textwrap
import types
from collections.abc import Iterable, KeysView, ValuesView
from pathlib import Path
from typing import Any

import numpy as np

from attnscape.loading import brought_in, is_installed, is_installed_file, known_as, name_of

_OUTSIDE = {
    "the environment": {"environ", "environb", "getenv", "argv", "gethostname", "getpid"},
    "the time": {
        *("time", "time_ns", "perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns"),
        *("process_time", "clock", "now", "today", "utcnow", "localtime", "gmtime", "ctime"),
        *("default_timer", "strftime"),
    },
    "files": {
        *("open", "fdopen", "read_text", "read_bytes", "load", "loads", "loadtxt", "genfromtxt"),
        *("fromfile", "memmap", "safe_load", "load_file", "iterdir", "glob", "rglob", "listdir"),
        *("scandir", "getmtime", "getsize", "exists", "is_file", "input", "stdin"),
        *("read_csv", "read_parquet", "read_json", "read_excel", "read_table", "read_pickle"),
        *("read_feather", "read_hdf", "open_dataset", "load_dataset", "sqlite3", "h5py"),
    },
    "other programs": {
        *("subprocess", "Popen", "check_output", "popen", "system", "socket", "urlopen"),
        *("urlretrieve", "requests", "httpx", "CDLL", "ctypes"),
    },
    "random numbers without a seed": {
        *("urandom", "uuid1", "uuid4", "secrets", "SystemRandom", "getrandbits"),
        *("random", "rand", "randn", "randint", "randrange", "uniform", "gauss", "normal"),
        *("standard_normal", "choice", "choices", "shuffle", "sample", "permutation", "randperm"),
        *("rand_like", "randn_like", "randint_like", "normal_", "uniform_", "bernoulli"),
        *("bernoulli_", "random_", "exponential_", "cauchy_", "log_normal_", "geometric_"),
        *("multinomial", "dropout", "Dropout", "poisson", "normalvariate", "trunc_normal_"),
    },
    "the memory's addresses": {"id", "hash"},
}


class _Graph:
    """Walks what a part is made of, and what its functions name, down to installed packages.

    Attributes:
        modules: Where its functions, classes and values come from.
        classes: Of installed packages, those that it uses.
        contents: Numbers, words and names, in the order of the walk.
        unknown: Kinds of values whose state cannot be read.
    """

    def __init__(self, value: Any) -> None:
        self.modules, self.classes = set[str](), set[type]()
        self.contents, self.unknown = list[str](), set[str]()
        self._seen: dict[int, Any] = {}  # the values too, so that no id is given twice
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

    def _each(self, things: Iterable[Any], essential: bool) -> None:
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
            if base.__module__.partition(".")[0] not in _TRUSTED:
                self.classes.add(base)
            for member in vars(base).values():  # what somebody put in its place
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


def _plain(variables: dict[str, Any]) -> Iterable[Any]:
    """Numbers, words and arrays among a module's variables, and containers of them."""
    kinds = (bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset, np.ndarray)
    for name, value in variables.items():
        if isinstance(value, kinds) and not name.startswith("__"):
            yield value


def _members(kind: type) -> dict[str, Any]:
    return {k: v for k, v in vars(kind).items() if not (k.startswith("__") and type(v) is str)}


def _is_view(thing: Any) -> bool:
    return isinstance(thing, list | tuple | KeysView | ValuesView)


def _code(code: types.CodeType) -> str:
    """What a function does, whatever its lines are."""
    constants = [
        _code(c) if isinstance(c, types.CodeType) else repr(_ordered(c)) for c in code.co_consts
    ]
    words = (code.co_code.hex(), *constants, *code.co_names, *code.co_varnames, *code.co_freevars)
    return hashlib.sha256("\0".join(words).encode()).hexdigest()


def _ordered(constant: Any) -> Any:
    return sorted(constant, key=repr) if isinstance(constant, frozenset) else constant


def _names(code: types.CodeType) -> set[str]:
    inner = (c for c in code.co_consts if isinstance(c, types.CodeType))
    return set(code.co_names).union(*map(_names, inner))


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # nothing was assigned to it yet
        return None


def pinned_by(value: Any) -> tuple[dict[str, Any], list[str]]:
    """What a part's files say, in terms of JSON, and what else it depends on, in words."""
    graph = _Graph(value)
    sources: dict[str, bytes | None] = {}
    for name in graph.modules:
        if name in sys.modules and not is_installed(name):
            sources |= brought_in(sys.modules[name])
    outside = [f"the state of a {kind}" for kind in sorted(graph.unknown)]
    statements = dict[str, str]()
    read = {known_as(name).partition(".")[0] for name in sources}
    packages = {name.partition(".")[0] for name in graph.modules if is_installed(name)}
    for name, source in sources.items():
        short = known_as(name)
        if source is None:
            outside.append(f"{short}, whose source is not known")
            continue
        tree = ast.parse(source)
        statements[short] = hashlib.sha256(ast.dump(tree).encode()).hexdigest()
        outside += [f"{what} ({word} in {short})" for what, word in _outside(tree)]
        packages |= (imported := set(_imported(tree)))
        outside += [
            f"{name}, which {short} imports while it runs"
            for name in sorted(imported - read)
            if _is_users(name)
        ]
    for kind in graph.classes:
        outside += [f"{what} ({word} in {name_of(kind)})" for what, word in _drawn(kind)]
    content = {
        "values": hashlib.sha256("\0".join(graph.contents).encode()).hexdigest(),
        "files": statements,
        "packages": _versions(packages - _TRUSTED),
        "torch": _torch_settings(),
    }
    return content, outside


def _is_users(name: str) -> bool:
    """Whether a module of that name would come from a file of the user's."""
    try:
        spec = importlib.util.find_spec(name) if name else None
    except (ImportError, ValueError):
        return False
    places = [spec.origin or "", *(spec.submodule_search_locations or ())] if spec else []
    return any(Path(place).is_absolute() and not is_installed_file(place) for place in places)


def _drawn(kind: type) -> Iterable[tuple[str, str]]:
    """Random numbers in a class of an installed package."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    except (OSError, TypeError, SyntaxError):
        return []
    return [(what, word) for what, word in _outside(tree) if what.startswith("random")]


def _torch_settings() -> list[str]:
    torch = sys.modules.get("torch")
    if torch is None:
        return []
    names = ("get_default_dtype", "get_float32_matmul_precision")
    return [str(getattr(torch, name)()) for name in names]


# Python's own, and what a part of JAX is made of: the trace sees it, or its version is a setting.
_TRUSTED = {"attnscape", "builtins", "abc", "typing", "functools", "jax", "jaxlib", "equinox"}


def _outside(tree: ast.AST) -> Iterable[tuple[str, str]]:
    """What it depends on, and the word that says so."""
    seeded = {
        node.func
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and any(k.arg == "generator" for k in node.keywords)
    }
    words = {
        getattr(node, field, None)
        for node in ast.walk(tree)
        for field in ("id", "attr", "name", "module")
        if isinstance(node, ast.Name | ast.Attribute | ast.alias | ast.ImportFrom)
        and node not in seeded
    }
    for what, telltales in _OUTSIDE.items():
        if found := sorted(telltales & words):
            yield what, found[0]


def _imported(tree: ast.AST) -> Iterable[str]:
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        yield from (name.partition(".")[0] for name in names)


@functools.cache
def _distributions() -> dict[str, list[str]]:
    return {
        name: list(owners) for name, owners in importlib.metadata.packages_distributions().items()
    }


def _versions(packages: Iterable[str]) -> dict[str, str]:
    return {
        owner: importlib.metadata.version(owner)
        for package in packages
        for owner in _distributions().get(package, ())
    }

"""What a traced program computes, as one hash.

The hash of a value in a jaxpr is made of the operation that gives it, its parameters, and the
hashes of what it is given; that of a program, of the hashes of its outputs. So names, lines, the
order of independent statements and dead code do not count, constants count by their bytes, and what
an operation does outside of the trace is named instead of passed over.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import itertools
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend import core

from attnscape.loading import is_installed

# A value of it that no trace had before makes JAX trace anew what it would else find in its caches.
_anew = jax.make_user_context(None)
_count = itertools.count()

_SILENT = ("debug_callback", "debug_print")
_CALLBACKS = ("pure_callback", "io_callback", "python_callback")
# What only names an operation or, of rules for derivatives, comes to light where they are taken.
_IGNORED = {
    "name",
    "debug_info",
    "policy",
    "jvp_jaxpr_fun",
    "jvp_jaxpr_thunk",
    "fwd_jaxpr_thunk",
    "bwd",
    "out_trees",
    "callback",
    "inline",
    "keep_unused",
    "ctx_mesh",
}


@dataclasses.dataclass(frozen=True)
class Program:
    """A traced function.

    Attributes:
        digest: Equal for programs that compute the same by the same operations.
        outside: What it does outside of the trace, in words; empty if nothing.
        used: Of each leaf of the arguments, whether the results depend on it.
        results: Shapes and dtypes of what it gives.
    """

    digest: str
    outside: tuple[str, ...]
    used: tuple[bool, ...]
    results: Any


def program(function: Callable[..., Any], *arguments: Any) -> Program:
    """Traces `function` on arguments, of which only shapes and dtypes count."""
    with _anew(next(_count)):
        closed, results = jax.make_jaxpr(function, return_shape=True)(*arguments)
    walk = _Walk()
    outputs, depends = walk.closed(closed)
    used = set[int]().union(*depends)
    return Program(
        _hash("program", *outputs),
        tuple(sorted(walk.outside)),
        tuple(index in used for index in range(len(closed.jaxpr.invars))),
        results,
    )


_LIBRARIES = ("optax", "jax.numpy", "jax.lax", "jax.nn", "jax.random", "jax.tree")


def libraries() -> int:
    """Another number whenever somebody replaced a function of optax or JAX in this process."""
    return hash(
        tuple(
            id(value)
            for name, module in list(sys.modules.items())
            if name.startswith(_LIBRARIES)
            for value in list(vars(module).values())
        )
    )


class _Walk:
    def __init__(self) -> None:
        self.outside: set[str] = set()
        self._done: dict[int, tuple[Any, list[str], list[frozenset[int]]]] = {}

    def closed(self, closed: Any) -> tuple[list[str], list[frozenset[int]]]:
        """Of each output, a hash and the inputs that it depends on; last, what has effects."""
        if id(closed) not in self._done:
            result = self._jaxpr(closed.jaxpr, closed.consts)
            self._done[id(closed)] = (closed, *result)  # keeps it alive, and with it its id
        return self._done[id(closed)][1:]

    def _jaxpr(self, jaxpr: Any, consts: Sequence[Any]) -> tuple[list[str], list[frozenset[int]]]:
        known: dict[Any, str] = {}
        depends: dict[Any, frozenset[int]] = {}
        for index, variable in enumerate(jaxpr.invars):
            known[variable] = _hash("input", index, _aval(variable))
            depends[variable] = frozenset([index])
        for variable, value in zip(jaxpr.constvars, consts, strict=True):
            known[variable] = self._token(value)
        effects, effects_depend = "", frozenset[int]()

        def of(atom: Any) -> str:
            if isinstance(atom, core.Literal):
                return _hash("literal", _aval(atom), self._token(atom.val))
            return known[atom]

        for equation in jaxpr.eqns:
            primitive = equation.primitive.name
            if primitive in _SILENT:
                continue
            token = _hash(
                primitive,
                self._parameters(primitive, equation),
                _context(equation.ctx),
                *map(of, equation.invars),
            )
            given = [depends.get(v, frozenset()) for v in _variables(equation.invars)]
            everything = frozenset[int]().union(*given)
            each = self._inner_dependence(equation, depends)
            if equation.effects:  # the order of what has effects counts
                token = effects = _hash(token, effects)
                everything = effects_depend = everything | effects_depend
                each = None
            for index, variable in enumerate(equation.outvars):
                known[variable] = _hash(token, index, _aval(variable))
                depends[variable] = everything if each is None else each[index]
        outputs = [of(atom) for atom in jaxpr.outvars]
        needed = [
            frozenset() if isinstance(a, core.Literal) else depends.get(a, frozenset())
            for a in jaxpr.outvars
        ]
        return [*outputs, effects], [*needed, effects_depend]

    def _inner_dependence(self, equation: Any, depends: Mapping[Any, frozenset[int]]) -> Any:
        """Of a call of a whole function: what each output depends on; None of all else."""
        inner = equation.params.get("jaxpr")
        if equation.primitive.name not in ("jit", "pjit") or inner is None:
            return None
        outer = [
            frozenset() if isinstance(a, core.Literal) else depends.get(a, frozenset())
            for a in equation.invars
        ]
        return [
            frozenset[int]().union(*(outer[index] for index in needed))
            for needed in self.closed(inner)[1]
        ]

    def _parameters(self, primitive: str, equation: Any) -> str:
        parameters = equation.params
        if primitive == "symmetric_product":  # attnscape's own: a function, which can be traced
            avals = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in equation.invars]
            return _hash(*self.closed(jax.make_jaxpr(parameters["flat"])(*avals))[0])
        if primitive in _CALLBACKS:
            self.outside.add("calls Python back")
        if primitive == "ffi_call":
            target = str(parameters["target_name"])
            if not target.startswith("attnscape_"):
                self.outside.add(f"calls the foreign function {target}")
        tokens = [
            (key, self._token(value))
            for key, value in sorted(parameters.items())
            if key not in _IGNORED
        ]
        return _hash(*itertools.chain(*tokens))

    def _token(self, value: Any) -> str:
        match value:
            case None | bool() | int() | float() | complex() | str() | bytes() | np.dtype():
                return _hash(type(value).__name__, repr(value))
            case enum.Enum():
                return _hash(type(value).__qualname__, value.name)
            case type():
                return _hash("type", value.__module__, value.__qualname__)
            case core.ClosedJaxpr():
                return _hash("program", *self.closed(value)[0])
            case core.Jaxpr():
                return _hash("program", *self._jaxpr(value, [])[0])
            case np.ndarray() | np.generic() | jax.Array():
                return _array(value)
            case Mapping():
                items = sorted((str(key), self._token(entry)) for key, entry in value.items())
                return _hash("mapping", *itertools.chain(*items))
            case set() | frozenset():
                return _hash("set", *sorted(map(self._token, value)))
            case tuple() | list():
                return _hash(type(value).__qualname__, *map(self._token, value))
            case types.FunctionType() if _is_plain(value):
                return _hash("function", value.__module__, value.__qualname__)
            case functools.partial():
                parts = (value.func, value.args, value.keywords)
                return _hash("partial", *map(self._token, parts))
        if hasattr(value, "__array__"):
            return _array(value)
        words = repr(value)
        if type(value).__module__.partition(".")[0] in ("jax", "jaxlib") and " at 0x" not in words:
            return _hash(type(value).__qualname__, words)
        self.outside.add(f"depends on {type(value).__module__}.{type(value).__qualname__}")
        return _hash("unknown")


def _is_plain(function: types.FunctionType) -> bool:
    """Whether its name says what it does."""
    return is_installed(function.__globals__.get("__name__", "")) and not function.__closure__


def _variables(atoms: Sequence[Any]) -> list[Any]:
    return [atom for atom in atoms if not isinstance(atom, core.Literal)]


def _aval(atom: Any) -> str:
    aval = atom.aval
    shape, dtype = getattr(aval, "shape", None), getattr(aval, "dtype", None)
    return f"{type(aval).__name__} {shape} {dtype} {getattr(aval, 'weak_type', None)}"


def _context(context: Any) -> str:
    """How XLA is told to compute an operation, where it is."""
    names = ("compute_type", "threefry_partitionable", "xla_metadata")
    return repr([getattr(context, name, None) for name in names])


def _array(value: Any) -> str:
    if isinstance(value, jax.Array) and jax.numpy.issubdtype(value.dtype, jax.dtypes.prng_key):
        return _hash("key", str(jax.random.key_impl(value)), _array(jax.random.key_data(value)))
    array = np.asarray(value)
    weak = getattr(value, "weak_type", False)
    return _hash("array", array.dtype.name, array.shape, weak, array.tobytes())


def _hash(*parts: Any) -> str:
    sha256 = hashlib.sha256()
    for part in parts:
        content = part if isinstance(part, bytes) else str(part).encode()
        sha256.update(len(content).to_bytes(8, "little") + content)
    return sha256.hexdigest()

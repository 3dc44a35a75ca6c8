"""A hash of the computation of a traced program.

The hash of a value in a jaxpr covers the operation that computes it, the operation's parameters and
the hashes of its inputs. The hash of a program covers the hashes of its outputs. So names, lines,
the order of independent statements and unused statements do not matter, except unused results of a
nested `jit` or loop; constants count by their bytes.
Effects of operations outside of the trace are listed in words.
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
from jaxtyping import PyTree

from attnscape.loading import is_installed, name_of

# A new value makes JAX trace again, instead of using its caches.
_anew = jax.make_user_context(None)
_count = itertools.count()

_SILENT = ("debug_callback", "debug_print")
_CALLBACKS = ("pure_callback", "io_callback", "python_callback")
# Parameters that do not change the numbers: names, hints to the compiler, callbacks (told apart by
# `outside`), and rules for derivatives, whose operations the trace shows where one is computed.
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
        digest: Hash; equal for programs that compute the same by the same operations.
        outside: Its effects outside of the trace, in words; empty if there are none.
        used: For each leaf of the arguments, whether the results depend on it.
        results: The shapes and dtypes of the results.

    Examples:
        >>> from attnscape.identity import program
        >>> traced = program(lambda x, y: 2 * x, 1.0, 1.0)
        >>> traced.used, traced.outside, traced.results.shape
        ((True, False), (), ())
    """

    digest: str
    outside: tuple[str, ...]
    used: tuple[bool, ...]
    results: PyTree


def program(function: Callable[..., PyTree], *arguments: PyTree) -> Program:
    """Traces `function`; only the shapes and dtypes of the arguments matter.

    Examples:
        >>> from attnscape.identity import program
        >>> one = program(lambda x: x + 1, 0.0)
        >>> one.digest == program(lambda number: number + 1, 0.0).digest
        True
        >>> one.digest == program(lambda x: x + 2, 0.0).digest
        False
    """
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
    """A number that changes when a name in the modules of `_LIBRARIES` gets another value."""
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
        self._done: dict[int, tuple[core.ClosedJaxpr, list[str], list[frozenset[int]]]] = {}

    def closed(self, closed: core.ClosedJaxpr) -> tuple[list[str], list[frozenset[int]]]:
        """The hash of each output and the inputs that it depends on; the effects come last."""
        if id(closed) not in self._done:
            result = self._jaxpr(closed.jaxpr, closed.consts)
            self._done[id(closed)] = (closed, *result)  # keeps its id in use
        return self._done[id(closed)][1:]

    def _jaxpr(
        self, jaxpr: core.Jaxpr, consts: Sequence[object]
    ) -> tuple[list[str], list[frozenset[int]]]:
        known: dict[core.Var, str] = {}
        depends: dict[core.Var, frozenset[int]] = {}
        for index, variable in enumerate(jaxpr.invars):
            known[variable] = _hash("input", index, _aval(variable))
            depends[variable] = frozenset([index])
        for variable, value in zip(jaxpr.constvars, consts, strict=True):
            known[variable] = self._token(value)
        effects, effects_depend = "", frozenset[int]()

        def token_of(atom: core.Var | core.Literal) -> str:
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
                *map(token_of, equation.invars),
            )
            everything = frozenset[int]().union(*(_inputs(a, depends) for a in equation.invars))
            each = self._inner_dependence(equation, depends)
            if equation.effects:  # the order of effects matters
                token = effects = _hash(token, effects)
                everything = effects_depend = everything | effects_depend
                each = None
            for index, variable in enumerate(equation.outvars):
                known[variable] = _hash(token, index, _aval(variable))
                depends[variable] = everything if each is None else each[index]
        outputs = [token_of(atom) for atom in jaxpr.outvars]
        needed = [_inputs(atom, depends) for atom in jaxpr.outvars]
        return [*outputs, effects], [*needed, effects_depend]

    def _inner_dependence(
        self, equation: core.JaxprEqn, depends: Mapping[core.Var, frozenset[int]]
    ) -> list[frozenset[int]] | None:
        """The inputs that each output of a function call depends on; None if it is no call."""
        inner = equation.params.get("jaxpr")
        if equation.primitive.name not in ("jit", "pjit") or inner is None:
            return None
        outer = [_inputs(atom, depends) for atom in equation.invars]
        return [
            frozenset[int]().union(*(outer[index] for index in needed))
            for needed in self.closed(inner)[1]
        ]

    def _parameters(self, primitive: str, equation: Any) -> str:
        parameters = equation.params
        if primitive == "symmetric_product":  # built in; its function can be traced
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
                return _hash("type", *_name(value))
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
                return _hash("function", *_name(value))
            case functools.partial():
                parts = (value.func, value.args, value.keywords)
                return _hash("partial", *map(self._token, parts))
            case _:
                pass
        if hasattr(value, "__array__"):
            return _array(value)
        words = repr(value)
        if type(value).__module__.partition(".")[0] in ("jax", "jaxlib") and " at 0x" not in words:
            return _hash(type(value).__qualname__, words)
        self.outside.add(f"depends on {type(value).__module__}.{type(value).__qualname__}")
        return _hash("unknown")


def _name(code: Any) -> tuple[str, ...]:
    """The name of a class or function; for attnscape's own ones, without the module.

    So the identity stays the same if a part of attnscape moves to another module.
    """
    if str(code.__module__).partition(".")[0] == "attnscape":
        return (name_of(code),)
    return code.__module__, code.__qualname__


def _is_plain(function: types.FunctionType) -> bool:
    """Whether the function is identified by its name: installed, and without a closure."""
    return is_installed(function.__globals__.get("__name__", "")) and not function.__closure__


def _inputs(
    atom: core.Var | core.Literal, depends: Mapping[core.Var, frozenset[int]]
) -> frozenset[int]:
    """The program's inputs that a value depends on."""
    return frozenset() if isinstance(atom, core.Literal) else depends.get(atom, frozenset())


def _aval(atom: core.Var | core.Literal) -> str:
    aval = atom.aval
    shape, dtype = getattr(aval, "shape", None), getattr(aval, "dtype", None)
    return f"{type(aval).__name__} {shape} {dtype} {getattr(aval, 'weak_type', None)}"


def _context(context: object) -> str:
    """The settings that change how XLA computes an operation, if any."""
    names = ("compute_type", "threefry_partitionable", "xla_metadata")
    return repr([getattr(context, name, None) for name in names])


def _array(value: Any) -> str:
    if isinstance(value, jax.Array) and jax.numpy.issubdtype(value.dtype, jax.dtypes.prng_key):
        return _hash("key", str(jax.random.key_impl(value)), _array(jax.random.key_data(value)))
    array = np.asarray(value)
    weak = getattr(value, "weak_type", False)
    return _hash("array", array.dtype.name, array.shape, weak, array.tobytes())


def _hash(*parts: object) -> str:
    sha256 = hashlib.sha256()
    for part in parts:
        content = part if isinstance(part, bytes) else str(part).encode()
        sha256.update(len(content).to_bytes(8, "little") + content)
    return sha256.hexdigest()

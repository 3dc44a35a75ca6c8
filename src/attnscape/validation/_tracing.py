"""Traces a user's part as the engine will, with shapes only."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn
from jaxtyping import PyTree

from attnscape.validation._errors import BrokenError, placed, user_errors

# Names of checks that several kinds of parts share, as `attnscape check` lists them.
DETERMINISTIC, CALLBACKS, STATE = "deterministic", "callbacks", "shapes and types"
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


class Traced(NamedTuple):
    """A program, and the shapes and types of its outputs."""

    program: ClosedJaxpr
    shapes: PyTree


def trace(
    check: str, subject: str, thing: object, function: Callable[..., PyTree], *arguments: PyTree
) -> Traced:
    """Traces a function of a user's part twice, and runs it if it calls Python.

    Args:
        check: The check that fails with an error.
        subject: The beginning of a sentence about the part.
        thing: The part.
        function: Calls the part.
        arguments: Arrays or their shapes.

    Raises:
        BrokenError: If it fails, stores traced numbers, or gives another program the second time.
    """
    with user_errors(check, subject, thing):
        first, second = (
            # A new function each time, because JAX caches traces.
            jax.make_jaxpr(lambda *a: function(*a), return_shape=True)(*arguments)
            for _ in range(2)
        )
    if not _same(first[0], second[0]):
        raise BrokenError(
            DETERMINISTIC,
            placed(
                f"{subject} gives other numbers when it is called again with the same arguments, "
                "and would keep the first ones for all steps; draw random numbers by jax.random, "
                "with a key that is given or kept in the state.",
                thing,
            ),
        )
    if "pure_callback" in {equation.primitive.name for equation in _equations(first[0].jaxpr)}:
        with user_errors(CALLBACKS, f"A callback of {subject[0].lower()}{subject[1:]}", thing):
            logger = logging.getLogger("jax._src.callback")
            before, logger.disabled = logger.disabled, True  # the error becomes one sentence
            try:
                jax.block_until_ready(jax.jit(function)(*jax.tree.map(_example, arguments)))
            finally:
                logger.disabled = before
    return Traced(*first)


def depends(program: ClosedJaxpr, outputs: list[int]) -> bool:
    """Whether any of these outputs depends on the first argument, by the program's equations."""
    jaxpr = program.jaxpr
    needed = {id(jaxpr.outvars[index]) for index in outputs}
    for equation in reversed(jaxpr.eqns):
        if any(id(variable) in needed for variable in equation.outvars):
            needed |= {id(variable) for variable in equation.invars}
    return id(jaxpr.invars[0]) in needed


def require_arrays(check: str, subject: str, thing: object, tree: PyTree) -> None:
    """Raises BrokenError if a leaf is neither an array nor a number."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        kind = leaf.dtype.kind if isinstance(leaf, np.ndarray | np.generic) else ""
        if isinstance(leaf, bool | int | float | complex | jax.Array) or kind in tuple("biufcV"):
            continue
        at = f" at {name}" if (name := jax.tree_util.keystr(path)) else ""
        what = "a function" if callable(leaf) else short(leaf)
        raise BrokenError(
            check, placed(f"{subject} has {what}{at}; it must be made of arrays.", thing)
        )


def short(value: object) -> str:
    """Type and text of a value, in at most 80 characters."""
    text = f"{type(value).__name__} {value!r}"
    return text if len(text) <= 80 else f"{text[:77]}..."


def form(tree: PyTree) -> object:
    """Structure, shapes and types of a tree."""
    leaves, structure = jax.tree.flatten(tree)
    return structure, [(jnp.shape(a), jnp.result_type(a)) for a in leaves]


def difference(before: PyTree, after: PyTree) -> str:
    """The first difference in form between two trees, in words."""
    if jax.tree.structure(before) == jax.tree.structure(after):
        pairs = zip(
            jax.tree_util.tree_leaves_with_path(before), jax.tree.leaves(after), strict=True
        )
        for (path, first), second in pairs:
            forms = [words(a) for a in (first, second)]
            if forms[0] != forms[1]:
                return f"{jax.tree_util.keystr(path)} was {forms[0]} and becomes {forms[1]}"
    return f"{words(before)} becomes {words(after)}, in another structure"


def words(tree: PyTree) -> str:
    """Shapes and types of the leaves, in words."""
    leaves = jax.tree.leaves(tree)
    return ", ".join(f"{jnp.result_type(a)}{list(jnp.shape(a))}" for a in leaves) or "empty"


def _same(one: ClosedJaxpr, other: ClosedJaxpr) -> bool:
    """Whether two programs and their constants are equal."""
    texts = [_ADDRESS.sub("", str(program)) for program in (one, other)]
    first, second = (list(_constants(program)) for program in (one, other))
    return texts[0] == texts[1] and all(
        a is b or np.array_equal(plain(a), plain(b), equal_nan=True)
        for a, b in zip(first, second, strict=True)
    )


def plain(constant: Any) -> np.ndarray:
    """The numbers as a numpy array."""
    if isinstance(constant, jax.Array) and jnp.issubdtype(constant.dtype, jax.dtypes.prng_key):
        constant = jax.random.key_data(constant)
    array = np.asarray(constant)
    return array.astype(float) if array.dtype.kind not in "biufc" else array  # such as bfloat16


def _constants(program: ClosedJaxpr) -> Iterator[object]:
    """The constants of a program and of the programs inside it."""
    yield from program.consts
    for equation in _equations(program.jaxpr):
        for inner in jax.tree.leaves(equation.params, is_leaf=_is_program):
            if isinstance(inner, ClosedJaxpr):
                yield from inner.consts


def _equations(jaxpr: Jaxpr) -> Iterator[JaxprEqn]:
    """The equations of a program and of the programs inside it."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.tree.leaves(equation.params, is_leaf=_is_program):
            if _is_program(inner):
                yield from _equations(getattr(inner, "jaxpr", inner))


def _is_program(value: object) -> bool:
    return isinstance(value, ClosedJaxpr | Jaxpr)


def _example(argument: Any) -> Any:
    """An array with the argument's shape and type; its entries are like initial parameters."""
    if jnp.issubdtype(argument.dtype, jax.dtypes.prng_key):
        return (
            jax.random.split(jax.random.key(0), argument.shape)
            if argument.shape
            else (jax.random.key(0))
        )
    if not jnp.issubdtype(argument.dtype, jnp.inexact):
        return jnp.zeros(argument.shape, argument.dtype)
    draws = 0.05 * np.random.default_rng(0).standard_normal(argument.shape)
    return jnp.asarray(draws, argument.dtype)

"""Tracing a part of a user's own as the engine will, on shapes alone."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np

from attnscape.contracts._telling import BrokenError, placed, telling

DETERMINISTIC = "deterministic"
CALLBACKS = "callbacks"
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


class Traced(NamedTuple):
    """A program, and the shapes and types of what it gives."""

    program: Any
    shapes: Any


def trace(
    check: str, subject: str, thing: Any, function: Callable[..., Any], *arguments: Any
) -> Traced:
    """Traces a function of a user's part, twice; where it calls Python back, it is run as well.

    Args:
        check: What errors count as.
        subject: The part, as a sentence begins with it.
        thing: The part itself.
        function: Calls it.
        arguments: Arrays or their shapes.

    Raises:
        BrokenError: If it fails, keeps what was traced, or is another program the second time.
    """
    with telling(check, subject, thing):
        first, second = (
            # A new function each time: JAX remembers what it has traced.
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
        with telling(CALLBACKS, f"A callback of {subject[0].lower()}{subject[1:]}", thing):
            logger = logging.getLogger("jax._src.callback")
            before, logger.disabled = logger.disabled, True  # it is told in one sentence
            try:
                jax.block_until_ready(jax.jit(function)(*jax.tree.map(_example, arguments)))
            finally:
                logger.disabled = before
    return Traced(*first)


def depends(program: Any, outputs: list[int]) -> bool:
    """Whether some of these outputs depend on the first argument, as far as equations tell."""
    jaxpr = program.jaxpr
    needed = {id(jaxpr.outvars[index]) for index in outputs}
    for equation in reversed(jaxpr.eqns):
        if any(id(variable) in needed for variable in equation.outvars):
            needed |= {id(variable) for variable in equation.invars}
    return id(jaxpr.invars[0]) in needed


def require_arrays(check: str, subject: str, thing: Any, tree: Any) -> None:
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


def short(value: Any) -> str:
    """Type and text of a value, in at most 80 characters."""
    text = f"{type(value).__name__} {value!r}"
    return text if len(text) <= 80 else f"{text[:77]}..."


def form(tree: Any) -> Any:
    """Structure, shapes and types."""
    leaves, structure = jax.tree.flatten(tree)
    return structure, [(jnp.shape(a), jnp.result_type(a)) for a in leaves]


def difference(before: Any, after: Any) -> str:
    """Where two trees first differ in form, in words."""
    if jax.tree.structure(before) == jax.tree.structure(after):
        pairs = zip(
            jax.tree_util.tree_leaves_with_path(before), jax.tree.leaves(after), strict=True
        )
        for (path, first), second in pairs:
            forms = [words(a) for a in (first, second)]
            if forms[0] != forms[1]:
                return f"{jax.tree_util.keystr(path)} was {forms[0]} and becomes {forms[1]}"
    return f"{words(before)} becomes {words(after)}, in another structure"


def words(tree: Any) -> str:
    """Shapes and types of the leaves, as people write them."""
    leaves = jax.tree.leaves(tree)
    return ", ".join(f"{jnp.result_type(a)}{list(jnp.shape(a))}" for a in leaves) or "empty"


def _same(one: Any, other: Any) -> bool:
    """Equal programs with equal constants."""
    texts = [_ADDRESS.sub("", str(program)) for program in (one, other)]
    first, second = (list(_constants(program)) for program in (one, other))
    return texts[0] == texts[1] and all(
        a is b or np.array_equal(plain(a), plain(b), equal_nan=True)
        for a, b in zip(first, second, strict=True)
    )


def plain(constant: Any) -> np.ndarray:
    """The numbers in a type that numpy knows."""
    if isinstance(constant, jax.Array) and jnp.issubdtype(constant.dtype, jax.dtypes.prng_key):
        constant = jax.random.key_data(constant)
    array = np.asarray(constant)
    return array.astype(float) if array.dtype.kind not in "biufc" else array  # bfloat16


def _constants(program: Any) -> Iterator[Any]:
    yield from program.consts
    for equation in _equations(program.jaxpr):
        for inner in jax.tree.leaves(equation.params, is_leaf=_is_program):
            if isinstance(inner, jax.extend.core.ClosedJaxpr):
                yield from inner.consts


def _equations(jaxpr: Any) -> Iterator[Any]:
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.tree.leaves(equation.params, is_leaf=_is_program):
            if _is_program(inner):
                yield from _equations(getattr(inner, "jaxpr", inner))


def _is_program(value: Any) -> bool:
    return isinstance(value, jax.extend.core.ClosedJaxpr | jax.extend.core.Jaxpr)


def _example(argument: Any) -> Any:
    """An array of that shape and type, with numbers about as large as initial parameters."""
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

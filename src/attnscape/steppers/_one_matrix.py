"""Decompositions of a batch of matrices, rewritten to take one matrix after the other.

On the CPU, XLA distributes a batch over its threads by a task that runs on one of them and waits
for the others. If as many such tasks run at once as there are threads, each waits for ever: so may
two seeds on two threads, and one update that decomposes many arrays of matrices. A single matrix is
decomposed where it is asked for, so nothing waits.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var, primitives
from jaxtyping import Array, PyTree

# Those that call LAPACK for arrays (..., m, n), jax.numpy.linalg and jax.scipy.linalg included.
_DECOMPOSITIONS = frozenset({
    primitives.cholesky_p, primitives.eig_p, primitives.eigh_p, primitives.hessenberg_p,
    primitives.householder_product_p, primitives.lu_p, primitives.qr_p, primitives.schur_p,
    primitives.svd_p, primitives.triangular_solve_p, primitives.tridiagonal_p,
    primitives.tridiagonal_solve_p,
})  # fmt: skip
# Equations that only call a program, which is then computed in their place.
_CALLS = frozenset({
    primitives.custom_jvp_call_p, primitives.custom_vjp_call_p, primitives.jit_p,
    primitives.remat_p,
})  # fmt: skip


def one_matrix_at_a_time(function: Callable[..., PyTree]) -> Callable[..., PyTree]:
    """The same function, without decompositions of several matrices at once.

    A function that has none is called as it is.

    Args:
        function: A function of arrays that JAX can trace; it is not differentiated any more.

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from attnscape.steppers import one_matrix_at_a_time
        >>> matrices = jnp.stack([jnp.eye(2), 4 * jnp.eye(2)])
        >>> rooted = one_matrix_at_a_time(jnp.linalg.cholesky)
        >>> rooted(matrices)[:, 0, 0].tolist()
        [1.0, 2.0]
        >>> ["scan" in str(jax.make_jaxpr(f)(matrices)) for f in (jnp.linalg.cholesky, rooted)]
        [False, True]
    """

    @functools.wraps(function)
    def rewritten(*arguments: PyTree) -> PyTree:
        program, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
        if not decomposes(program, several=True):
            return function(*arguments)
        results = _evaluated(program, jax.tree.leaves(arguments))
        return jax.tree.unflatten(jax.tree.structure(shapes), results)

    return rewritten


def decomposes(program: ClosedJaxpr | Jaxpr, *, several: bool = False) -> bool:
    """Whether a program, or one inside of it, decomposes a matrix, or several at once.

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from attnscape.steppers import decomposes
        >>> programs = [jax.make_jaxpr(jnp.linalg.qr)(jnp.ones((*b, 3, 3))) for b in ((), (2,))]
        >>> [(decomposes(each), decomposes(each, several=True)) for each in programs]
        [(True, False), (True, True)]
    """
    return any(
        _batch(equation) > several
        or any(decomposes(inner, several=several) for inner in _programs(equation))
        for equation in getattr(program, "jaxpr", program).eqns
    )


def _batch(equation: JaxprEqn) -> int:
    """How many matrices an equation decomposes."""
    if equation.primitive not in _DECOMPOSITIONS:
        return 0
    return math.prod(_widest(equation.invars).aval.shape[:-2])


def _widest(operands: Sequence[Any]) -> Any:
    """The operand with the most axes: a matrix or, behind the axes of the batch, matrices."""
    return max(operands, key=lambda operand: operand.aval.ndim)


def _programs(equation: JaxprEqn) -> Iterator[ClosedJaxpr | Jaxpr]:
    """The programs inside an equation."""
    for inner in jax.tree.leaves(equation.params, is_leaf=_is_program):
        if _is_program(inner):
            yield inner


def _is_program(value: object) -> bool:
    return isinstance(value, ClosedJaxpr | Jaxpr)


def _evaluated(program: ClosedJaxpr | Jaxpr, arguments: Sequence[Any]) -> list[Array]:
    """The results of a program, computed by its equations."""
    jaxpr, constants = program, ()
    if isinstance(program, ClosedJaxpr):
        jaxpr, constants = program.jaxpr, program.consts
    values: dict[Var, Any] = dict(zip(jaxpr.constvars, constants, strict=True))
    values |= zip(jaxpr.invars, arguments, strict=True)

    def read(atom: Var | Literal) -> Any:
        return atom.val if isinstance(atom, Literal) else values[atom]

    for equation in jaxpr.eqns:
        with equation.ctx.manager:
            results = _results(equation, [read(atom) for atom in equation.invars])
        values |= zip(equation.outvars, results, strict=True)
    return [read(atom) for atom in jaxpr.outvars]


def _results(equation: JaxprEqn, operands: list[Any]) -> Sequence[Array]:
    if equation.primitive in _CALLS:
        return _evaluated(next(_programs(equation)), operands)
    if _batch(equation) > 1:
        return _one_by_one(equation, operands)
    if any(decomposes(inner, several=True) for inner in _programs(equation)):  # such as a loop
        params = jax.tree.map(
            lambda value: _rewritten(value) if isinstance(value, ClosedJaxpr) else value,
            equation.params,
            is_leaf=_is_program,
        )
        return _bound(equation, operands, params)
    return _bound(equation, operands, equation.params)


def _rewritten(program: ClosedJaxpr) -> ClosedJaxpr:
    return jax.make_jaxpr(lambda *operands: _evaluated(program, operands))(*program.in_avals)


def _bound(equation: JaxprEqn, operands: Sequence[Any], params: dict[str, Any]) -> Sequence[Array]:
    """The results of the equation's primitive with these parameters."""
    found = equation.primitive.bind(*operands, **params)
    return found if equation.primitive.multiple_results else [found]


def _one_by_one(equation: JaxprEqn, operands: Sequence[Array]) -> Sequence[Array]:
    """The results of a decomposition, by a loop over its batch."""
    axes = _widest(equation.invars).aval.ndim - 2
    batch = operands[0].shape[:axes]
    in_a_row = [jax.numpy.reshape(each, (-1, *each.shape[axes:])) for each in operands]
    results = jax.lax.map(
        lambda each: tuple(_bound(equation, each, equation.params)), tuple(in_a_row)
    )
    return [jax.numpy.reshape(each, (*batch, *each.shape[1:])) for each in results]

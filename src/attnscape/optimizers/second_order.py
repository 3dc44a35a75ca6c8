"""Optimizers that solve with exact second derivatives of the step's batch: upper bounds to others.

At the 150 parameters of the paper's models a dense matrix costs little, so these say how much is
left to gain by curvature for the optimizers that only estimate it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from attnscape.optimizers.transformations import Rate


def newton(learning_rate: Rate, damping: float = 0.1) -> optax.GradientTransformationExtraArgs:
    """Saddle-free Newton: the gradient times (|H| + damping)^-1, H the exact Hessian of the batch.

    |H| has the absolute values of H's eigenvalues (Dauphin et al., 2014, "Identifying and attacking
    the saddle point problem in high-dimensional non-convex optimization"), so that steps go
    downhill along negative curvature as well. The damping bounds them where H is flat.

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape.optimizers import newton
        >>> method, point = newton(1.0, damping=0.0), jnp.array([3.0, -4.0])
        >>> hessian = jnp.diag(jnp.array([2.0, -8.0]))  # of x^2 - 4 y^2, a saddle
        >>> gradient = hessian @ point
        >>> updates, _ = method.update(gradient, (), point, hessian_fn=lambda parameters: hessian)
        >>> [round(u, 3) for u in updates.tolist()]  # to the minimum in x, away from it in y
        [-3.0, -4.0]
    """

    def solved(hessian: Float[Array, "p p"], gradient: Float[Array, " p"]) -> Float[Array, " p"]:
        values, vectors = jnp.linalg.eigh((hessian + hessian.T) / 2)
        return vectors @ ((vectors.T @ gradient) / (jnp.abs(values) + damping))

    def update(
        updates: PyTree, state: PyTree, params: PyTree, *, hessian_fn: Callable[..., Any]
    ) -> tuple[PyTree, PyTree]:
        return _step(learning_rate, solved, hessian_fn(params), updates), state

    return optax.GradientTransformationExtraArgs(_without_state, update)  # pyright: ignore[reportArgumentType]


def gauss_newton(
    learning_rate: Rate, damping: float = 0.1
) -> optax.GradientTransformationExtraArgs:
    """The gradient times (G + damping)^-1, G the exact Gauss-Newton part of the batch's Hessian.

    For the mean squared error of predictions f_i, G = (2/B) sum grad f_i grad f_i^T; with damping
    it is the method of Levenberg (1944). For another loss, its second derivatives in the
    predictions are in place of 2. If these are not negative, as of every convex loss, G has no
    negative eigenvalue, unlike the Hessian; otherwise steps may not be finite.

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape.optimizers import gauss_newton
        >>> method, point = gauss_newton(1.0, damping=0.0), jnp.array([3.0, -4.0])
        >>> part = jnp.diag(jnp.array([2.0, 8.0]))  # of x^2 + 4 y^2, least squares
        >>> updates, _ = method.update(part @ point, (), point, gauss_newton_fn=lambda _: part)
        >>> [round(u, 3) for u in updates.tolist()]  # to the minimum
        [-3.0, 4.0]
    """

    def solved(part: Float[Array, "p p"], gradient: Float[Array, " p"]) -> Float[Array, " p"]:
        damped = part + damping * jnp.eye(len(part), dtype=part.dtype)
        return jax.scipy.linalg.solve(damped, gradient, assume_a="pos")

    def update(
        updates: PyTree, state: PyTree, params: PyTree, *, gauss_newton_fn: Callable[..., Any]
    ) -> tuple[PyTree, PyTree]:
        return _step(learning_rate, solved, gauss_newton_fn(params), updates), state

    return optax.GradientTransformationExtraArgs(_without_state, update)  # pyright: ignore[reportArgumentType]


def _without_state(parameters: PyTree) -> optax.EmptyState:
    del parameters
    return optax.EmptyState()


def _step(
    learning_rate: Rate,
    solved: Callable[[Array, Array], Array],
    matrix: Float[Array, "p p"],
    gradient: PyTree,
) -> PyTree:
    """Minus the rate times the solution for the gradient, with the gradient's structure."""
    flat, unravel = ravel_pytree(gradient)
    # One run after the other: within a compiled loop, LAPACK on the matrices of several runs at
    # once can wait for ever for a thread of XLA's.
    one_by_one = jax.custom_batching.sequential_vmap(solved)
    with jax.default_matmul_precision("highest"):
        return unravel((-learning_rate * one_by_one(matrix, flat)).astype(flat.dtype))

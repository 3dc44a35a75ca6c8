"""Optimizers that solve with exact second derivatives of the step's batch: upper bounds to others.

At the 150 parameters of the paper's models a dense matrix costs little, so these say how much is
left to gain by curvature for the optimizers that only estimate it. `newton_cg` needs no matrix.
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


def newton_cg(
    learning_rate: Rate, damping: float = 0.1, iterations: int = 20, tolerance: float = 0.01
) -> optax.GradientTransformationExtraArgs:
    """Newton's step by truncated conjugate gradients on (H + damping) d = gradient.

    Only products of H, the exact Hessian of the batch, with directions are taken, so that it also
    goes where the matrix is too large (Martens, 2010, "Deep learning via Hessian-free
    optimization"). It ends after `iterations`, or when the residual is at most `tolerance` times
    the gradient in norm, or at a direction p of negative curvature, p^T H p < 0. Then its last step
    along p is as long as with the curvature |p^T H p|, downhill as in `newton`; Steihaug (1983)
    and Nocedal and Wright (2006, Algorithm 7.1) end there as well, and leave the length to a trust
    region or a line search.

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape.optimizers import newton_cg
        >>> method, point = newton_cg(1.0, damping=0.0), jnp.array([3.0, -4.0])
        >>> gradient = jnp.array([2.0, 8.0]) * point  # of x^2 + 4 y^2
        >>> def value_fn(p):
        ...     return p[0] ** 2 + 4 * p[1] ** 2
        >>> updates, _ = method.update(gradient, (), point, value_fn=value_fn)
        >>> [round(u, 3) for u in updates.tolist()]  # to the minimum
        [-3.0, 4.0]
    """

    def update(
        updates: PyTree, state: PyTree, params: PyTree, *, value_fn: Callable[..., Any]
    ) -> tuple[PyTree, PyTree]:
        gradient, unravel = ravel_pytree(updates)

        def product(direction: Float[Array, " p"]) -> Float[Array, " p"]:
            return ravel_pytree(jax.jvp(jax.grad(value_fn), (params,), (unravel(direction),))[1])[0]

        solved = _truncated_cg(product, gradient, damping, iterations, tolerance)
        return unravel((-learning_rate * solved).astype(gradient.dtype)), state

    return optax.GradientTransformationExtraArgs(_without_state, update)  # pyright: ignore[reportArgumentType]


def _truncated_cg(
    product: Callable[[Array], Array],
    gradient: Float[Array, " p"],
    damping: float,
    iterations: int,
    tolerance: float,
) -> Float[Array, " p"]:
    """The solution d of (H + damping) d = gradient by `newton_cg`'s rule, from products with H."""
    whole = jnp.sum(gradient**2)

    def goes_on(state: tuple[Array, ...]) -> Array:
        count, ended, _, _, _, square = state
        return (count < iterations) & ~ended & (square > tolerance**2 * whole)

    def iteration(state: tuple[Array, ...]) -> tuple[Array, ...]:
        count, _, solution, residual, direction, square = state
        bent = product(direction)
        curvature = jnp.sum(direction * bent)
        length = square / (jnp.abs(curvature) + damping * jnp.sum(direction**2))
        residual = residual - length * (bent + damping * direction)
        after = jnp.sum(residual**2)
        solution = solution + length * direction
        direction = residual + after / square * direction
        return count + 1, curvature < 0, solution, residual, direction, after

    first = (jnp.int32(0), jnp.bool_(False), jnp.zeros_like(gradient), gradient, gradient, whole)
    return jax.lax.while_loop(goes_on, iteration, first)[2]


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

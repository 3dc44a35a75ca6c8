"""Predictors whose few numbers are fitted to prompts: ridge regression, preconditioned descent."""

from __future__ import annotations

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from attnscape import objective
from attnscape.models import LinearTransformer, gradient_descent, optimal_rates
from attnscape.tasks import Moments

# Penalties that are tried, relative to the mean eigenvalue, before the best is refined.
_PENALTIES = np.logspace(-8, 6, 57)
_value_and_grad = eqx.filter_jit(objective.value_and_grad)


def ridge(moments: Moments, penalty: float) -> Float[Array, " batch"]:
    """Predictions by ridge regression on the examples, without an intercept.

    The weights minimise (1/n) sum (y - <w, x>)^2 + penalty |w|^2. With the penalty 0 they are the
    least-squares solution of the smallest norm, with an infinite one they are 0.

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape import Prompts
        >>> from attnscape.experiments.fitted_predictors import ridge
        >>> x, y = jnp.array([[[1.0], [3.0]]]), jnp.array([[2.0, 4.0]])  # G = 5, c = 7
        >>> moments = Prompts(x, y, query=jnp.ones((1, 1)), target=jnp.ones(1)).moments()
        >>> [round(float(ridge(moments, penalty)[0]), 3) for penalty in (0, 2, float("inf"))]
        [1.4, 1.0, 0.0]
    """
    return _shrunk(*_along_eigenvectors(moments), penalty)


@jax.jit
def in_coordinates(root: Float[ArrayLike, "d r"], moments: Moments) -> Moments:
    """The moments of root^T x and root^T q: those of the weights v, if w = root v."""
    return dataclasses.replace(
        moments,
        gram=jnp.einsum("ia,bij,jc->bac", root, moments.gram, root, precision="highest"),
        cross=jnp.einsum("ia,bi->ba", root, moments.cross, precision="highest"),
        query=jnp.einsum("ia,bi->ba", root, moments.query, precision="highest"),
    )


def best_penalty(moments: Moments) -> float:
    """The penalty of `ridge` with the smallest mean squared error on prompts, from 0 to infinity.

    The best of many penalties over 14 orders of magnitude, refined between its neighbours.
    """
    from scipy.optimize import minimize_scalar  # imported here, as it takes a quarter of a second

    values, along = _along_eigenvectors(moments)

    def error(penalty: float) -> float:
        return float(jnp.mean((_shrunk(values, along, penalty) - moments.target) ** 2))

    tried = _PENALTIES * float(jnp.mean(values))
    errors = [error(penalty) for penalty in tried]
    best = int(np.argmin(errors))
    found: list[tuple[float, float]] = [(error(0.0), 0.0), (error(np.inf), np.inf)]
    if 0 < best < len(tried) - 1:
        log: Any = minimize_scalar(
            lambda logarithm: error(np.exp(logarithm)),
            bounds=np.log([tried[best - 1], tried[best + 1]]),
            method="bounded",
        )
        found.append((float(log.fun), float(np.exp(log.x))))
    # At either end of those tried there is nothing between it and 0 or infinity to be told apart.
    return min(found)[1]


def best_descent(moments: Moments, steps: int) -> LinearTransformer:
    """Gradient descent on the examples with the best shared preconditioner and rates.

    Of `gradient_descent(rates, dim, preconditioner)` with any d x d matrix, the one with the
    smallest mean squared error on these prompts that is found by L-BFGS from two starts: in
    coordinates in which the mean gram matrix is the identity, the identity and the optimum of one
    step, both with the best rates for the identity. One step is a convex problem; more are not, and
    may have better solutions.

    Args:
        moments: Moments of the prompts, in float64.
        steps: Number of steps, at least 1.
    """
    values, vectors = np.linalg.eigh(np.asarray(moments.gram).mean(0))
    kept = values > np.finfo(float).eps * len(values) * values[-1]
    root = vectors[:, kept] / np.sqrt(values[kept])  # (d, r), r the rank
    unit = float(np.sqrt(np.mean(np.asarray(moments.target) ** 2)))
    white = in_coordinates(root, moments)
    white = dataclasses.replace(white, cross=white.cross / unit, target=white.target / unit)
    start, size = np.eye(int(kept.sum())), kept.sum()
    found = _descended(white, start, steps)
    if steps > 1:
        _, of_one, _ = _descended(white, start, 1)
        others = _descended(white, of_one * size / np.trace(of_one), steps)
        found = min(found, others, key=lambda each: each[0])
    _, preconditioner, rates = found
    return gradient_descent(rates.tolist(), len(values), root @ preconditioner @ root.T)


def _descended(
    moments: Moments, start: np.ndarray, steps: int
) -> tuple[float, np.ndarray, np.ndarray]:
    """Loss, preconditioner and rates at the minimum that L-BFGS reaches from `start`."""
    from scipy.optimize import minimize  # imported here, as it takes a quarter of a second

    dim = len(start)

    def parts(point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return point[:steps], point[steps:].reshape(dim, dim)

    def loss_and_slope(point: np.ndarray) -> tuple[float, np.ndarray]:
        rates, A = parts(point)
        model = gradient_descent(rates.tolist(), dim, A)
        value, gradient = _value_and_grad(model, moments)
        slopes = -np.asarray(gradient.Q).swapaxes(1, 2)  # of rate A, for each layer
        of_rates = np.einsum("lij,ij->l", slopes, A)
        return float(value), np.append(of_rates, np.einsum("l,lij->ij", rates, slopes))

    point = np.append(optimal_rates(moments.gram, steps), start)
    options = {"maxiter": 300, "ftol": 1e-10}
    reached = minimize(loss_and_slope, point, jac=True, method="L-BFGS-B", options=options)
    rates, A = parts(reached.x)
    return float(reached.fun), A, rates


@jax.jit
def _along_eigenvectors(
    moments: Moments,
) -> tuple[Float[Array, "batch d"], Float[Array, "batch d"]]:
    """Eigenvalues of the gram matrices, and cross times query along their eigenvectors."""
    values, vectors = jnp.linalg.eigh(moments.gram)
    cross = jnp.einsum("bij,bi->bj", vectors, moments.cross, precision="highest")
    query = jnp.einsum("bij,bi->bj", vectors, moments.query, precision="highest")
    return values, cross * query


@jax.jit
def _shrunk(
    values: Float[Array, "batch d"], along: Float[Array, "batch d"], penalty: ArrayLike
) -> Float[Array, " batch"]:
    small = jnp.finfo(values.dtype).eps * values.shape[1] * values[:, -1:]
    kept = (values > small) & jnp.isfinite(penalty)
    return jnp.where(kept, along / (values + penalty), 0.0).sum(1)

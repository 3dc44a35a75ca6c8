"""Single updates of an optimizer, and runs on a quadratic, for the checks of optimizers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree, Scalar

from attnscape.models import LinearTransformer
from attnscape.optimizers import OptaxFactory, accepting, update_keywords

MODEL = functools.partial(LinearTransformer.init, layers=2, dim=3)
LEARNING_RATES = tuple(digit * 10.0**power for power in range(-4, 1) for digit in (1, 2, 5))
QUADRATIC_STEPS = 300
# What a factory may ask of its run: the defaults of `attnscape train`.
RUN = {"steps": 10_000, "batch": 1000}


def example() -> tuple[LinearTransformer, LinearTransformer]:
    """Parameters, and a gradient."""
    one, other = (MODEL(key) for key in jax.random.split(jax.random.key(0)))
    return one, other


def start(factory: OptaxFactory, rate: float | Array, parameters: PyTree) -> PyTree:
    """The optimizer's state before the first update."""
    return factory(rate).init(parameters)


def _example_loss(parameters: PyTree) -> Scalar:
    return sum((jnp.sum(a**2) for a in jax.tree.leaves(parameters)), start=jnp.zeros(())) / 2


def update_of(
    factory: OptaxFactory,
    rate: float | Array,
    loss: Callable[[PyTree], Scalar] = _example_loss,
) -> Callable[[PyTree, PyTree, PyTree], tuple[PyTree, PyTree]]:
    """The function `(gradient, state, parameters)` to `(updates, state)`.

    It passes all keywords that an optimizer may use.
    """

    def hessian(parameters: PyTree) -> Array:
        flat, unravel = ravel_pytree(parameters)
        return jax.hessian(lambda vector: loss(unravel(vector)))(flat)

    def hessian_diagonal(parameters: PyTree) -> PyTree:
        return ravel_pytree(parameters)[1](jnp.diag(hessian(parameters)))

    def update(gradient: PyTree, state: PyTree, parameters: PyTree) -> tuple[PyTree, PyTree]:
        # The losses here are sums of squares of linear terms: the Gauss-Newton part is all.
        keywords = update_keywords(
            loss(parameters), gradient, loss, jax.grad(loss), hessian_diagonal, hessian, hessian
        )
        transformation: Any = accepting(factory(rate))
        return transformation.update(gradient, state, parameters, **keywords)

    return update


def quadratic_losses(factory: OptaxFactory, *, traced_rates: bool) -> np.ndarray:
    """Loss after some steps on a quadratic in two matrices, divided by the initial loss.

    Args:
        factory: Function from a learning rate to the optimizer.
        traced_rates: Whether JAX may trace learning rates.

    Returns:
        One ratio for each of `LEARNING_RATES`.
    """
    begin = LinearTransformer(jnp.ones((1, 2, 2)), -jnp.ones((1, 2, 2)))
    curvature = jax.tree.map(lambda a: jnp.linspace(1, 3, a.size).reshape(a.shape), begin)

    def loss(point: LinearTransformer) -> Scalar:
        terms = jax.tree.map(lambda c, a: jnp.sum(c * a**2), curvature, point)
        return sum(jax.tree.leaves(terms), start=jnp.zeros(())) / 2

    def run(rate: float | Array) -> Scalar:
        def step(_: Array, now: tuple[PyTree, PyTree]) -> tuple[PyTree, PyTree]:
            point, state = now
            gradient = jax.grad(loss)(point)
            updates, state = update_of(factory, rate, loss)(gradient, state, point)
            return optax.apply_updates(point, updates), state

        initial = (begin, start(factory, rate, begin))
        return loss(jax.lax.fori_loop(0, QUADRATIC_STEPS, step, initial)[0])

    if traced_rates:
        losses = np.asarray(jax.jit(jax.vmap(run))(jnp.array(LEARNING_RATES)))
    else:
        losses = np.array([jax.jit(lambda rate=rate: run(rate))() for rate in LEARNING_RATES])
    return losses / float(loss(begin))


def restored(array: np.ndarray, leaf: PyTree) -> PyTree:
    """A leaf of a state, restored from its saved array."""
    if not eqx.is_array(leaf):
        return type(leaf)(array.item())
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(jnp.asarray(array))
    return jnp.asarray(array, leaf.dtype)

"""The contract of an optimizer: a function from a learning rate to an optax transformation."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from attnscape.contracts._finding import Finding, findings, is_same, require
from attnscape.contracts._tracing import plain
from attnscape.contracts._usable import (
    MAKES_OPTIMIZER,
    STATE,
    UPDATE,
    usable_model,
    usable_optimizer,
)
from attnscape.models import LinearTransformer
from attnscape.stepping import Group
from attnscape.tasks import RegressionTask
from attnscape.transformations import accepting, update_keywords

LEARNING_RATES = tuple(digit * 10.0**power for power in range(-4, 1) for digit in (1, 2, 5))
_QUADRATIC_STEPS = 300
_QUADRATIC_FACTOR = 0.01  # what is left of the loss
_MODEL = functools.partial(LinearTransformer.init, layers=2, dim=3)


def check_optimizer(factory: Callable[..., Any]) -> list[Finding]:
    """Checks a function from a learning rate to an optax transformation.

    Parameters are those of linear attention: a pytree of two arrays, P and Q, each (L, d, d).
    """
    group = Group(getattr(factory, "__name__", "yours"), factory, (0.01, 0.1))

    def traced() -> bool:
        """Whether learning rates may be traced."""
        problem = usable_model(_MODEL, RegressionTask(dim=3), None, 16, jnp.dtype("float32"))
        return usable_optimizer(group, *problem).traced_rates

    def quick(dtype: str) -> None:
        problem = usable_model(_MODEL, RegressionTask(dim=3), 1.0, 16, jnp.dtype(dtype))
        usable_optimizer(group, *problem)

    def rates() -> str:
        if not traced():
            return (
                "It needs learning rates as numbers, not traced by JAX: each rate is a program of "
                "its own, which takes longer to compile."
            )
        rates = jnp.array(group.learning_rates)
        parameters, gradient = _example()

        def first(rate):
            return _update(factory, rate)(gradient, _start(factory, rate, parameters), parameters)

        apart = [first(rate)[0] for rate in rates]
        together = jax.jit(jax.vmap(first))(rates)[0]
        expected = jax.tree.map(lambda *a: jnp.stack(a), *apart)
        close = jax.tree.map(lambda a, b: np.allclose(a, b, rtol=1e-4), together, expected)
        require(
            all(jax.tree.leaves(close)),
            "Under jit and vmap over learning rates the updates are others than one by one.",
        )
        return "Learning rates may be traced: jit and vmap give the updates that they give singly."

    def deterministic() -> str:
        parameters, gradient = _example()
        state = _start(factory, 0.01, parameters)
        runs = [_update(factory, 0.01)(gradient, state, parameters) for _ in range(3)]
        require(
            all(is_same(run, runs[0]) for run in runs),
            "The same gradient, state and parameters give different updates; draw random numbers "
            "with keys that are kept in the state.",
        )
        return "The same inputs give the same updates."

    def converges() -> str:
        start = LinearTransformer(jnp.ones((1, 2, 2)), -jnp.ones((1, 2, 2)))
        curvature = jax.tree.map(lambda a: jnp.linspace(1, 3, a.size).reshape(a.shape), start)

        def loss(point):
            terms = jax.tree.map(lambda c, a: jnp.sum(c * a**2), curvature, point)
            return sum(jax.tree.leaves(terms), start=jnp.zeros(())) / 2

        def run(rate):
            def step(_, now):
                point, state = now
                gradient = jax.grad(loss)(point)
                updates, state = _update(factory, rate, loss)(gradient, state, point)
                return optax.apply_updates(point, updates), state

            initial = (start, _start(factory, rate, start))
            return loss(jax.lax.fori_loop(0, _QUADRATIC_STEPS, step, initial)[0])

        if traced():
            losses = np.asarray(jax.jit(jax.vmap(run))(jnp.array(LEARNING_RATES)))
        else:
            losses = np.array([jax.jit(lambda rate=rate: run(rate))() for rate in LEARNING_RATES])
        losses = losses / float(loss(start))
        require(
            np.isfinite(losses).any(),
            f"On a quadratic in two matrices the loss is not finite at any of the learning rates "
            f"{LEARNING_RATES[0]:g} to {LEARNING_RATES[-1]:g}.",
        )
        best = int(np.nanargmin(losses))
        left = (
            f"{_QUADRATIC_STEPS} steps on a quadratic in two matrices leave "
            f"{losses[best]:.2g} of the loss (learning rate {LEARNING_RATES[best]:g})"
        )
        require(losses[best] <= _QUADRATIC_FACTOR, f"{left}; {_QUADRATIC_FACTOR} is asked for.")
        return f"{left}."

    def saved() -> str:
        parameters, gradient = _example()
        update = _update(factory, 0.01)
        _, state = update(gradient, _start(factory, 0.01, parameters), parameters)
        leaves, structure = jax.tree.flatten(state)
        file = io.BytesIO()
        np.savez(file, *map(plain, leaves))
        file.seek(0)
        with np.load(file) as arrays:
            loaded = [_again(arrays[f"arr_{i}"], leaf) for i, leaf in enumerate(leaves)]
        restored = jax.tree.unflatten(structure, loaded)
        require(
            is_same(update(gradient, restored, parameters), update(gradient, state, parameters)),
            "After its state was saved and read again, the next update is another.",
        )
        return "A state that was saved and read again gives the same next update."

    return findings(
        quick,
        {
            MAKES_OPTIMIZER: "A learning rate gives an optax.GradientTransformation.",
            UPDATE: "Its updates can be compiled.",
            STATE: "Updates have the form of parameters (L, d, d) and the state keeps its own, in "
            "both precisions.",
        },
        [
            ("learning rates", rates),
            ("deterministic", deterministic),
            ("converges", converges),
            ("state can be saved", saved),
        ],
    )


def _example() -> tuple[Any, Any]:
    """Parameters, and a gradient."""
    one, other = (_MODEL(key) for key in jax.random.split(jax.random.key(0)))
    return one, other


def _start(factory: Callable[..., Any], rate: Any, parameters: Any) -> Any:
    return factory(rate).init(parameters)


def _example_loss(parameters: Any) -> jax.Array:
    return sum((jnp.sum(a**2) for a in jax.tree.leaves(parameters)), start=jnp.zeros(())) / 2


def _update(
    factory: Callable[..., Any], rate: Any, loss: Callable[[Any], jax.Array] = _example_loss
) -> Callable[[Any, Any, Any], tuple[Any, Any]]:
    """One update, with all that it may ask for."""

    def hessian_diagonal(parameters):
        flat, unravel = ravel_pytree(parameters)
        return unravel(jnp.diag(jax.hessian(lambda vector: loss(unravel(vector)))(flat)))

    def update(gradient, state, parameters):
        keywords = update_keywords(
            loss(parameters), gradient, loss, jax.grad(loss), hessian_diagonal
        )
        transformation: Any = accepting(factory(rate))
        return transformation.update(gradient, state, parameters, **keywords)

    return update


def _again(array: np.ndarray, leaf: Any) -> Any:
    if not eqx.is_array(leaf):
        return type(leaf)(array.item())
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(jnp.asarray(array))
    return jnp.asarray(array, leaf.dtype)

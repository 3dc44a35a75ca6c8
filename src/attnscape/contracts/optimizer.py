"""The contract of an optimizer: a function from a learning rate to an optax transformation."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from attnscape.contracts._finding import (
    BrokenError,
    Finding,
    counted,
    findings,
    in_each_dtype,
    is_same,
    plain,
    precision,
    require,
    shapes,
    words,
)
from attnscape.transformations import EvaluatedElsewhere, accepting, update_keywords

LEARNING_RATES = tuple(digit * 10.0**power for power in range(-4, 1) for digit in (1, 2, 5))
_QUADRATIC_STEPS = 300
_QUADRATIC_FACTOR = 0.01  # what is left of the loss


def check_optimizer(factory: Callable[..., Any]) -> list[Finding]:
    """Checks a function from a learning rate to an optax transformation."""

    def makes() -> str:
        made = factory(0.01)
        if not isinstance(made, optax.GradientTransformation | EvaluatedElsewhere):
            raise BrokenError(
                f"It gives {type(made).__name__} for the learning rate 0.01; it must be a function "
                "from a learning rate to an optax.GradientTransformation."
            )
        return "A learning rate gives an optax.GradientTransformation."

    def traced() -> str:
        rates = jnp.array([0.01, 0.1])
        parameters, gradient = _example("float32")

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

    def keeps(dtype: str) -> str:
        with precision(dtype):
            parameters, gradient = _example(dtype)
            state = _start(factory, 0.01, parameters)
            updates, later = _update(factory, 0.01)(gradient, state, parameters)
            if shapes(updates) != shapes(parameters):
                raise BrokenError(
                    f"Updates are {words(updates)}, but parameters are {words(parameters)}."
                )
            require(
                shapes(later) == shapes(state),
                f"The state changes from {words(state)} to {words(later)} in an update.",
            )
        return f"Updates have the structure, shapes and type of {dtype} parameters."

    def compiles_once() -> str:
        parameters, gradient = _example("float32")
        update, traces = counted(_update(factory, 0.01))
        update, state = jax.jit(update), _start(factory, 0.01, parameters)
        compiled = []
        for _ in range(4):
            _, state = update(gradient, state, parameters)
            compiled.append(len(traces))
        # A second time is allowed: the numbers of a first state may be Python's (weakly typed).
        require(
            compiled[-1] == compiled[1],
            f"Four updates were compiled {compiled[-1]} times: the state's type changes.",
        )
        return "Updates are not compiled anew while training."

    def deterministic() -> str:
        parameters, gradient = _example("float32")
        state = _start(factory, 0.01, parameters)
        runs = [_update(factory, 0.01)(gradient, state, parameters) for _ in range(3)]
        require(
            all(is_same(run, runs[0]) for run in runs),
            "The same gradient, state and parameters give different updates; draw random numbers "
            "with keys that are kept in the state.",
        )
        return "The same inputs give the same updates."

    def converges() -> str:
        curvature, start = jnp.array([1.0, 3.0]), jnp.array([1.0, -1.0])

        def loss(point):
            return jnp.sum(curvature * point**2) / 2

        def run(rate):
            def step(_, now):
                point, state = now
                gradient = jax.grad(loss)(point)
                updates, state = _update(factory, rate, loss)(gradient, state, point)
                return optax.apply_updates(point, updates), state

            initial = (start, _start(factory, rate, start))
            return loss(jax.lax.fori_loop(0, _QUADRATIC_STEPS, step, initial)[0])

        rates = jnp.array(LEARNING_RATES)
        losses = np.asarray(jax.jit(jax.vmap(run))(rates)) / float(loss(start))
        require(
            np.isfinite(losses).any(),
            f"On a quadratic in two dimensions the loss is not finite at any of the learning rates "
            f"{LEARNING_RATES[0]:g} to {LEARNING_RATES[-1]:g}.",
        )
        best = int(np.nanargmin(losses))
        left = (
            f"{_QUADRATIC_STEPS} steps on a quadratic in two dimensions leave "
            f"{losses[best]:.2g} of the loss (learning rate {LEARNING_RATES[best]:g})"
        )
        require(losses[best] <= _QUADRATIC_FACTOR, f"{left}; {_QUADRATIC_FACTOR} is asked for.")
        return f"{left}."

    def saved() -> str:
        parameters, gradient = _example("float32")
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
        [
            ("makes a transformation", makes),
            ("traced learning rates", traced),
            *in_each_dtype("shapes and types", keeps),
            ("compiles once", compiles_once),
            ("deterministic", deterministic),
            ("converges", converges),
            ("state can be saved", saved),
        ]
    )


def _example(dtype: str) -> tuple[Any, Any]:
    """Parameters of two shapes, and a gradient."""
    rng = np.random.default_rng(0)
    draws = [
        {name: jnp.asarray(rng.standard_normal(shape), dtype) for name, shape in _EXAMPLE.items()}
        for _ in range(2)
    ]
    return draws[0], draws[1]


_EXAMPLE = {"P": (2, 3, 3), "bias": (4,)}


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

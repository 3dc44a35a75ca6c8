"""The peer in JAX: the `code` recipe over tokens (eq. 7), all runs in one program by vmap."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

_Weights = tuple[jax.Array, jax.Array]  # P and Q of the block form


def predictions(P: jax.Array, Q: jax.Array, tokens: jax.Array) -> jax.Array:
    """Predictions (batch,) of the block form for tokens (batch, n + 1, d + 1), tokens as rows."""
    n = tokens.shape[1] - 1
    for P_l, Q_l in zip(_bordered(P, 1.0), _bordered(Q, 0.0), strict=True):
        context = tokens[:, :-1]
        scores = (tokens @ Q_l.T) @ context.mT
        tokens = tokens + scores @ (context @ P_l.T) / n
    return -tokens[:, -1, -1]


def _bordered(blocks: jax.Array, corner: float) -> jax.Array:
    """The trained blocks with the row and column that the block form keeps fixed."""
    return jnp.pad(blocks, ((0, 0), (0, 1), (0, 1))).at[:, -1, -1].set(corner)


def loss(weights: _Weights, tokens: jax.Array, target: jax.Array) -> jax.Array:
    """Mean squared error; no factor 1/2."""
    return jnp.mean((predictions(*weights, tokens) - target) ** 2)


def tokens_of(x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Tokens and targets of covariates (batch, n + 1, d) and responses (batch, n + 1)."""
    return jnp.concatenate([x, y.at[:, -1].set(0)[:, :, None]], axis=2), y[:, -1]


def draw(key: jax.Array, batch: int, context: int = 20, dim: int = 5):
    """Fresh prompts of Setting 1."""
    key_x, key_w = jax.random.split(key)
    x = jax.random.normal(key_x, (batch, context + 1, dim))
    return tokens_of(x, (x @ jax.random.normal(key_w, (batch, dim, 1)))[:, :, 0])


def training(
    optimizers: Mapping[str, Callable[[Any], optax.GradientTransformation]],
    learning_rates: Sequence[float],
    seeds: Sequence[int],
    *,
    layers: int,
    batch: int,
) -> Callable[[int], dict[str, _Weights]]:
    """New runs of every (optimizer, learning rate, seed); what it returns makes so many steps.

    It gives the weights, with the axes (seed, learning rate) in front.

    The prompts of a seed are drawn once for all its runs, as attnscape does.
    """
    rates = np.array(learning_rates, np.float32)
    made = {
        name: lambda rate, make=make: optax.chain(optax.clip_by_global_norm(1.0), make(rate))
        for name, make in optimizers.items()
    }

    def start(key: jax.Array) -> dict[str, Any]:
        weights = tuple(0.05 * jax.random.normal(key, (2, layers, 5, 5)))
        return {
            name: jax.vmap(lambda rate, make=make: (weights, make(rate).init(weights)))(rates)
            for name, make in made.items()
        }

    def step_of_seed(key: jax.Array, runs: dict[str, Any]) -> dict[str, Any]:
        prompts = draw(key, batch)

        def update(make: Callable, rate: jax.Array, run: tuple[_Weights, Any]) -> Any:
            weights, state = run
            updates, state = make(rate).update(jax.grad(loss)(weights, *prompts), state, weights)
            return optax.apply_updates(weights, updates), state

        return {
            name: jax.vmap(lambda rate, run, make=make: update(make, rate, run))(rates, runs[name])
            for name, make in made.items()
        }

    keys = jax.vmap(jax.random.key)(np.array(seeds))
    runs = jax.vmap(start)(keys)

    @jax.jit
    def steps(runs: Any, first: int, last: int) -> Any:
        def step(number: jax.Array, runs: Any) -> Any:
            fresh = jax.vmap(jax.random.fold_in, (0, None))(keys, number)
            return jax.vmap(step_of_seed)(fresh, runs)

        return jax.lax.fori_loop(first, last, step, runs)

    done = 0

    def more(count: int) -> dict[str, _Weights]:
        nonlocal runs, done
        runs = jax.block_until_ready(steps(runs, done, done + count))
        done += count
        return {name: weights for name, (weights, _) in runs.items()}

    return more

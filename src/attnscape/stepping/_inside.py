"""Optax: the runs of all optimizers, learning rates and seeds in one compiled loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from attnscape.stepping._contract import check
from attnscape.stepping._problem import Group, Problem, Runs
from attnscape.transformations import (
    EvaluatedElsewhere,
    OptaxFactory,
    Outside,
    Preconditioned,
    accepting,
    clipped,
)


class Inside:
    """Runs that are vectorised over seeds and (optimizer, learning rate) pairs."""

    def __init__(self, problem: Problem, groups: Sequence[Group]) -> None:
        self.groups: tuple[Group, ...] = tuple(groups)
        self._problem = problem
        for group in groups:
            check(group, problem)
        self._optimizers = [_prepared(group, problem.clip) for group in groups]
        self._rates = [np.array(group.learning_rates, problem.dtype) for group in groups]
        self._advance = jax.jit(
            lambda runs, first, last: jax.lax.fori_loop(first, last, self._step, runs)
        )
        self._evaluated = jax.jit(self._evaluation_points)
        self._preconditioned = jax.jit(self._preconditioners)
        self._elsewhere = any(
            isinstance(optimizer(rates[0]), EvaluatedElsewhere)
            for optimizer, rates in zip(self._optimizers, self._rates, strict=True)
        )

    def start(self) -> Runs:
        models, states, diverged = [], [], []
        for optimizer, rates in zip(self._optimizers, self._rates, strict=True):
            count = len(rates)
            spread = jax.tree.map(
                lambda a, count=count: jnp.repeat(a[:, None], count, axis=1),
                self._problem.initial_models,
            )
            models.append(spread)
            states.append(
                jax.vmap(jax.vmap(lambda rate, m, o=optimizer: o(rate).init(m)), (None, 0))(
                    rates, spread
                )
            )
            diverged.append(jnp.full((self._problem.seeds, len(rates)), -1, jnp.int32))
        return Runs(tuple(models), tuple(states), tuple(diverged))

    def advance(self, runs: Runs, first: int, last: int) -> Runs:
        return jax.block_until_ready(self._advance(runs, first, last))

    def evaluated(self, runs: Runs) -> tuple[Any, ...]:
        return self._evaluated(runs) if self._elsewhere else runs.models

    def preconditioners(self, runs: Runs) -> tuple[Any, ...]:
        return self._preconditioned(runs)

    def _preconditioners(self, runs: Runs) -> tuple[Any, ...]:
        found = []
        for optimizer, rates, states in zip(
            self._optimizers, self._rates, runs.states, strict=True
        ):
            made = optimizer(rates[0])
            known = isinstance(made, Preconditioned)
            found.append(jax.vmap(jax.vmap(made.preconditioner))(states) if known else None)
        return tuple(found)

    def _evaluation_points(self, runs: Runs) -> tuple[Any, ...]:
        models = []
        for index, (optimizer, rates) in enumerate(zip(self._optimizers, self._rates, strict=True)):
            transformation = optimizer(rates[0])
            model = runs.models[index]
            if isinstance(transformation, EvaluatedElsewhere):
                point = transformation.evaluation_point
                model = jax.vmap(jax.vmap(point))(runs.states[index], model)
            models.append(model)
        return tuple(models)

    def _step(self, step: jax.Array, runs: Runs) -> Runs:
        data = self._problem.training_data(step)
        # One call for the runs of all optimizers, so that the threads share them evenly.
        together = jax.tree.map(lambda *a: jnp.concatenate(a, axis=1), *runs.models)
        losses, gradients = jax.vmap(jax.vmap(self._problem.value_and_gradient, (0, None)))(
            together, data
        )
        models, states, diverged, start = [], [], [], 0
        for index, (optimizer, rates) in enumerate(zip(self._optimizers, self._rates, strict=True)):
            mine = slice(start, start + len(rates))
            start += len(rates)

            def update(
                rate, gradient, state, model, loss, diverged_at, prompts, optimizer=optimizer
            ):
                keywords = self._problem.keywords(model, prompts, loss, gradient)
                updates, state = optimizer(rate).update(gradient, state, model, **keywords)  # pyright: ignore[reportCallIssue]
                model = optax.apply_updates(model, updates)
                # The loss is that of the iterate before this update, the model the one after it.
                lost = jnp.where(jnp.isfinite(loss), step + 1, step)
                now = (diverged_at < 0) & ~(jnp.isfinite(loss) & _all_finite(model))
                diverged_at = jnp.where(now, lost, diverged_at)
                alive = diverged_at < 0
                model = jax.tree.map(lambda a: jnp.where(alive, a, jnp.nan), model)
                return model, state, diverged_at

            over_rates = jax.vmap(update, (0, 0, 0, 0, 0, 0, None))
            updated = jax.vmap(over_rates, (None, 0, 0, 0, 0, 0, 0))(
                rates,
                jax.tree.map(lambda a, mine=mine: a[:, mine], gradients),
                runs.states[index],
                runs.models[index],
                losses[:, mine],
                runs.diverged_at[index],
                data,
            )
            models.append(updated[0])
            states.append(updated[1])
            diverged.append(updated[2])
        return Runs(tuple(models), tuple(states), tuple(diverged))


def _prepared(group: Group, clip: float | None) -> OptaxFactory:
    factory = group.factory
    assert not isinstance(factory, Outside)
    return clipped(lambda rate: accepting(factory(rate)), clip)


def _all_finite(tree: Any) -> jax.Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(a)) for a in jax.tree.leaves(tree)]))

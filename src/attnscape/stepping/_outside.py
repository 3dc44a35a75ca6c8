"""Optimizers outside of JAX: their runs are stepped one after the other, on the same prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from attnscape.errors import UsageError
from attnscape.loading import told
from attnscape.stepping._problem import Group, Problem, Runs
from attnscape.transformations import Outside, OutsideRun


class _Run:
    """One run: the parameters that its optimizer changes in place, and whether it is alive."""

    def __init__(self, name: str, factory: Outside, rate: float, leaves: list[np.ndarray]) -> None:
        self.name, self.leaves, self.diverged_at = name, leaves, -1
        try:
            self._optimizer: OutsideRun = factory.start(rate, leaves)
        except (UsageError, KeyboardInterrupt):
            raise
        except BaseException as error:  # a user's part may also leave by sys.exit
            raise UsageError(f"The optimizer {name} failed: {told(error)}.") from error

    def step(self, number: int, loss_and_gradient: Any, data: Any) -> None:
        """Update `number` on its batch."""
        if self.diverged_at >= 0:
            return
        losses, norm = [], np.ones(())

        def here() -> tuple[float, Sequence[jax.Array]]:
            nonlocal norm
            # What is called is done before the optimizer goes on to change the arrays.
            loss, gradient, norm = jax.block_until_ready(
                loss_and_gradient(self.leaves, data, norm, not losses)
            )
            losses.append(float(loss))
            return losses[-1], gradient

        try:
            self._optimizer.step(here)
        except (UsageError, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise UsageError(f"The optimizer {self.name} failed: {told(error)}.") from error
        finite = all(np.isfinite(losses[:1]))
        if not finite or not all(np.isfinite(leaf).all() for leaf in self.leaves):
            self.diverged_at = number + 1 if finite else number

    def evaluation_point(self) -> list[np.ndarray]:
        """What measures look at; NaN after divergence."""
        if self.diverged_at >= 0:
            return [np.full_like(leaf, np.nan) for leaf in self.leaves]
        return [np.array(leaf) for leaf in self._optimizer.evaluation_point()]


class OutsideJax:
    """Runs of optimizers that keep their state to themselves: they go forwards only."""

    def __init__(self, problem: Problem, groups: Sequence[Group]) -> None:
        self.groups: tuple[Group, ...] = tuple(groups)
        self._problem = problem
        self._tree = jax.tree.structure(problem.first_model)
        self._loss_and_gradient = jax.jit(self._clipped)
        self._data = jax.jit(self._by_seed)
        self._runs: list[list[list[_Run]]] = []  # group, seed, learning rate

    def start(self, initial_models: Any, data_keys: jax.Array) -> Runs:
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(initial_models)]
        self._runs = [
            [
                [
                    # A new array for each run: optimizers write into it.
                    _Run(group.name, _outside(group), rate, [np.array(a[seed]) for a in leaves])
                    for rate in group.learning_rates
                ]
                for seed in range(len(data_keys))
            ]
            for group in self.groups
        ]
        return self._snapshot(data_keys)

    def advance(self, runs: Runs, first: int, last: int) -> Runs:
        for number in range(first, last):
            for seed, data in enumerate(self._data(runs.data_keys, number)):
                for of_group in self._runs:
                    for run in of_group[seed]:
                        run.step(number, self._loss_and_gradient, data)
        return self._snapshot(runs.data_keys)

    def evaluated(self, runs: Runs) -> tuple[Any, ...]:
        return runs.models

    def preconditioners(self, runs: Runs) -> tuple[Any, ...]:
        return (None,) * len(self.groups)

    def _clipped(
        self, leaves: list[jax.Array], data: Any, norm: jax.Array, first: jax.Array
    ) -> tuple[jax.Array, list[jax.Array], jax.Array]:
        """Loss and gradient, both times the factor that clips the gradient at the first point.

        So they are one function along a step, for line searches; `norm` is that of the gradient at
        its first point.
        """
        model = jax.tree.unflatten(self._tree, leaves)
        loss, gradient = self._problem.value_and_gradient(model, data)
        clip = self._problem.clip
        if clip is not None:
            norm = jnp.where(first, optax.tree.norm(gradient), norm).astype(loss.dtype)
            loss, gradient = jax.tree.map(
                lambda a: jnp.where(norm < clip, a, a / norm * clip), (loss, gradient)
            )
        return loss, jax.tree.leaves(gradient), norm

    def _by_seed(self, data_keys: jax.Array, step: jax.Array) -> list[Any]:
        data = self._problem.training_data(data_keys, step)
        return [jax.tree.map(lambda a, s=s: a[s], data) for s in range(len(data_keys))]

    def _snapshot(self, data_keys: jax.Array) -> Runs:
        models, diverged = [], []
        for of_group in self._runs:
            points = [[run.evaluation_point() for run in of_seed] for of_seed in of_group]
            leaves = [
                jnp.array([[run[k] for run in of_seed] for of_seed in points])
                for k in range(self._tree.num_leaves)
            ]
            models.append(jax.tree.unflatten(self._tree, leaves))
            diverged.append(np.array([[r.diverged_at for r in s] for s in of_group], np.int32))
        return Runs(data_keys, tuple(models), ((),) * len(models), tuple(diverged))


def _outside(group: Group) -> Outside:
    assert isinstance(group.factory, Outside)
    return group.factory

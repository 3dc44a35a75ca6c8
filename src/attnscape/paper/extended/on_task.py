"""Measures that compare runs on different tasks: on the prompts of one task, and of noise."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, Key, PyTree

from attnscape import objective
from attnscape.measures import Iterate, Measure, Schedule, Variable, every
from attnscape.tasks import Moments, Prompts, Task, derived_key


@dataclasses.dataclass(frozen=True)
class OnTask(Measure):
    """Another measure on the prompts of one task, so that runs on different tasks are comparable.

    Its variables have the names of the other measure's, after `label` and an underscore.

    Attributes:
        schedule: The steps at which it is measured; the schedule of `measure` does not count.
        measure: The other measure; it must not need the run's training batch or state.
        task: The task that all of its prompts come from.
        label: What its variables begin with.
        batch: Prompts of the evaluation batch.
        seed: Seed of the evaluation batch.
    """

    schedule: Schedule
    measure: Measure
    task: Task
    label: str
    batch: int = 1000
    seed: int = 0

    precision = "float64"
    needs_training = False
    needs_draw = False
    needs_state = False

    def __call__(self, iterate: Iterate) -> Mapping[str, Array]:
        def draw(key: Key[Array, ""], count: int) -> Prompts | Moments:
            if objective.sees_moments_only(iterate.model):
                return self.task.sample_moments(key, count, "float64")
            return self.task.sample(key, count, "float64")

        evaluation = draw(jax.random.key(self.seed), self.batch)
        taken = self.measure(dataclasses.replace(iterate, evaluation=evaluation, draw=draw))
        return {f"{self.label}_{name}": value for name, value in taken.items()}

    def variables(self) -> Mapping[str, Variable]:
        return {
            f"{self.label}_{name}": dataclasses.replace(variable, on_evaluation=False)
            for name, variable in self.measure.variables().items()
        }

    def coordinates(self, model: Callable[..., PyTree]) -> Mapping[str, Sequence[object]]:
        return self.measure.coordinates(model)


@dataclasses.dataclass(frozen=True)
class GradientPairs(Measure):
    """Half the squared distance between two stochastic gradients, for several pairs.

    Its mean is the trace of the covariance of such a gradient. No reference gradient enters, so
    that the median over pairs says how large noise typically is, whatever the tails.

    Attributes:
        schedule: The steps at which it is measured.
        pairs: Number of pairs.
        batch: Prompts of a stochastic gradient.
    """

    schedule: Schedule = every(250)
    pairs: int = 50
    batch: int = 100

    precision = "float64"
    needs_training = False
    needs_state = False

    def __call__(self, iterate: Iterate) -> Mapping[str, Array]:
        def gradient(index: Int[Array, ""]) -> Float[Array, " parameter"]:
            prompts = iterate.draw(derived_key(iterate.key, index), self.batch)
            return ravel_pytree(objective.value_and_grad(iterate.model, prompts)[1])[0]

        def half_square(pair: Int[Array, ""]) -> Float[Array, ""]:
            return ((gradient(2 * pair) - gradient(2 * pair + 1)) ** 2).sum() / 2

        return {"squared_noise": jax.lax.map(half_square, jnp.arange(self.pairs), batch_size=10)}

    def variables(self) -> Mapping[str, Variable]:
        return {"squared_noise": Variable("half the squared distance of two gradients", ("pair",))}

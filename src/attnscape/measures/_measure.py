"""What a measure is: a schedule, and named numbers of an iterate."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array

from attnscape import objective
from attnscape.errors import UsageError
from attnscape.prompts import Moments, Prompts
from attnscape.tasks import Task


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The steps at which something is measured; step t is the iterate after t updates.

    Attributes:
        every: A multiple of this many steps, and the last step of the run; 0 for none.
        steps: These steps.
        log_spaced: So many steps, evenly spaced on a log axis, from 1 to the last.

    Raises:
        UsageError: If a number is negative, or nothing is scheduled.
    """

    every: int = 0
    steps: tuple[int, ...] = ()
    log_spaced: int = 0

    def __post_init__(self) -> None:
        if min(self.every, self.log_spaced, *self.steps, 0) < 0:
            raise UsageError(f"{self} has a negative number of steps; give 0 or more.")
        if not (self.every or self.steps or self.log_spaced):
            raise UsageError("The schedule is empty; give every, steps or log_spaced.")

    def most(self, last: int) -> int:
        """No fewer than the scheduled steps from 0 to `last`, without making them."""
        multiples = last // self.every + 2 if self.every else 0
        return multiples + len(self.steps) + self.log_spaced

    def within(self, last: int) -> tuple[int, ...]:
        """The scheduled steps from 0 to `last`, in order; `last` is one of them with `every`."""
        steps = {s for s in self.steps if s <= last}
        if self.every:
            steps.update(range(0, last + 1, self.every), (last,))
        if self.log_spaced and last > 0:
            steps.update(np.geomspace(1, last, self.log_spaced).round().astype(int).tolist())
        return tuple(sorted(steps))


def every(steps: int) -> Schedule:
    """Step 0, every multiple of `steps`, and the last step."""
    return Schedule(every=steps)


def at(*steps: int) -> Schedule:
    """These steps."""
    return Schedule(steps=steps)


def log_spaced(count: int) -> Schedule:
    """`count` steps, evenly spaced on a log axis."""
    return Schedule(log_spaced=count)


class Iterate(eqx.Module):
    """What a measure may look at: one run at one step.

    Attributes:
        model: The model after `step` updates.
        training: The batch that the next update will use; None for measures that do without
            (`Measure.needs_training`), as drawing it takes time.
        evaluation: A batch that stays the same along the run. Where there are several, a measure is
            called for one after the other.
        key: For further draws of the measure's own; a new one for each seed and step.
        draw: `(key, batch)` to further prompts (or moments, where they are all the model sees);
            None for measures that do without (`Measure.needs_draw`).
        optimizer_state: The optax state; None where there is no run, and for measures that do
            without (`Measure.needs_state`).
        update: What the next update adds to the model (leaves as the model's), for measures that
            ask for it (`Measure.needs_update`).
        preconditioner: What the optimizer's last update divided by (leaves as the model's), for
            measures that ask for it (`Measure.needs_preconditioner`); None where the optimizer does
            not say (`attnscape.transformations.Preconditioned`).
    """

    model: Callable[..., Any]
    training: Any  # Prompts | Moments, but for measures that declared to do without
    evaluation: Prompts | Moments
    key: Array
    draw: Any = eqx.field(static=True)  # Callable[[Array, int], Prompts | Moments] | None
    optimizer_state: Any = None
    update: Any = None
    preconditioner: Any = None

    @classmethod
    def of(
        cls,
        model: Callable[..., Any],
        task: Task,
        *,
        seed: int = 0,
        batch: int = 1000,
        dtype: jax.typing.DTypeLike = "float32",
    ) -> Iterate:
        """An iterate of given parameters, for measures outside of a run."""

        def draw(key: Array, count: int) -> Prompts | Moments:
            if objective.sees_moments_only(model):
                return task.sample_moments(key, count, dtype)
            return task.sample(key, count, dtype)

        training, evaluation, key = jax.random.split(jax.random.key(seed), 3)
        return cls(model, draw(training, batch), draw(evaluation, batch), key, draw)


@dataclasses.dataclass(frozen=True)
class Variable:
    """What a Dataset says of a measured number.

    Attributes:
        long_name: For axes and people.
        dims: Its dims beyond the run's, step and evaluation.
        on_evaluation: Whether it is taken on the evaluation batch, so that there is one number for
            each of several batches.
    """

    long_name: str
    dims: tuple[str, ...] = ()
    on_evaluation: bool = False


class Measure(abc.ABC):
    """The contract of a measure: subclass it as a frozen dataclass.

    Attributes:
        schedule: When it is taken.
        evaluations: On how many of the evaluation batches, the first ones; None for all. Only what
            `Variable.on_evaluation` marks is taken on more than the first.
        needs_training: Whether `Iterate.training` is wanted.
        needs_draw: Whether `Iterate.draw` is wanted. Without it, what is compiled for one task
            serves others of the same shapes.
        needs_state: Whether `Iterate.optimizer_state` is wanted. Without it, what is compiled for
            one optimizer serves others.
        needs_update: Whether `Iterate.update` is wanted.
        needs_preconditioner: Whether `Iterate.preconditioner` is wanted.
        precision: `float64` to be given everything in double precision; None for the run's own.
    """

    schedule: Schedule
    evaluations: int | None = None
    needs_training: ClassVar[bool] = True
    needs_draw: ClassVar[bool] = True
    needs_state: ClassVar[bool] = True
    needs_update: ClassVar[bool] = False
    needs_preconditioner: ClassVar[bool] = False
    precision: ClassVar[str | None] = None

    @abc.abstractmethod
    def __call__(self, iterate: Iterate) -> Mapping[str, Array]:
        """Named numbers (scalars, or arrays of a fixed shape) of one iterate, in JAX."""

    @abc.abstractmethod
    def variables(self) -> Mapping[str, Variable]:
        """Of each name: what the Dataset says of it."""

    def coordinates(self, model: Callable[..., Any]) -> Mapping[str, Sequence[Any]]:
        """Labels along the dims that the measure brings."""
        return {}


def check_measures(measures: Sequence[Measure], evaluations: int) -> None:
    """Whether the measures can be taken together, on so many evaluation batches.

    Raises:
        UsageError: If one asks for batches that are not there, or two that differ in more than
            their schedule and batches fill the same variable.
    """
    by_variable: dict[str, Measure] = {}
    for measure in measures:
        count = measure.evaluations
        if count is not None and not 1 <= count <= evaluations:
            raise UsageError(
                f"{type(measure).__name__} asks for {count} evaluation batches and there are "
                f"{evaluations}; give evaluations from 1 to {evaluations}, or None for all."
            )
        for name in measure.variables():
            other = by_variable.setdefault(name, measure)
            if type(other) is not type(measure) or _kind(other) != _kind(measure):
                raise UsageError(
                    f"Two measures give {name}, {type(other).__name__} and "
                    f"{type(measure).__name__}; they must be of one class and differ in schedule "
                    "and evaluations only."
                )


def _kind(measure: Measure) -> dict[str, Any]:
    """All that decides what is measured, but not when and on how many batches."""
    fields = vars(measure).items()
    return {name: value for name, value in fields if name not in ("schedule", "evaluations")}

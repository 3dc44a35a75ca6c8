"""The contract of a measure: it has a schedule, and computes named numbers from an iterate."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
from jaxtyping import Array, Key, PyTree

from attnscape import objective
from attnscape.errors import UsageError
from attnscape.measures._schedule import Schedule
from attnscape.tasks import Moments, Prompts, Task


class Iterate(eqx.Module):
    """The argument of a measure: one run at one step.

    Attributes:
        model: The model after `step` updates.
        training: The batch of the next update; None if `Measure.needs_training` is false, because
            drawing it takes time.
        evaluation: A batch that stays the same along the run. If there are several, the measure is
            called for one after the other.
        key: A random key for further draws of the measure; it differs for each seed and step.
        draw: Function `(key, batch)` that draws further prompts (or moments, if the model depends
            on nothing else); None if `Measure.needs_draw` is false.
        optimizer_state: The optax state; None if there is no run, or if `Measure.needs_state` is
            false.
        update: The change of the model in the next update, with the model's leaves; None unless
            `Measure.needs_update` is true.
        preconditioner: The divisor in the optimizer's last update, with the model's leaves; None
            unless `Measure.needs_preconditioner` is true and the optimizer provides it
            (`attnscape.optimizers.Preconditioned`).

    Examples:
        >>> import jax
        >>> from attnscape import LinearTransformer, RegressionTask
        >>> from attnscape.measures import Iterate
        >>> model = LinearTransformer.init(jax.random.key(0), dim=2)
        >>> Iterate.of(model, RegressionTask(dim=2), batch=10).evaluation.query.shape
        (10, 2)
    """

    model: Callable[..., PyTree]
    # `training` and `draw` are None only for measures that declare not to need them. With
    # `| None` in their types, every other measure would have to check that they are not None.
    training: Any  # Prompts | Moments
    evaluation: Prompts | Moments
    key: Key[Array, ""]
    draw: Any = eqx.field(static=True)  # Callable[[Array, int], Prompts | Moments]
    optimizer_state: PyTree = None
    update: PyTree = None
    preconditioner: PyTree = None

    @classmethod
    def of(
        cls,
        model: Callable[..., PyTree],
        task: Task,
        *,
        seed: int = 0,
        batch: int = 1000,
        dtype: jax.typing.DTypeLike = "float32",
    ) -> Iterate:
        """An iterate with given parameters, for measures outside of a run.

        Args:
            model: The model with its parameters.
            task: The task that prompts are drawn from.
            seed: Seed of the batches and of the measure's draws.
            batch: Prompts of the training batch and of the evaluation batch.
            dtype: Type of the prompts.
        """

        def draw(key: Key[Array, ""], count: int) -> Prompts | Moments:
            if objective.sees_moments_only(model):
                return task.sample_moments(key, count, dtype)
            return task.sample(key, count, dtype)

        training, evaluation, key = jax.random.split(jax.random.key(seed), 3)
        return cls(model, draw(training, batch), draw(evaluation, batch), key, draw)


@dataclasses.dataclass(frozen=True)
class Variable:
    """The description of a measured number in a Dataset.

    Attributes:
        long_name: Its name in words, for axes.
        dims: Its dims in addition to those of the runs, step and evaluation.
        on_evaluation: Whether it is measured on the evaluation batch; then there is one number for
            each batch.

    Examples:
        >>> from attnscape.measures import Variable
        >>> Variable("norms of the rows of the Hessian", ("parameter",), on_evaluation=True).dims
        ('parameter',)
    """

    long_name: str
    dims: tuple[str, ...] = ()
    on_evaluation: bool = False


class Measure(abc.ABC):
    """The contract of a measure: subclass it as a frozen dataclass.

    `attnscape check measure my_file.py:Thing` says whether a measure keeps it.

    Attributes:
        schedule: The steps at which it is measured.
        evaluations: The number of evaluation batches, from the first on; None for all. Only
            variables with `Variable.on_evaluation` are measured on more than the first.
        needs_training: Whether it uses `Iterate.training`.
        needs_draw: Whether it uses `Iterate.draw`. If not, one compiled program works for all tasks
            with the same shapes.
        needs_state: Whether it uses `Iterate.optimizer_state`. If not, one compiled program works
            for all optimizers.
        needs_update: Whether it uses `Iterate.update`.
        needs_preconditioner: Whether it uses `Iterate.preconditioner`.
        precision: `float64` to get all arguments in double precision; None for the run's precision.

    Examples:
        >>> import dataclasses
        >>> from attnscape.measures import Measure, Schedule, Variable, every
        >>> @dataclasses.dataclass(frozen=True)
        ... class LargestEntry(Measure):
        ...     schedule: Schedule = every(10)
        ...     def __call__(self, iterate):
        ...         return {"largest_entry": abs(iterate.model.P).max()}
        ...     def variables(self):
        ...         return {"largest_entry": Variable("largest entry of P")}
        >>> LargestEntry(every(50)).schedule.within(100)
        (0, 50, 100)
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
        """The descriptions of the numbers in the Dataset, by name."""

    def coordinates(self, model: Callable[..., PyTree]) -> Mapping[str, Sequence[object]]:
        """Labels along the dims that the measure adds."""
        return {}


def check_measures(measures: Sequence[Measure], evaluations: int) -> None:
    """Checks that measures can be used together.

    Args:
        measures: The measures of one experiment.
        evaluations: The number of evaluation batches.

    Raises:
        UsageError: If one needs more batches than there are, or two have the same variable and
            differ in more than their schedule and number of batches.

    Examples:
        >>> from attnscape.measures import EvaluationLoss, at, check_measures, every
        >>> check_measures([EvaluationLoss(every(10)), EvaluationLoss(at(5))], evaluations=1)
        >>> check_measures([EvaluationLoss(evaluations=3)], evaluations=2)
        Traceback (most recent call last):
            ...
        attnscape.errors.UsageError: EvaluationLoss asks for 3 evaluation batches and there are 2...
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
            if quantity_of(other) != quantity_of(measure):
                raise UsageError(
                    f"Two measures give {name}, {type(other).__name__} and "
                    f"{type(measure).__name__}; they must be of one class and differ in schedule "
                    "and evaluations only."
                )


def quantity_of(measure: Measure) -> tuple[type[Measure], dict[str, object]]:
    """What determines a measure's numbers: its class and its fields, but not when it is measured.

    Examples:
        >>> from attnscape.measures import EvaluationLoss, every, quantity_of
        >>> quantity_of(EvaluationLoss(every(5))) == quantity_of(EvaluationLoss(evaluations=1))
        True
    """
    fields = vars(measure).items()
    left_out = ("schedule", "evaluations")
    return type(measure), {name: value for name, value in fields if name not in left_out}

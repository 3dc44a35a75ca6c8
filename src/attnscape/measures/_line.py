"""The loss along straight lines: from an iterate to the next, or between any two."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from attnscape import objective
from attnscape.errors import UsageError
from attnscape.measures._measure import Iterate, Measure, Variable
from attnscape.measures._schedule import Schedule, every
from attnscape.tasks import Moments, Prompts


@dataclasses.dataclass(frozen=True)
class LossAlongStep(Measure):
    """The loss at x_t + a (x_{t+1} - x_t) on the evaluation batch, for fractions a of the step.

    Where it is smallest at a below 1 the step went past the floor of its valley (Xing et al., 2018,
    "A walk with SGD"). For lines between iterates that are farther apart save the parameters, and
    see `loss_along_line`.

    Attributes:
        schedule: The steps at which it is measured.
        evaluations: The number of evaluation batches; None for all.
        fractions: The values of a: 0 is the iterate, 1 the next.

    Raises:
        UsageError: If there is no fraction.

    Examples:
        >>> import dataclasses
        >>> import jax
        >>> from attnscape import LinearTransformer, RegressionTask
        >>> from attnscape.measures import Iterate, LossAlongStep
        >>> zero = LinearTransformer.init(jax.random.key(0), dim=2, scale=0.0)
        >>> still = dataclasses.replace(Iterate.of(zero, RegressionTask(dim=2)), update=zero)
        >>> losses = LossAlongStep(fractions=(0.0, 1.0))(still)["loss_along_step"]
        >>> bool(losses[0] == losses[1])
        True
    """

    schedule: Schedule = every(50)
    evaluations: int | None = None
    fractions: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)

    precision = "float64"
    needs_training = False
    needs_draw = False
    needs_state = False
    needs_update = True

    def __post_init__(self) -> None:
        if not self.fractions:
            raise UsageError("fractions is empty; give at least one fraction of the step.")

    def __call__(self, iterate: Iterate) -> Mapping[str, Array]:
        losses = _losses(iterate.model, iterate.update, iterate.evaluation, self.fractions)
        return {"loss_along_step": losses}

    def variables(self) -> Mapping[str, Variable]:
        return {
            "loss_along_step": Variable(
                "loss along the line to the next iterate", ("step_fraction",), on_evaluation=True
            )
        }

    def coordinates(self, model: Callable[..., PyTree]) -> Mapping[str, Sequence[object]]:
        return {"step_fraction": self.fractions}


def loss_along_line(
    model: Callable[..., PyTree],
    first: ArrayLike,
    second: ArrayLike,
    prompts: Prompts | Moments,
    fractions: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0),
) -> Float[Array, " fraction"]:
    """The loss at first + a (second - first) on given prompts, for fractions a of the way.

    The barrier between two points is by how much the largest of these losses exceeds the mean of
    those at both ends (Frankle et al., 2020, "Linear mode connectivity and the lottery ticket
    hypothesis", sec. 2).

    Args:
        model: A model of the form of both; its own parameters do not matter.
        first: (p,) parameters in the order of `attnscape.hessian`, such as saved ones of a run.
        second: The same of the other end.
        prompts: Prompts, or their moments if the model is linear attention.
        fractions: The values of a; also below 0 or above 1.

    Raises:
        UsageError: If the vectors have not as many entries as the model has parameters.

    Examples:
        >>> import jax
        >>> import numpy as np
        >>> from attnscape import LinearTransformer, RegressionTask
        >>> from attnscape.measures import loss_along_line
        >>> model = LinearTransformer.init(jax.random.key(0), layers=1, dim=1)  # linear in Q
        >>> prompts = RegressionTask(dim=1).sample_moments(jax.random.key(1), batch=100)
        >>> start, end = np.array([0.0, 0.0]), np.array([0.0, -2.0])  # of P and Q
        >>> losses = loss_along_line(model, start, end, prompts, (0.0, 0.5, 1.0))
        >>> round(float((losses[0] + losses[2]) / 2 - losses[1]), 2) > 0  # convex
        True
    """
    parameters, unravel = ravel_pytree(eqx.filter(model, eqx.is_inexact_array))
    ends = [jnp.asarray(end, parameters.dtype) for end in (first, second)]
    for end in ends:
        if end.shape != parameters.shape:
            raise UsageError(
                f"The parameters have shape {end.shape} and the model's have {parameters.shape}; "
                "give vectors in the order of its Hessian."
            )
    start, change = unravel(ends[0]), unravel(ends[1] - ends[0])
    return _losses(eqx.combine(start, model), change, prompts, fractions)


def _losses(
    model: Callable[..., PyTree],
    change: PyTree[Float[Array, ...]],
    prompts: Prompts | Moments,
    fractions: Sequence[float],
) -> Float[Array, " fraction"]:
    """The losses at the model's parameters plus fractions of the change."""
    here, static = eqx.partition(model, eqx.is_inexact_array)

    def at(fraction: Float[Array, ""]) -> Float[Array, ""]:
        moved = jax.tree.map(lambda a, by: a + fraction * by, here, change)
        return objective.loss(eqx.combine(moved, static), prompts)

    return jax.lax.map(at, jnp.asarray(fractions, jax.tree.leaves(here)[0].dtype))

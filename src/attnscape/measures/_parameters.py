"""The parameters themselves, so that runs can be looked at later, or start from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import equinox as eqx
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from attnscape import objective
from attnscape.measures._measure import Iterate, Measure, Variable
from attnscape.measures._schedule import Schedule, every


@dataclasses.dataclass(frozen=True)
class Parameters(Measure):
    """`parameters`: all parameters in one vector, in the order of the Hessian's rows.

    They are those that the optimizer is judged at (`attnscape.optimizers.WithEvalParams`). The
    `start` of `attnscape.train` takes them.

    Attributes:
        schedule: The steps at which they are stored.

    Examples:
        >>> import jax
        >>> from attnscape import LinearTransformer, RegressionTask
        >>> from attnscape.measures import Iterate, Parameters
        >>> iterate = Iterate.of(LinearTransformer.init(jax.random.key(0)), RegressionTask())
        >>> Parameters()(iterate)["parameters"].shape
        (150,)
    """

    schedule: Schedule = every(500)

    needs_training = False
    needs_draw = False
    needs_state = False

    def __call__(self, iterate: Iterate) -> Mapping[str, Array]:
        leaves = eqx.filter(iterate.model, eqx.is_inexact_array)
        return {"parameters": ravel_pytree(leaves)[0]}

    def variables(self) -> Mapping[str, Variable]:
        return {"parameters": Variable("parameters", ("parameter",))}

    def coordinates(self, model: Callable[..., PyTree]) -> Mapping[str, Sequence[object]]:
        return {"parameter": objective.parameter_blocks(model)}

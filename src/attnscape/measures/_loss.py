"""Losses and gradient norms along a run: on fixed batches and on the batch of each step."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from attnscape import objective
from attnscape.errors import UsageError
from attnscape.measures._measure import Iterate, Measure, Variable
from attnscape.measures._schedule import Schedule, at, every
from attnscape.tasks import derived_key


@dataclasses.dataclass(frozen=True)
class EvaluationLoss(Measure):
    """`loss` on a batch that stays the same along the run: the loss that the paper plots.

    Attributes:
        schedule: The steps at which it is measured.
        evaluations: The number of evaluation batches; None for all.

    Examples:
        >>> import jax
        >>> from attnscape import LinearTransformer, RegressionTask
        >>> from attnscape.measures import EvaluationLoss, Iterate
        >>> model = LinearTransformer.init(jax.random.key(0))
        >>> iterate = Iterate.of(model, RegressionTask())
        >>> EvaluationLoss()(iterate)["loss"].shape
        ()
    """

    schedule: Schedule = every(50)
    evaluations: int | None = None

    needs_training = False
    needs_draw = False
    needs_state = False

    def __call__(self, iterate: Iterate) -> Mapping[str, Array]:
        return {"loss": objective.loss(iterate.model, iterate.evaluation)}

    def variables(self) -> Mapping[str, Variable]:
        return {"loss": Variable("loss on a fixed batch", on_evaluation=True)}


_PIECE = 1000  # prompts of the large batch processed at a time
_LARGE_BATCH_STREAM = 2  # evaluation batches of the same seed have stream 1


@dataclasses.dataclass(frozen=True)
class LargeBatchLoss(Measure):
    """`large_batch_loss` on a fixed batch so large that it holds rare prompts.

    The loss of a linear Transformer is a polynomial of high degree in the covariates, so a few
    prompts can dominate it. It is computed in double precision, with memory that does not grow with
    the batch.

    Attributes:
        schedule: The steps at which it is measured.
        batch: Prompts of the batch, a multiple of 1000.
        seed: Seed of the batch.

    Raises:
        UsageError: If batch is not a positive multiple of 1000.

    Examples:
        >>> import jax
        >>> from attnscape import LinearTransformer, RegressionTask
        >>> from attnscape.measures import Iterate, LargeBatchLoss
        >>> zero = LinearTransformer.init(jax.random.key(0), dim=2, scale=0.0)  # predicts 0
        >>> iterate = Iterate.of(zero, RegressionTask(dim=2), batch=10)
        >>> round(float(LargeBatchLoss(batch=10_000)(iterate)["large_batch_loss"]))  # d
        2
    """

    schedule: Schedule = at(0)
    batch: int = 100_000
    seed: int = 0

    precision = "float64"
    needs_training = False
    needs_state = False

    def __post_init__(self) -> None:
        if self.batch < _PIECE or self.batch % _PIECE:
            raise UsageError(f"batch is {self.batch}; it must be a multiple of {_PIECE}.")

    def __call__(self, iterate: Iterate) -> Mapping[str, Array]:
        batch_key = jax.random.fold_in(jax.random.key(self.seed), _LARGE_BATCH_STREAM)

        def piece(index: Int[Array, ""]) -> Float[Array, ""]:
            prompts = iterate.draw(derived_key(batch_key, index), _PIECE)
            return objective.loss(iterate.model, prompts)

        losses = jax.lax.map(piece, jnp.arange(self.batch // _PIECE))
        return {"large_batch_loss": losses.mean()}

    def variables(self) -> Mapping[str, Variable]:
        return {"large_batch_loss": Variable("loss on a large fixed batch")}


@dataclasses.dataclass(frozen=True)
class TrainingLoss(Measure):
    """`training_loss` and `gradient_norm` (before clipping) on the batch of the next update.

    Attributes:
        schedule: The steps at which they are measured.

    Examples:
        >>> import jax
        >>> from attnscape import LinearTransformer, RegressionTask
        >>> from attnscape.measures import Iterate, TrainingLoss
        >>> zero = LinearTransformer.init(jax.random.key(0), dim=2, form="full", scale=0.0)
        >>> iterate = Iterate.of(zero, RegressionTask(dim=2), batch=10)
        >>> float(TrainingLoss()(iterate)["gradient_norm"])  # zero matrices are a saddle
        0.0
    """

    schedule: Schedule = every(50)

    needs_draw = False
    needs_state = False

    def __call__(self, iterate: Iterate) -> Mapping[str, Array]:
        loss, gradient = objective.value_and_grad(iterate.model, iterate.training)
        return {"training_loss": loss, "gradient_norm": optax.tree.norm(gradient)}

    def variables(self) -> Mapping[str, Variable]:
        return {
            "training_loss": Variable("loss on the batch of the step"),
            "gradient_norm": Variable("norm of the gradient on the batch of the step"),
        }

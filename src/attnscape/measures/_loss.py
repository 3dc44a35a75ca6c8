"""Losses and gradient norms along a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import optax
from jaxtyping import Array

from attnscape import objective
from attnscape.measures._measure import Iterate, Measure, Schedule, Variable, every


@dataclasses.dataclass(frozen=True)
class EvaluationLoss(Measure):
    """`loss`: on a batch that stays the same along the run (the loss that the paper plots)."""

    schedule: Schedule = every(50)

    needs_training = False
    needs_draw = False
    needs_state = False

    def __call__(self, iterate: Iterate) -> Mapping[str, Array]:
        return {"loss": objective.loss(iterate.model, iterate.evaluation)}

    def variables(self) -> Mapping[str, Variable]:
        return {"loss": Variable("loss on a fixed batch")}


@dataclasses.dataclass(frozen=True)
class TrainingLoss(Measure):
    """`training_loss` and `gradient_norm` (before clipping) on the batch of the next update."""

    schedule: Schedule = every(50)

    needs_draw = False
    needs_state = False

    def __call__(self, iterate: Iterate) -> Mapping[str, Array]:
        loss, gradient = objective.value_and_gradient(iterate.model, iterate.training)
        return {"training_loss": loss, "gradient_norm": optax.tree.norm(gradient)}

    def variables(self) -> Mapping[str, Variable]:
        return {
            "training_loss": Variable("loss on the batch of the step"),
            "gradient_norm": Variable("norm of the gradient on the batch of the step"),
        }

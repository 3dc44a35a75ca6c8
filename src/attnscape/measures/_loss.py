"""Losses and gradient norms along a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import optax
from jaxtyping import Array

from attnscape import objective
from attnscape.measures._measure import Iterate, Schedule, every


@dataclasses.dataclass(frozen=True)
class EvaluationLoss:
    """`loss`: on a batch that stays the same along the run (the loss that the paper plots)."""

    schedule: Schedule = every(50)

    def __call__(self, iterate: Iterate) -> Mapping[str, Array]:
        """The loss of one run."""
        return {"loss": objective.loss(iterate.model, iterate.evaluation)}

    def attributes(self) -> Mapping[str, Mapping[str, Any]]:
        """Labels of `loss`."""
        return {"loss": {"long_name": "loss on a fixed batch"}}


@dataclasses.dataclass(frozen=True)
class TrainingLoss:
    """`training_loss` and `gradient_norm` (before clipping) on the batch of the next update."""

    schedule: Schedule = every(50)

    def __call__(self, iterate: Iterate) -> Mapping[str, Array]:
        """Loss and gradient norm of one run."""
        loss, gradient = objective.value_and_gradient(iterate.model, iterate.training)
        return {"training_loss": loss, "gradient_norm": optax.global_norm(gradient)}

    def attributes(self) -> Mapping[str, Mapping[str, Any]]:
        """Labels of both."""
        return {
            "training_loss": {"long_name": "loss on the batch of the step"},
            "gradient_norm": {"long_name": "norm of the gradient on the batch of the step"},
        }

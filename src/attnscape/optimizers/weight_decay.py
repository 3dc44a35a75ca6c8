"""Decoupled weight decay for any optimizer (Loshchilov and Hutter, 2019, AdamW)."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable
from typing import Any

import optax

from attnscape.errors import UsageError
from attnscape.optimizers.binding import WithGiven, Wrapped
from attnscape.optimizers.schedules import Scheduled
from attnscape.optimizers.transformations import (
    ExternalOptimizer,
    Factory,
    OptaxFactory,
    Rate,
    Transformation,
    WithEvalParams,
)
from attnscape.optimizers.wrapping import around, extended


@dataclasses.dataclass(frozen=True)
class Decayed(Wrapped):
    """What `decayed` makes of a factory without weight decay of its own.

    Attributes:
        factory: The factory.
        weight_decay: The weight decay.
    """

    weight_decay: float

    def __call__(self, learning_rate: Rate) -> Transformation:
        inner = self.factory(learning_rate)
        if not self.weight_decay:
            return inner
        if isinstance(inner, WithEvalParams):
            raise UsageError(
                "Weight decay cannot be added to an optimizer that is evaluated at another point "
                "than that of its gradients, as it would move only one of the two; choose one that "
                "has an argument weight_decay, such as schedule-free-adamw."
            )
        decay = optax.add_decayed_weights(-learning_rate * self.weight_decay)
        return around(inner, optax.chain(extended(inner), decay), lambda state: state[0])


def decayed(factory: Factory, weight_decay: float) -> OptaxFactory:
    """A factory whose updates also take away rate times weight decay times each parameter.

    This is AdamW's decay: of all parameters, and not scaled by the optimizer's preconditioner, with
    the rate of the update if that has a schedule, and after gradients were clipped. A factory with
    an argument `weight_decay` gets it there in place of the argument's default, and decays as it
    does by itself: LAMB before its trust ratio, Prodigy by its estimated rate, Muon only matrices.

    Args:
        factory: The factory.
        weight_decay: At least 0; 0 takes an optimizer's own decay away.

    Raises:
        UsageError: If the weight decay is negative or not finite, or the optimizer is external.

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape.optimizers import decayed, sgd
        >>> method, point = decayed(sgd, 0.1)(0.5), jnp.array([100.0, -100.0])
        >>> updates, _ = method.update(jnp.ones(2), method.init(point), point)
        >>> [round(u, 3) for u in updates.tolist()]  # -0.5 (gradient + 0.1 point)
        [-5.5, 4.5]
    """
    if not (math.isfinite(weight_decay) and weight_decay >= 0):
        raise UsageError(
            f"The weight decay {weight_decay} is not usable; it must be finite and at least 0."
        )
    if isinstance(factory, ExternalOptimizer):
        raise UsageError(
            "Weight decay is not added to PyTorch's optimizers, which decay in ways of their own; "
            "write a function of (parameters, lr) that gives weight_decay."
        )
    if isinstance(factory, Scheduled):  # the decay has the rate of the update
        inner = decayed(factory.factory, weight_decay)
        return dataclasses.replace(factory, factory=inner)
    if takes_weight_decay(factory):
        return WithGiven(factory, (("weight_decay", weight_decay),))
    return Decayed(factory, weight_decay)


def takes_weight_decay(factory: Callable[..., Any]) -> bool:
    """Whether a factory has an argument `weight_decay`."""
    try:
        return "weight_decay" in inspect.signature(factory).parameters
    except (TypeError, ValueError):  # it has no signature
        return False

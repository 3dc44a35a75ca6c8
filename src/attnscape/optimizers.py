"""Optimizers by name: factories that take a learning rate, as optax builds them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax
import optax

from attnscape.errors import UsageError

Factory = Callable[[float], optax.GradientTransformation]


def sgdm(learning_rate: float | jax.Array) -> optax.GradientTransformation:
    """SGD with momentum 0.9, no dampening, no Nesterov."""
    return optax.sgd(learning_rate, momentum=0.9)


def adam(learning_rate: float | jax.Array) -> optax.GradientTransformation:
    """Adam with beta1 = beta2 = 0.9, eps 1e-8, bias correction, no weight decay (the paper's)."""
    return optax.adam(learning_rate, b1=0.9, b2=0.9, eps=1e-8)


NAMED: Mapping[str, Factory] = MappingProxyType({"sgdm": sgdm, "adam": adam})


def by_name(name: str) -> Factory:
    """The factory of that name.

    Raises:
        UsageError: If there is none.
    """
    if name not in NAMED:
        raise UsageError(f"There is no optimizer {name!r}; there are {', '.join(sorted(NAMED))}.")
    return NAMED[name]


def check_learning_rate(learning_rate: float) -> float:
    """The rate itself.

    Raises:
        UsageError: If it is not positive and finite.
    """
    if not (math.isfinite(learning_rate) and learning_rate > 0):
        raise UsageError(
            f"The learning rate {learning_rate} is not usable; it must be positive and finite."
        )
    return float(learning_rate)


def clipped(factory: Factory, clip: float | None) -> Factory:
    """Clips gradients to a global norm before the optimizer sees them.

    Args:
        factory: What the clipped gradient goes to.
        clip: The threshold, or None for no clipping.
    """
    if clip is None:
        return factory
    return lambda learning_rate: optax.chain(
        optax.clip_by_global_norm(clip), factory(learning_rate)
    )

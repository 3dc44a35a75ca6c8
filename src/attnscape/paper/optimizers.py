"""The paper's optimizers on the linear model, with and without momentum."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import optax

from attnscape.optimizers import NAMED, OptaxFactory


def adam_without_momentum(learning_rate: float) -> optax.GradientTransformation:
    """Adam with beta1 = 0 and the paper's beta2 = 0.9."""
    return optax.adam(learning_rate, b1=0.0, b2=0.9)


FOUR: Mapping[str, OptaxFactory] = MappingProxyType(
    {
        "sgd": NAMED["sgd"],
        "sgdm": NAMED["sgdm"],
        "adam-no-momentum": adam_without_momentum,
        "adam": NAMED["adam"],
    }
)
# Each optimizer without momentum, and the same with it.
MOMENTUM_PAIRS = (("sgd", "sgdm"), ("adam-no-momentum", "adam"))

"""The optimizers that the paper's sources train real networks with (Kunstner et al. 2023).

Adam has beta2 = 0.999 there; the linear models of the paper have beta2 = 0.9.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import optax

from attnscape.optimizers import NAMED, OptaxFactory


def adam(learning_rate: float) -> optax.GradientTransformation:
    """Adam with beta1 = 0.9 and beta2 = 0.999."""
    return optax.adam(learning_rate, b1=0.9, b2=0.999)


def adam_without_momentum(learning_rate: float) -> optax.GradientTransformation:
    """Adam with beta1 = 0 and beta2 = 0.999."""
    return optax.adam(learning_rate, b1=0.0, b2=0.999)


WITH_MOMENTUM: Mapping[str, OptaxFactory] = MappingProxyType({"sgdm": NAMED["sgdm"], "adam": adam})
WITHOUT_MOMENTUM: Mapping[str, OptaxFactory] = MappingProxyType(
    {"sgd": NAMED["sgd"], "adam-no-momentum": adam_without_momentum}
)
FOUR: Mapping[str, OptaxFactory] = MappingProxyType({**WITH_MOMENTUM, **WITHOUT_MOMENTUM})

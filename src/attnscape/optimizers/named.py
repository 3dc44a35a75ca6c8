"""The registry of optimizers by name: functions from a learning rate to an optimizer of optax."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from attnscape.errors import UsageError
from attnscape.optimizers.adaptive import (
    adafactor,
    adagrad,
    adam,
    adamw,
    ademamix,
    lamb,
    nadam,
    prodigy,
    rmsprop,
    schedule_free_adamw,
)
from attnscape.optimizers.momentum import (
    lion,
    muon,
    nesterov,
    normalised,
    schedule_free,
    sgd,
    sgdm,
    sign,
    signum,
    sophia,
)
from attnscape.optimizers.second_order import gauss_newton, newton, newton_cg
from attnscape.optimizers.transformations import OptaxFactory

NAMED: Mapping[str, OptaxFactory] = MappingProxyType(
    {
        factory.__name__.replace("_", "-"): factory
        for factory in (
            sgd,
            sgdm,
            nesterov,
            sign,
            signum,
            normalised,
            rmsprop,
            adagrad,
            adam,
            adamw,
            nadam,
            lion,
            adafactor,
            lamb,
            muon,
            sophia,
            schedule_free,
            schedule_free_adamw,
            prodigy,
            ademamix,
            newton,
            gauss_newton,
            newton_cg,
        )
    }
)


PAPER: Mapping[str, OptaxFactory] = MappingProxyType(
    {name: NAMED[name] for name in ("sgdm", "adam")}
)


def check_learning_rate(learning_rate: float) -> float:
    """Returns the learning rate if it can be used.

    Raises:
        UsageError: If it is not positive and finite.

    Examples:
        >>> from attnscape.optimizers import check_learning_rate
        >>> check_learning_rate(0.1)
        0.1
        >>> check_learning_rate(-0.1)
        Traceback (most recent call last):
            ...
        attnscape.errors.UsageError: The learning rate -0.1 is not usable; it must be ...
    """
    if not (math.isfinite(learning_rate) and learning_rate > 0):
        raise UsageError(
            f"The learning rate {learning_rate} is not usable; it must be positive and finite."
        )
    return float(learning_rate)

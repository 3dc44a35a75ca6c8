"""Optimizers by name: factories that take a learning rate, as optax builds them.

Where optax has defaults, the named optimizers take them, except where a docstring says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax
import optax
from optax import contrib

from attnscape.errors import UsageError
from attnscape.transformations import EvaluatedElsewhere, OptaxFactory

Rate = float | jax.Array


def sgd(learning_rate: Rate) -> optax.GradientTransformation:
    """SGD without momentum."""
    return optax.sgd(learning_rate)


def sgdm(learning_rate: Rate) -> optax.GradientTransformation:
    """SGD with momentum 0.9, no dampening, no Nesterov."""
    return optax.sgd(learning_rate, momentum=0.9)


def nesterov(learning_rate: Rate) -> optax.GradientTransformation:
    """SGD with Nesterov momentum 0.9."""
    return optax.sgd(learning_rate, momentum=0.9, nesterov=True)


def sign(learning_rate: Rate) -> optax.GradientTransformation:
    """The sign of the gradient."""
    return optax.sign_sgd(learning_rate)


def signum(learning_rate: Rate) -> optax.GradientTransformation:
    """The sign of the gradients' running mean (0.9)."""
    return optax.signum(learning_rate)


def normalised(learning_rate: Rate) -> optax.GradientTransformation:
    """Momentum 0.9 on gradients divided by their global norm."""
    return optax.chain(contrib.normalize(), optax.sgd(learning_rate, momentum=0.9))


def rmsprop(learning_rate: Rate) -> optax.GradientTransformation:
    """RMSprop, decay 0.9."""
    return optax.rmsprop(learning_rate)


def adagrad(learning_rate: Rate) -> optax.GradientTransformation:
    """Adagrad."""
    return optax.adagrad(learning_rate)


def adam(learning_rate: Rate) -> optax.GradientTransformation:
    """Adam with beta1 = beta2 = 0.9, eps 1e-8, bias correction, no weight decay (the paper's)."""
    return optax.adam(learning_rate, b1=0.9, b2=0.9, eps=1e-8)


def adamw(learning_rate: Rate) -> optax.GradientTransformation:
    """AdamW, beta2 0.999, weight decay 1e-4."""
    return optax.adamw(learning_rate)


def nadam(learning_rate: Rate) -> optax.GradientTransformation:
    """Adam with Nesterov momentum, beta2 0.999."""
    return optax.nadam(learning_rate)


def lion(learning_rate: Rate) -> optax.GradientTransformation:
    """Lion, beta1 0.9, beta2 0.99, no weight decay."""
    return optax.lion(learning_rate, weight_decay=0.0)


def adafactor(learning_rate: Rate) -> optax.GradientTransformation:
    """Adafactor with a given rate; matrices here are too small to be factored."""
    return optax.adafactor(learning_rate)


def lamb(learning_rate: Rate) -> optax.GradientTransformation:
    """LAMB, no weight decay."""
    return optax.lamb(learning_rate)


def muon(learning_rate: Rate) -> optax.GradientTransformation:
    """Muon on the matrices of every layer, Adam on all other parameters, at the same rate."""

    def matrices(parameters: Any) -> Any:
        def of(leaf: jax.Array) -> contrib.MuonDimensionNumbers | None:
            return contrib.MuonDimensionNumbers(-2, -1) if leaf.ndim >= 2 else None

        return jax.tree.map(of, parameters)

    return contrib.muon(learning_rate, muon_weight_dimension_numbers=matrices)


def sophia(learning_rate: Rate) -> optax.GradientTransformation:
    """Sophia-H: clipped by a Hutchinson estimate of the Hessian diagonal, made every 10 steps."""
    return contrib.sophia(learning_rate, weight_decay=0.0)


def schedule_free(learning_rate: Rate) -> EvaluatedElsewhere:
    """Schedule-free SGD, beta 0.9, measured at the average x (Defazio et al., 2024)."""
    method = contrib.schedule_free_sgd(learning_rate)
    return EvaluatedElsewhere(method.init, method.update, contrib.schedule_free_eval_params)


def schedule_free_adamw(learning_rate: Rate) -> EvaluatedElsewhere:
    """Schedule-free AdamW, no weight decay, measured at the average x (Defazio et al., 2024)."""
    method = contrib.schedule_free_adamw(learning_rate)
    return EvaluatedElsewhere(method.init, method.update, contrib.schedule_free_eval_params)


def prodigy(learning_rate: Rate) -> optax.GradientTransformation:
    """Prodigy; the learning rate multiplies the one that it estimates."""
    return contrib.prodigy(learning_rate)


def ademamix(learning_rate: Rate) -> optax.GradientTransformation:
    """AdEMAMix."""
    return contrib.ademamix(learning_rate)


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
        )
    }
)


PAPER: Mapping[str, OptaxFactory] = MappingProxyType(
    {name: NAMED[name] for name in ("sgdm", "adam")}
)


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

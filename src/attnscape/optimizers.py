"""Optimizers by name or reference: factories that take a learning rate, as optax builds them.

Where optax has defaults, the named optimizers take them, except where a docstring says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, cast

import jax
import optax
from optax import contrib

from attnscape import loading
from attnscape.errors import UsageError
from attnscape.transformations import EvaluatedElsewhere, Factory, OptaxFactory, Outside

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


def by_name(name: str) -> Factory:
    """The factory of that name, or the one that a reference names.

    Args:
        name: A name of `NAMED`; `my_file.py:factory` or `package.module:factory`; or, with
            `torch:` before it, a class or factory for PyTorch, as
            `attnscape.interop.torch_optimizers.by_reference` reads it.

    Raises:
        UsageError: If there is none.
    """
    if name.startswith("torch:"):
        from attnscape.interop.torch_optimizers import by_reference

        return by_reference(name.removeprefix("torch:"))
    if loading.is_reference(name):
        factory: Any = loading.load_object(name)
        if not (callable(factory) or isinstance(factory, Outside)):
            raise UsageError(
                f"{name} is {factory!r}; it must be a function from a learning rate to an "
                "optax.GradientTransformation."
            )
        return cast(Factory, factory)
    if name not in NAMED:
        raise UsageError(
            f"There is no optimizer {name!r}; there are {', '.join(NAMED)}, and your own as "
            "my_file.py:factory or torch:package.Class."
        )
    return NAMED[name]


def chosen(names: Sequence[str]) -> dict[str, Factory]:
    """The factories that names or references stand for, each under a short label.

    Of a reference, the label is the thing's own name; PyTorch's begin with `torch.`.

    Raises:
        UsageError: If one does not exist, or two have the same label.
    """
    factories: dict[str, Factory] = {}
    for name in names:
        label = name if name in NAMED else name.rpartition(":")[2].rpartition(".")[2]
        label = f"torch.{label}" if name.startswith("torch:") else label
        if label in factories:
            raise UsageError(
                f"Two optimizers are called {label}; give each once, and own ones other names."
            )
        factories[label] = by_name(name)
    return factories


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

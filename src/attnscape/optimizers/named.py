"""Optimizers by name: functions from a learning rate to an optimizer of optax.

Their options are optax's defaults, unless a docstring says otherwise. If libraries use one name for
different optimizers, the docstring says which one it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp
import optax
from jaxtyping import PyTree
from optax import contrib

from attnscape.errors import UsageError
from attnscape.optimizers.transformations import OptaxFactory, Preconditioned, WithEvalParams

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
    """Steps along the sign of the gradient."""
    return optax.sign_sgd(learning_rate)


def signum(learning_rate: Rate) -> optax.GradientTransformation:
    """Steps along the sign of the gradients' running mean (0.9)."""
    return optax.signum(learning_rate)


def normalised(learning_rate: Rate) -> optax.GradientTransformation:
    """Momentum 0.9 on gradients divided by their global norm."""
    return optax.chain(contrib.normalize(), optax.sgd(learning_rate, momentum=0.9))


def rmsprop(learning_rate: Rate) -> Preconditioned:
    """RMSprop, decay 0.9, with TensorFlow's denominator: sqrt(nu + eps), eps 1e-8.

    PyTorch divides by sqrt(nu) + eps, with decay 0.99 by default. With eps inside the root, all
    divisors are at least 1e-4, so very small gradients give small steps here.
    """
    eps = 1e-8

    def preconditioner(state: PyTree) -> PyTree:
        return _once_above(0.0, state[0].nu, lambda nu: jnp.sqrt(nu + eps))

    made = optax.rmsprop(learning_rate, decay=0.9, eps=eps)
    return Preconditioned(made.init, made.update, preconditioner)


def adagrad(learning_rate: Rate) -> Preconditioned:
    """Adagrad, denominator sqrt(sum of squares + 1e-7); the sum begins at 0.1."""
    start, eps = 0.1, 1e-7

    def preconditioner(state: PyTree) -> PyTree:
        return _once_above(start, state[0].sum_of_squares, lambda total: jnp.sqrt(total + eps))

    made = optax.adagrad(learning_rate, initial_accumulator_value=start, eps=eps)
    return Preconditioned(made.init, made.update, preconditioner)


def adam(learning_rate: Rate) -> Preconditioned:
    """Adam as in the paper: beta1 = beta2 = 0.9, eps 1e-8, bias correction, no weight decay."""
    return _preconditioned_by_adam(optax.adam, learning_rate, b1=0.9, b2=0.9)


def adamw(learning_rate: Rate) -> Preconditioned:
    """AdamW, beta2 0.999, weight decay 1e-4."""
    return _preconditioned_by_adam(optax.adamw, learning_rate, b1=0.9, b2=0.999)


def nadam(learning_rate: Rate) -> Preconditioned:
    """Adam with Nesterov momentum, beta1 0.9 throughout, beta2 0.999.

    PyTorch's NAdam follows Dozat's schedule instead: its beta1 begins at 0.45 and approaches 0.9
    only after thousands of steps (0.9 (1 - 0.96^(0.004 t) / 2)).
    """
    return _preconditioned_by_adam(optax.nadam, learning_rate, b1=0.9, b2=0.999)


def _once_above(
    start: float, squares: PyTree, function: Callable[[jax.Array], jax.Array]
) -> PyTree:
    """`function` of sums of squares that grow from `start`; NaN until some leaf has grown."""
    leaves = jax.tree.leaves(squares)
    seen = jnp.any(jnp.stack([jnp.any(leaf > jnp.asarray(start, leaf.dtype)) for leaf in leaves]))
    return jax.tree.map(lambda leaf: jnp.where(seen, function(leaf), jnp.nan), squares)


def _preconditioned_by_adam(
    method: Callable[..., optax.GradientTransformation],
    learning_rate: Rate,
    b1: float,
    b2: float,
    eps: float = 1e-8,
) -> Preconditioned:
    """Adds Cohen et al.'s preconditioner (2022): (1 - b1^t) (sqrt(nu / (1 - b2^t)) + eps).

    It divides the running mean of gradients without bias correction. Before the first update it is
    0 times 0 / 0, so it is not defined.
    """

    def preconditioner(state: PyTree) -> PyTree:
        moments = state[0]
        first, second = 1 - b1**moments.count, 1 - b2**moments.count
        return jax.tree.map(
            lambda nu: (first * (jnp.sqrt(nu / second) + eps)).astype(nu.dtype), moments.nu
        )

    made = method(learning_rate, b1=b1, b2=b2, eps=eps)
    return Preconditioned(made.init, made.update, preconditioner)


def lion(learning_rate: Rate) -> optax.GradientTransformation:
    """Lion, beta1 0.9, beta2 0.99, no weight decay."""
    return optax.lion(learning_rate, weight_decay=0.0)


def adafactor(learning_rate: Rate) -> optax.GradientTransformation:
    """Adafactor with a given rate; the matrices here are too small to be factored."""
    return optax.adafactor(learning_rate)


def lamb(learning_rate: Rate) -> optax.GradientTransformation:
    """LAMB, no weight decay."""
    return optax.lamb(learning_rate)


def muon(learning_rate: Rate) -> optax.GradientTransformation:
    """Muon on the matrices of every layer, Adam on all other parameters, at the same rate.

    It has Jordan's coefficients, five Newton-Schulz steps, Nesterov momentum 0.95, and an update
    scaled by sqrt(max(1, rows / columns)), because rows of the matrices here are outputs. It
    differs from Jordan's code in two ways. Momentum and gradient are mixed with Adam's bias
    corrections: the weight of the momentum relative to the gradient is 0.51 of Jordan's at the
    first step, and 0.93 at the tenth. The steps are in the run's precision; Jordan's are in
    bfloat16.
    """

    def matrices(parameters: PyTree) -> PyTree:
        def of(leaf: jax.Array) -> contrib.MuonDimensionNumbers | None:
            outputs_by_inputs = contrib.MuonDimensionNumbers(reduction_axis=-1, output_axis=-2)
            return outputs_by_inputs if leaf.ndim >= 2 else None

        return jax.tree.map(of, parameters)

    return contrib.muon(learning_rate, muon_weight_dimension_numbers=matrices)


def sophia(learning_rate: Rate) -> optax.GradientTransformation:
    """Sophia-H, clipped by a Hutchinson estimate of the Hessian diagonal every 10 steps."""
    return contrib.sophia(learning_rate, weight_decay=0.0)


def schedule_free(learning_rate: Rate) -> WithEvalParams:
    """Schedule-free SGD, beta 0.9, evaluated at the average x (Defazio et al., 2024)."""
    method = contrib.schedule_free_sgd(learning_rate)
    return WithEvalParams(method.init, method.update, contrib.schedule_free_eval_params)


def schedule_free_adamw(learning_rate: Rate) -> WithEvalParams:
    """Schedule-free AdamW, no weight decay, evaluated at the average x (Defazio et al., 2024)."""
    method = contrib.schedule_free_adamw(learning_rate)
    return WithEvalParams(method.init, method.update, contrib.schedule_free_eval_params)


def prodigy(learning_rate: Rate) -> optax.GradientTransformation:
    """Prodigy; the learning rate multiplies Prodigy's estimated rate."""
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
    """Returns the learning rate if it can be used.

    Raises:
        UsageError: If it is not positive and finite.
    """
    if not (math.isfinite(learning_rate) and learning_rate > 0):
        raise UsageError(
            f"The learning rate {learning_rate} is not usable; it must be positive and finite."
        )
    return float(learning_rate)

"""Optimizers that divide by means or sums of squared gradients: Adam and its relatives.

Their arguments have optax's names, and optax's defaults unless a docstring says otherwise. If
libraries use one name for different optimizers, the docstring says which one it is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import PyTree
from optax import contrib

from attnscape.optimizers.transformations import Preconditioned, Rate, WithEvalParams


def rmsprop(learning_rate: Rate, decay: float = 0.9, eps: float = 1e-8) -> Preconditioned:
    """RMSprop, decay 0.9, with TensorFlow's denominator: sqrt(nu + eps), eps 1e-8.

    PyTorch divides by sqrt(nu) + eps, with decay 0.99 by default. With eps inside the root, all
    divisors are at least 1e-4, so very small gradients give small steps here.

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape.optimizers import rmsprop
        >>> method, gradient = rmsprop(0.1), jnp.array([1.0, 1e-6])
        >>> updates, _ = method.update(gradient, method.init(jnp.zeros(2)))
        >>> [round(u, 3) for u in updates.tolist()]  # a very small gradient gives a small step
        [-0.316, -0.001]
    """

    def preconditioner(state: PyTree) -> PyTree:
        return _once_above(0.0, state[0].nu, lambda nu: jnp.sqrt(nu + eps))

    made = optax.rmsprop(learning_rate, decay=decay, eps=eps)
    return Preconditioned(made.init, made.update, preconditioner)


def adagrad(
    learning_rate: Rate, initial_accumulator_value: float = 0.1, eps: float = 1e-7
) -> Preconditioned:
    """Adagrad, denominator sqrt(sum of squares + 1e-7); the sum begins at 0.1.

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape.optimizers import adagrad
        >>> method, gradient = adagrad(0.1), jnp.array([30.0, 0.01])
        >>> updates, _ = method.update(gradient, method.init(jnp.zeros(2)))
        >>> [round(u, 3) for u in updates.tolist()]  # the rate times g / sqrt(0.1 + g^2)
        [-0.1, -0.003]
    """
    start = initial_accumulator_value

    def preconditioner(state: PyTree) -> PyTree:
        return _once_above(start, state[0].sum_of_squares, lambda total: jnp.sqrt(total + eps))

    made = optax.adagrad(learning_rate, initial_accumulator_value=start, eps=eps)
    return Preconditioned(made.init, made.update, preconditioner)


def adam(
    learning_rate: Rate, b1: float = 0.9, b2: float = 0.9, eps: float = 1e-8
) -> Preconditioned:
    """Adam as in the paper: beta1 = beta2 = 0.9, eps 1e-8, bias correction, no weight decay.

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape.optimizers import adam
        >>> method, gradient = adam(0.1), jnp.array([30.0, -0.04])
        >>> updates, _ = method.update(gradient, method.init(jnp.zeros(2)))
        >>> [round(u, 3) for u in updates.tolist()]  # the rate, in every coordinate
        [-0.1, 0.1]
    """
    return preconditioned_by_adam(optax.adam, learning_rate, b1=b1, b2=b2, eps=eps)


def adamw(
    learning_rate: Rate,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 1e-4,
) -> Preconditioned:
    """AdamW, beta2 0.999, weight decay 1e-4.

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape.optimizers import adamw
        >>> method, point = adamw(0.5), jnp.array([1000.0, -1000.0])
        >>> updates, _ = method.update(jnp.zeros(2), method.init(point), point)
        >>> [round(u, 3) for u in updates.tolist()]  # without a gradient only the decay acts
        [-0.05, 0.05]
    """
    return preconditioned_by_adam(
        functools.partial(optax.adamw, weight_decay=weight_decay),
        learning_rate,
        b1=b1,
        b2=b2,
        eps=eps,
    )


def nadam(
    learning_rate: Rate, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8
) -> Preconditioned:
    """Adam with Nesterov momentum, beta1 0.9 throughout, beta2 0.999.

    PyTorch's NAdam follows Dozat's schedule instead: its beta1 begins at 0.45 and approaches 0.9
    only after thousands of steps (0.9 (1 - 0.96^(0.004 t) / 2)).

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape.optimizers import nadam
        >>> method, gradient = nadam(0.1), jnp.array([30.0, -0.04])
        >>> updates, _ = method.update(gradient, method.init(jnp.zeros(2)))
        >>> [round(u, 3) for u in updates.tolist()]  # 1.47 times Adam's
        [-0.147, 0.147]
    """
    return preconditioned_by_adam(optax.nadam, learning_rate, b1=b1, b2=b2, eps=eps)


def _once_above(
    start: float, squares: PyTree, function: Callable[[jax.Array], jax.Array]
) -> PyTree:
    """`function` of sums of squares that grow from `start`; NaN until some leaf has grown."""
    leaves = jax.tree.leaves(squares)
    seen = jnp.any(jnp.stack([jnp.any(leaf > jnp.asarray(start, leaf.dtype)) for leaf in leaves]))
    return jax.tree.map(lambda leaf: jnp.where(seen, function(leaf), jnp.nan), squares)


def preconditioned_by_adam(
    method: Callable[..., optax.GradientTransformation],
    learning_rate: Rate,
    *,
    b1: float,
    b2: float,
    eps: float = 1e-8,
) -> Preconditioned:
    """Adam or a relative with these numbers, which provides Cohen et al.'s preconditioner (2022).

    The preconditioner is (1 - b1^t) (sqrt(nu / (1 - b2^t)) + eps). It divides the running mean of
    gradients without bias correction. Before the first update it is 0 times 0 / 0, so it is not
    defined.

    Args:
        method: A function of optax that takes the rate, b1, b2 and eps, and whose first state has
            `count` and `nu`; other options can be set by `functools.partial`.
        learning_rate: The rate.
        b1: Decay of the mean of gradients.
        b2: Decay of the mean of squared gradients.
        eps: What is added to the root.

    Examples:
        >>> import jax.numpy as jnp
        >>> import optax
        >>> from attnscape.optimizers import preconditioned_by_adam
        >>> method = preconditioned_by_adam(optax.adamw, 0.01, b1=0.9, b2=0.95)
        >>> point, gradient = jnp.zeros(2), jnp.array([2.0, -4.0])
        >>> _, state = method.update(gradient, method.init(point), point)
        >>> [round(p, 3) for p in method.preconditioner(state).tolist()]
        [0.2, 0.4]
    """

    def preconditioner(state: PyTree) -> PyTree:
        moments = state[0]
        first, second = 1 - b1**moments.count, 1 - b2**moments.count
        return jax.tree.map(
            lambda nu: (first * (jnp.sqrt(nu / second) + eps)).astype(nu.dtype), moments.nu
        )

    made = method(learning_rate, b1=b1, b2=b2, eps=eps)
    return Preconditioned(made.init, made.update, preconditioner)


def adafactor(
    learning_rate: Rate, decay_rate: float = 0.8, clipping_threshold: float = 1.0
) -> optax.GradientTransformation:
    """Adafactor with a given rate; the matrices here are too small to be factored.

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape.optimizers import adafactor
        >>> method, point = adafactor(0.1), jnp.array([2.0, 2.0])
        >>> updates, _ = method.update(jnp.array([30.0, -0.04]), method.init(point), point)
        >>> [round(u, 3) for u in updates.tolist()]  # rate times the parameters' root mean square
        [-0.2, 0.2]
    """
    return optax.adafactor(
        learning_rate, decay_rate=decay_rate, clipping_threshold=clipping_threshold
    )


def lamb(
    learning_rate: Rate,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-6,
    weight_decay: float = 0.0,
) -> optax.GradientTransformation:
    """LAMB, no weight decay.

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape.optimizers import lamb
        >>> method, point = lamb(0.1), jnp.array([3.0, 4.0])
        >>> updates, _ = method.update(jnp.array([30.0, -0.04]), method.init(point), point)
        >>> round(float(jnp.linalg.norm(updates)), 3)  # rate times the parameters' norm
        0.5
    """
    return optax.lamb(learning_rate, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay)


def schedule_free_adamw(
    learning_rate: Rate,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> WithEvalParams:
    """Schedule-free AdamW, no weight decay, evaluated at the average x (Defazio et al., 2024).

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape.optimizers import schedule_free_adamw
        >>> method, point = schedule_free_adamw(0.1), jnp.zeros(2)
        >>> updates, _ = method.update(jnp.array([30.0, -0.04]), method.init(point), point)
        >>> [round(u, 3) for u in updates.tolist()]  # at first, Adam's
        [-0.1, 0.1]
    """
    method = contrib.schedule_free_adamw(
        learning_rate, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay
    )
    return WithEvalParams(method.init, method.update, contrib.schedule_free_eval_params)


def prodigy(
    learning_rate: Rate, b1: float = 0.9, b2: float = 0.999, weight_decay: float = 0.0
) -> optax.GradientTransformation:
    """Prodigy; the learning rate multiplies Prodigy's estimated rate.

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape.optimizers import prodigy
        >>> state = prodigy(1.0).init(jnp.zeros(2))
        >>> round(float(state.estim_lr), 7)  # the estimate begins here and only grows
        1e-06
    """
    return contrib.prodigy(learning_rate, betas=(b1, b2), weight_decay=weight_decay)


def ademamix(
    learning_rate: Rate,
    b1: float = 0.9,
    b2: float = 0.999,
    b3: float = 0.9999,
    alpha: float = 5.0,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> Preconditioned:
    """AdEMAMix.

    Its preconditioner is that of the fast mean of gradients, Adam's. The slow mean is divided by
    the same root, so the weights of gradients in a step sum to up to 1 + alpha, not 1.

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape.optimizers import ademamix
        >>> method, point = ademamix(0.1), jnp.zeros(2)
        >>> updates, _ = method.update(jnp.array([30.0, -0.04]), method.init(point), point)
        >>> [round(u, 5) for u in updates.tolist()]  # Adam's, plus the slow mean
        [-0.10005, 0.10005]
    """
    return preconditioned_by_adam(
        functools.partial(contrib.ademamix, b3=b3, alpha=alpha, weight_decay=weight_decay),
        learning_rate,
        b1=b1,
        b2=b2,
        eps=eps,
    )

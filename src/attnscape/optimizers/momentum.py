"""Optimizers without means of squared gradients: SGD and its relatives, Muon and Sophia.

Their arguments have optax's names, and optax's defaults unless a docstring says otherwise.
"""

from __future__ import annotations

import jax
import optax
from jaxtyping import PyTree
from optax import contrib

from attnscape.optimizers.transformations import Rate, WithEvalParams


def sgd(learning_rate: Rate) -> optax.GradientTransformation:
    """SGD without momentum.

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape.optimizers import sgd
        >>> method, gradient = sgd(0.1), jnp.array([3.0, -4.0])
        >>> updates, _ = method.update(gradient, method.init(jnp.zeros(2)))
        >>> [round(u, 3) for u in updates.tolist()]  # minus rate times gradient
        [-0.3, 0.4]
    """
    return optax.sgd(learning_rate)


def sgdm(learning_rate: Rate, momentum: float = 0.9) -> optax.GradientTransformation:
    """SGD with momentum 0.9, no dampening, no Nesterov.

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape.optimizers import sgdm
        >>> method, gradient = sgdm(0.1), jnp.array([3.0, -4.0])
        >>> first, state = method.update(gradient, method.init(jnp.zeros(2)))
        >>> ratios = method.update(gradient, state)[0] / first
        >>> [round(ratio, 3) for ratio in ratios.tolist()]  # momentum adds 0.9
        [1.9, 1.9]
    """
    return optax.sgd(learning_rate, momentum=momentum)


def nesterov(learning_rate: Rate, momentum: float = 0.9) -> optax.GradientTransformation:
    """SGD with Nesterov momentum 0.9.

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape.optimizers import nesterov
        >>> method, gradient = nesterov(0.1), jnp.array([3.0, -4.0])
        >>> updates, _ = method.update(gradient, method.init(jnp.zeros(2)))
        >>> [round(u, 3) for u in updates.tolist()]  # 1.9 times SGD's step
        [-0.57, 0.76]
    """
    return optax.sgd(learning_rate, momentum=momentum, nesterov=True)


def sign(learning_rate: Rate) -> optax.GradientTransformation:
    """Steps along the sign of the gradient.

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape.optimizers import sign
        >>> method, gradient = sign(0.1), jnp.array([30.0, -0.04])
        >>> updates, _ = method.update(gradient, method.init(jnp.zeros(2)))
        >>> [round(u, 3) for u in updates.tolist()]  # the rate, whatever the gradient's size
        [-0.1, 0.1]
    """
    return optax.sign_sgd(learning_rate)


def signum(learning_rate: Rate, beta: float = 0.9) -> optax.GradientTransformation:
    """Steps along the sign of the gradients' running mean (0.9).

    Examples:
        >>> from attnscape.optimizers import signum
        >>> method = signum(0.1)
        >>> _, state = method.update(3.0, method.init(0.0))
        >>> round(float(method.update(-1.0, state)[0]), 3)  # the mean is still positive
        -0.1
    """
    return optax.signum(learning_rate, beta=beta)


def normalised(learning_rate: Rate, momentum: float = 0.9) -> optax.GradientTransformation:
    """Momentum 0.9 on gradients divided by their global norm.

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape.optimizers import normalised
        >>> method, gradient = normalised(0.1), jnp.array([30.0, -40.0])
        >>> first, _ = method.update(gradient, method.init(jnp.zeros(2)))
        >>> [round(u, 3) for u in first.tolist()]  # its norm is the rate
        [-0.06, 0.08]
    """
    return optax.chain(contrib.normalize(), optax.sgd(learning_rate, momentum=momentum))


def lion(
    learning_rate: Rate, b1: float = 0.9, b2: float = 0.99, weight_decay: float = 0.0
) -> optax.GradientTransformation:
    """Lion, beta1 0.9, beta2 0.99, no weight decay.

    Examples:
        >>> from attnscape.optimizers import lion
        >>> method = lion(0.1)
        >>> _, state = method.update(3.0, method.init(0.0), 0.0)
        >>> round(float(method.update(-1.0, state, 0.0)[0]), 3)  # the newest gradient decides
        0.1
    """
    return optax.lion(learning_rate, b1=b1, b2=b2, weight_decay=weight_decay)


def muon(
    learning_rate: Rate, beta: float = 0.95, ns_steps: int = 5, weight_decay: float = 0.0
) -> optax.GradientTransformation:
    """Muon on the matrices of every layer, Adam on all other parameters, at the same rate.

    It has Jordan's coefficients, five Newton-Schulz steps, Nesterov momentum 0.95, and an update
    scaled by sqrt(max(1, rows / columns)), because rows of the matrices here are outputs. It
    differs from Jordan's code in two ways. Momentum and gradient are mixed with Adam's bias
    corrections: the weight of the momentum relative to the gradient is 0.51 of Jordan's at the
    first step, and 0.93 at the tenth. The steps are in the run's precision; Jordan's are in
    bfloat16.

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape.optimizers import muon
        >>> method, gradient = muon(0.1), jnp.array([[[3.0, 0.0], [4.0, 1.0]]])  # one layer
        >>> updates, _ = method.update(gradient, method.init(gradient), gradient)
        >>> values = jnp.linalg.svd(updates[0], compute_uv=False)
        >>> [round(value, 2) for value in values.tolist()]  # the gradient's are 5.06 and 0.59
        [0.07, 0.07]
    """

    def matrices(parameters: PyTree) -> PyTree:
        def of(leaf: jax.Array) -> contrib.MuonDimensionNumbers | None:
            outputs_by_inputs = contrib.MuonDimensionNumbers(reduction_axis=-1, output_axis=-2)
            return outputs_by_inputs if leaf.ndim >= 2 else None

        return jax.tree.map(of, parameters)

    method = contrib.muon(
        learning_rate,
        beta=beta,
        ns_steps=ns_steps,
        weight_decay=weight_decay,
        muon_weight_dimension_numbers=matrices,
    )

    def update(
        updates: PyTree, state: PyTree, params: PyTree | None = None
    ) -> tuple[PyTree, PyTree]:
        with jax.default_matmul_precision("highest"):
            return method.update(updates, state, params)

    return optax.GradientTransformation(method.init, update)


def sophia(
    learning_rate: Rate,
    b1: float = 0.965,
    b2: float = 0.99,
    gamma: float = 0.01,
    weight_decay: float = 0.0,
) -> optax.GradientTransformation:
    """Sophia-H, clipped by a Hutchinson estimate of the Hessian diagonal every 10 steps.

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape.optimizers import sophia
        >>> method, point = sophia(0.1), jnp.array([3.0, -4.0])
        >>> updates, _ = method.update(point / 5, method.init(point), point, obj_fn=jnp.linalg.norm)
        >>> [round(u, 3) for u in updates.tolist()]  # clipped: no Hessian is known yet
        [-0.1, 0.1]
    """
    return contrib.sophia(learning_rate, b1=b1, b2=b2, gamma=gamma, weight_decay=weight_decay)


def schedule_free(learning_rate: Rate, b1: float = 0.9) -> WithEvalParams:
    """Schedule-free SGD, beta 0.9, evaluated at the average x (Defazio et al., 2024).

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape.optimizers import schedule_free
        >>> method, point = schedule_free(0.1), jnp.zeros(2)
        >>> updates, state = method.update(jnp.array([3.0, -4.0]), method.init(point), point)
        >>> average = method.eval_params(state, point + updates)
        >>> [round(u, 3) for u in average.tolist()]  # here still the point of SGD
        [-0.3, 0.4]
    """
    method = contrib.schedule_free_sgd(learning_rate, b1=b1)
    return WithEvalParams(method.init, method.update, contrib.schedule_free_eval_params)

"""Clipping of gradients before an optimizer gets them."""

from __future__ import annotations

from typing import Any

import optax

from attnscape.optimizers.transformations import (
    OptaxFactory,
    Preconditioned,
    Transformation,
    WithEvalParams,
)


def clipped(factory: OptaxFactory, clip: float | None) -> OptaxFactory:
    """A factory whose optimizers get gradients clipped to a global norm.

    Args:
        factory: The factory of the optimizer that gets the clipped gradient.
        clip: The largest norm, or None for no clipping.

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape.optimizers import clipped, sgd
        >>> method, gradient = clipped(sgd, 1.0)(0.5), jnp.array([30.0, -40.0])
        >>> updates, _ = method.update(gradient, method.init(jnp.zeros(2)))
        >>> [round(u, 3) for u in updates.tolist()]  # minus rate times the clipped gradient
        [-0.3, 0.4]
    """
    if clip is None:
        return factory

    def with_clipping(learning_rate: Any) -> Transformation:
        inner = factory(learning_rate)
        plain = inner
        if isinstance(plain, WithEvalParams):
            plain = optax.GradientTransformationExtraArgs(plain.init, plain.update)
        chain = optax.chain(optax.clip_by_global_norm(clip), plain)
        if isinstance(inner, WithEvalParams):
            return WithEvalParams(
                chain.init,
                chain.update,
                lambda state, parameters: inner.eval_params(state[-1], parameters),
            )
        if isinstance(inner, Preconditioned):
            return Preconditioned(
                chain.init, chain.update, lambda state: inner.preconditioner(state[-1])
            )
        return chain

    return with_clipping

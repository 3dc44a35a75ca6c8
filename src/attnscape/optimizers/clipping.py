"""Clipping of gradients before an optimizer gets them."""

from __future__ import annotations

from typing import Any

import optax

from attnscape.optimizers.transformations import OptaxFactory, Transformation
from attnscape.optimizers.wrapping import around, extended


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
        chain = optax.chain(optax.clip_by_global_norm(clip), extended(inner))
        return around(inner, chain, lambda state: state[-1])

    return with_clipping

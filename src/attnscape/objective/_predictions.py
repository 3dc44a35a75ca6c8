"""Predictions of a model, the numbers that losses are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from attnscape.errors import UsageError
from attnscape.objective._native import is_linear, reduced, reducible
from attnscape.objective._reduced import reduced_predictions
from attnscape.tasks import Moments, Prompts


def predictions(
    model: Callable[[Prompts], Array], prompts: Prompts | Moments
) -> Float[Array, " batch"]:
    """The model's prediction for every prompt.

    Args:
        model: Maps `Prompts` to predictions of shape (batch,).
        prompts: Prompts, or their moments if the model is linear attention.

    Raises:
        UsageError: If shapes do not fit, or moments are given to a model that needs prompts.

    Examples:
        >>> import jax
        >>> from attnscape import LinearTransformer, RegressionTask
        >>> from attnscape.objective import predictions
        >>> zero = LinearTransformer.init(jax.random.key(0), dim=2, scale=0.0)
        >>> moments = RegressionTask(dim=2).sample_moments(jax.random.key(1), batch=3)
        >>> predictions(zero, moments).tolist()
        [-0.0, -0.0, -0.0]
    """
    if isinstance(prompts, Moments) and not is_linear(model):
        raise UsageError(
            "Only moments were given, but the token form needs prompts: give a Prompts."
        )
    if reducible(model):
        return reduced_predictions(*reduced(model, prompts))
    return token_predictions(model, prompts)


def token_predictions(model: Callable[[Prompts], Array], prompts: Any) -> Float[Array, " batch"]:
    """The predictions that the model gives when it is called with its prompts."""
    given = model(prompts)
    if jnp.shape(given) != prompts.target.shape:
        raise UsageError(
            f"The model gave predictions of shape {jnp.shape(given)} for "
            f"{prompts.target.shape[0]} prompts; they must be one number a prompt."
        )
    return given

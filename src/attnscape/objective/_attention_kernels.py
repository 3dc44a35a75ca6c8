"""Attention over tokens by the native kernels (kernels/attention.hpp)."""

from functools import partial

from jaxtyping import Array, Float

from attnscape.models import ACTIVATIONS, Activation, AttentionTransformer, Form, check_dim
from attnscape.objective._derivatives import Weights, kernel_loss
from attnscape.objective._reduced import mean_loss
from attnscape.tasks import Prompts


def attention_loss(model: AttentionTransformer, prompts: Prompts) -> Float[Array, ""]:
    """Mean squared error over the batch, by the kernels.

    Raises:
        UsageError: If the prompts' dimension is not the model's.
    """
    check_dim(model, prompts.query)
    return _losses[model.activation](model.form, (model.P, model.Q), prompts)


def _arrays(prompts: Prompts) -> tuple[Array, ...]:
    return prompts.x, prompts.y, prompts.query, prompts.target


def _reference(
    activation: Activation, form: Form, weights: Weights, prompts: Prompts
) -> Float[Array, ""]:
    P, Q = weights
    return mean_loss(AttentionTransformer(P, Q, form, activation)(prompts), prompts)


# The order of ACTIVATIONS is the kernels' numbering.
_losses = {
    activation: kernel_loss(
        "attention_", _arrays, partial(_reference, activation), activation=number
    )
    for number, activation in enumerate(ACTIVATIONS)
}

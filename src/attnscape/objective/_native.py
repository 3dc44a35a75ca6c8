"""The models that have native kernels, and the loss computed by kernels.

Kernels are registered by the type of the model. A model that reduces to linear attention
(`as_linear`) uses the kernels of linear attention; JAX differentiates the reduction, so its
parameters may have any form.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from jaxtyping import Array, Float

from attnscape.models import (
    AttentionTransformer,
    LinearTransformer,
    ReducesToLinear,
    WithMLP,
    check_dim,
)
from attnscape.objective._attention_kernels import attention_loss
from attnscape.objective._linear_kernels import linear_loss
from attnscape.objective._mlp_attention_kernels import mlp_attention_loss
from attnscape.tasks import Moments, Prompts


@functools.singledispatch
def native_loss(model: Callable[[Prompts], Array], prompts: Prompts | Moments) -> Float[Array, ""]:
    """Mean squared error over the batch, by native kernels, with derivatives of every order."""
    return linear_loss(*reduced(model, prompts))


native_loss.register(AttentionTransformer, attention_loss)


@native_loss.register
def _(model: WithMLP, prompts: Prompts) -> Float[Array, ""]:
    inner: Any = model.inner
    return mlp_attention_loss(model.mlp, inner.as_linear(), prompts)


def is_linear(model: object) -> bool:
    """Whether the model equals a linear Transformer (`ReducesToLinear`).

    False for a subclass that changes the predictions but not `as_linear`: it is called itself.
    """
    if not isinstance(model, ReducesToLinear):
        return False
    for kind in type(model).__mro__:
        if "as_linear" in vars(kind):
            return True
        if not vars(kind).keys().isdisjoint(("__call__", "attention_weights", "token_matrices")):
            return False
    return False


def has_kernel(model: Callable[[Prompts], Array]) -> bool:
    """Whether `native_loss` works for the model."""
    if isinstance(model, WithMLP):
        return is_linear(model.inner)
    own = native_loss.dispatch(type(model)) is not native_loss.dispatch(object)
    return own or is_linear(model)


def reducible(model: object) -> bool:
    """Whether `reduced` works for the model."""
    return reducible(model.inner) if isinstance(model, WithMLP) else is_linear(model)


def reduced(model: Any, prompts: Any) -> tuple[LinearTransformer, Moments]:
    """The model as linear attention, and the moments, computed from prompts or given.

    Raises:
        UsageError: If the prompts' dimension is not the model's.
    """
    if isinstance(model, WithMLP):
        return reduced(model.inner, model.mapped(prompts))
    linear = model.as_linear()
    check_dim(linear, prompts.query)
    return linear, prompts if isinstance(prompts, Moments) else prompts.moments()

"""Which models have native kernels, and the loss by them.

A model's kernel is registered by its type; what reduces to linear attention (`as_linear`) takes
the kernels of linear attention, whatever its own parameters are: derivatives flow through the
reduction.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from jaxtyping import Array, Float

from attnscape.models import AttentionTransformer, LinearTransformer, WithMLP, check_dim
from attnscape.objective._attention_kernels import attention_loss
from attnscape.objective._front_kernels import front_loss
from attnscape.objective._linear_kernels import linear_loss
from attnscape.prompts import Moments, Prompts


@functools.singledispatch
def native_loss(model: Callable[..., Any], prompts: Prompts | Moments) -> Float[Array, ""]:
    """Mean squared error over the batch, by native kernels and differentiable to every order."""
    return linear_loss(*reduced(model, prompts))


native_loss.register(AttentionTransformer, attention_loss)


@native_loss.register
def _(model: WithMLP, prompts: Prompts) -> Float[Array, ""]:
    inner: Any = model.inner
    return front_loss(model.mlp, inner.as_linear(), prompts)


def has_kernel(model: Callable[..., Any]) -> bool:
    """Whether `native_loss` serves the model."""
    if isinstance(model, WithMLP):
        return hasattr(model.inner, "as_linear")
    own = native_loss.dispatch(type(model)) is not native_loss.dispatch(object)
    return own or hasattr(model, "as_linear")


def reducible(model: Any) -> bool:
    """Whether `reduced` serves the model."""
    return reducible(model.inner) if isinstance(model, WithMLP) else hasattr(model, "as_linear")


def reduced(model: Any, prompts: Any) -> tuple[LinearTransformer, Moments]:
    """A linear attention model and the moments it sees, of prompts or given.

    Raises:
        UsageError: If the prompts' dimension is not the model's.
    """
    if isinstance(model, WithMLP):
        return reduced(model.inner, model.mapped(prompts))
    linear = model.as_linear()
    check_dim(linear, prompts.query)
    return linear, prompts if isinstance(prompts, Moments) else prompts.moments()

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


def is_linear(model: Any) -> bool:
    """Whether linear attention stands for the model: it has the method `as_linear`.

    A subclass that changes what is predicted, and not this method with it, is what its call says.
    """
    for kind in type(model).__mro__:
        if "as_linear" in vars(kind):
            return True
        if not vars(kind).keys().isdisjoint(("__call__", "attention_weights", "token_matrices")):
            return False
    return False


def has_kernel(model: Callable[..., Any]) -> bool:
    """Whether `native_loss` serves the model."""
    if isinstance(model, WithMLP):
        return is_linear(model.inner)
    own = native_loss.dispatch(type(model)) is not native_loss.dispatch(object)
    return own or is_linear(model)


def reducible(model: Any) -> bool:
    """Whether `reduced` serves the model."""
    return reducible(model.inner) if isinstance(model, WithMLP) else is_linear(model)


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

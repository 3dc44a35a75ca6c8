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

from attnscape.models import check_dim
from attnscape.objective._linear_kernels import linear_loss
from attnscape.prompts import Moments, Prompts


@functools.singledispatch
def native_loss(model: Callable[..., Any], prompts: Prompts | Moments) -> Float[Array, ""]:
    """Mean squared error over the batch, by native kernels and differentiable to every order."""
    return linear_loss(*reduced(model, prompts))


def has_kernel(model: Callable[..., Any]) -> bool:
    """Whether `native_loss` serves the model."""
    own = native_loss.dispatch(type(model)) is not native_loss.dispatch(object)
    return own or hasattr(model, "as_linear")


def reduced(model: Any, prompts: Prompts | Moments):
    """A linear attention model and the moments it sees.

    Raises:
        UsageError: If the prompts' dimension is not the model's.
    """
    linear = model.as_linear()
    check_dim(linear, prompts.query)
    return linear, prompts if isinstance(prompts, Moments) else prompts.moments()

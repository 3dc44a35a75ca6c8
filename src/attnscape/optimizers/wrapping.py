"""Optimizers around another one, which keep its evaluation point and its preconditioner."""

from __future__ import annotations

from collections.abc import Callable

import optax
from jaxtyping import PyTree

from attnscape.optimizers.transformations import (
    Preconditioned,
    Transformation,
    WithEvalParams,
    accepting,
)


def extended(transformation: Transformation) -> optax.GradientTransformation:
    """The transformation as one of optax, which chains take, and which accepts any keyword.

    It lacks the evaluation point, which `around` brings back.
    """
    accepted = accepting(transformation)
    if isinstance(accepted, WithEvalParams):
        return optax.GradientTransformationExtraArgs(accepted.init, accepted.update)
    return accepted


def around(
    inner: Transformation,
    outer: optax.GradientTransformation,
    state_of: Callable[[PyTree], PyTree],
) -> Transformation:
    """`outer`, with the evaluation point or the preconditioner of `inner`.

    Args:
        inner: An optimizer.
        outer: What was made of it.
        state_of: Function from the state of `outer` to that of `inner`.
    """
    if isinstance(inner, WithEvalParams):
        return WithEvalParams(
            outer.init,
            outer.update,
            lambda state, parameters: inner.eval_params(state_of(state), parameters),
        )
    if isinstance(inner, Preconditioned):
        return Preconditioned(
            outer.init, outer.update, lambda state: inner.preconditioner(state_of(state))
        )
    return outer

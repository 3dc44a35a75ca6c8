"""What an optimizer is: a transformation of gradients in JAX, or one that steps outside of it."""

from __future__ import annotations

import abc
import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
import optax


class EvaluatedElsewhere(NamedTuple):
    """An optimizer whose authors judge it at another point than the one its gradients are taken at.

    Attributes:
        init: As of an `optax.GradientTransformationExtraArgs`.
        update: Likewise.
        evaluation_point: `(state, parameters)` to the parameters that measures look at.
    """

    init: Callable[..., Any]
    update: Callable[..., Any]
    evaluation_point: Callable[[Any, Any], Any]


class Preconditioned(optax.GradientTransformationExtraArgs):
    """An optax transformation that says what it divides gradients by.

    The claim is that its step is -learning_rate / P times a running mean of gradients, elementwise,
    with a P > 0 that it knows from its state (Cohen et al., 2022, "Adaptive gradient methods at the
    edge of stability"). `attnscape.measures.Curvature` takes the preconditioned sharpness with it.

    Args:
        init: As of an `optax.GradientTransformation`.
        update: Likewise; keywords that it does not name are not handed to it.
        preconditioner: The state to P: the structure and shapes of the parameters, as it was in the
            last update; NaN where there was none.
    """

    preconditioner: Callable[[Any], Any]

    def __new__(
        cls,
        init: Callable[..., Any],
        update: Callable[..., Any],
        preconditioner: Callable[[Any], Any],
    ) -> Preconditioned:
        made = super().__new__(cls, init, _known_keywords(update))
        made.preconditioner = preconditioner
        return made


Transformation = optax.GradientTransformation | EvaluatedElsewhere


# The loss and its gradient at a run's present parameters.
LossAndGradient = Callable[[], tuple[float, Sequence[jax.Array]]]


@runtime_checkable
class OutsideRun(Protocol):
    """A run of an optimizer outside of JAX."""

    def step(self, loss_and_gradient: LossAndGradient) -> None:
        """Changes the run's parameters in place by one step."""
        ...

    def evaluation_point(self) -> Sequence[np.ndarray]:
        """The parameters that measures look at, as new arrays."""
        ...


class Outside(abc.ABC):
    """An optimizer that steps arrays outside of JAX, one run after the other.

    It stands wherever a factory does.
    """

    @abc.abstractmethod
    def start(self, learning_rate: float, leaves: Sequence[np.ndarray]) -> OutsideRun:
        """A run that owns these arrays and changes them in place."""


# From a learning rate. Parameters are those of the model: of linear attention, a pytree of the
# arrays P and Q, each (L, d, d).
OptaxFactory = Callable[[Any], Transformation]
Factory = OptaxFactory | Outside


def update_keywords(
    value: Any,
    grad: Any,
    loss: Callable[[Any], Any],
    gradient: Callable[[Any], Any],
    hessian_diagonal: Callable[[Any], Any],
) -> dict[str, Any]:
    """What an optimizer's `update` may ask for beside the clipped gradient, all on its batch.

    Names and meaning are optax's, where it has them. An update that names some of them gets those;
    one that takes any keyword gets all (`accepting`).

    Args:
        value: `value`: the loss.
        grad: `grad`: the gradient, not clipped.
        loss: `value_fn` and `obj_fn`: parameters to the loss.
        gradient: `grad_fn`: parameters to the gradient, clipped.
        hessian_diagonal: `hessian_diagonal_fn`: parameters to the exact diagonal of the Hessian.
    """

    def value_fn(
        parameters: Any,
        # optax's line searches hand on all other keywords, and insist that they are accepted.
        obj_fn: Any = None,
        grad_fn: Any = None,
        hessian_diagonal_fn: Any = None,
    ) -> Any:
        del obj_fn, grad_fn, hessian_diagonal_fn
        return loss(parameters)

    def grad_fn(parameters: Any, step: Any = None) -> Any:
        del step  # optax's SAM says in which of its steps it asks
        return gradient(parameters)

    return {
        "value": value,
        "grad": grad,
        "value_fn": value_fn,
        "obj_fn": value_fn,
        "grad_fn": grad_fn,
        "hessian_diagonal_fn": hessian_diagonal,
    }


def accepting(transformation: Transformation) -> Transformation:
    """The same, but keywords that its `update` does not name are not handed to it."""
    update = _known_keywords(transformation.update)
    if update is transformation.update:
        return transformation
    if isinstance(transformation, EvaluatedElsewhere):
        return transformation._replace(update=update)
    return optax.GradientTransformationExtraArgs(transformation.init, update)


def _known_keywords(update: Callable[..., Any]) -> Callable[..., Any]:
    """An update that takes any keyword, and hands on those that the given one names."""
    parameters = inspect.signature(update).parameters.values()
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return update
    names = {parameter.name for parameter in parameters}

    def with_any(updates: Any, state: Any, params: Any = None, **keywords: Any) -> Any:
        known = {name: value for name, value in keywords.items() if name in names}
        return update(updates, state, params, **known)

    return with_any


def clipped(factory: OptaxFactory, clip: float | None) -> OptaxFactory:
    """Clips gradients to a global norm before the optimizer sees them.

    Args:
        factory: What the clipped gradient goes to.
        clip: The threshold, or None for no clipping.
    """
    if clip is None:
        return factory

    def with_clipping(learning_rate: Any) -> Transformation:
        inner = factory(learning_rate)
        plain = inner
        if isinstance(plain, EvaluatedElsewhere):
            plain = optax.GradientTransformationExtraArgs(plain.init, plain.update)
        chain = optax.chain(optax.clip_by_global_norm(clip), plain)
        if isinstance(inner, EvaluatedElsewhere):
            return EvaluatedElsewhere(
                chain.init,
                chain.update,
                lambda state, parameters: inner.evaluation_point(state[-1], parameters),
            )
        if isinstance(inner, Preconditioned):
            return Preconditioned(
                chain.init, chain.update, lambda state: inner.preconditioner(state[-1])
            )
        return chain

    return with_clipping

"""The contracts of optimizers: gradient transformations in JAX, and external optimizers."""

from __future__ import annotations

import abc
import inspect
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple, NoReturn, Protocol, runtime_checkable

import jax
import numpy as np
import optax
from jaxtyping import Array, PyTree, Scalar

from attnscape.errors import UsageError
from attnscape.trees import Plain


class WithEvalParams(NamedTuple):
    """An optimizer that is evaluated at another point than the point of its gradients.

    Attributes:
        init: `init` of an `optax.GradientTransformationExtraArgs`.
        update: `update` of an `optax.GradientTransformationExtraArgs`.
        eval_params: Function `(state, parameters)` that returns the parameters to measure.

    Examples:
        >>> import optax
        >>> from attnscape.optimizers import WithEvalParams
        >>> sgd = optax.sgd(0.1)
        >>> halved = WithEvalParams(sgd.init, sgd.update, lambda state, parameters: parameters / 2)
        >>> halved.eval_params(halved.init(3.0), 3.0)
        1.5
    """

    init: Callable[..., PyTree]
    update: Callable[..., tuple[PyTree, PyTree]]
    eval_params: Callable[[PyTree, PyTree], PyTree]


class Preconditioned(optax.GradientTransformationExtraArgs):
    """An optax transformation that provides its preconditioner P, the divisor of gradients.

    Its step must be -learning_rate / P times a running mean of gradients, elementwise, with a P > 0
    computed from its state (Cohen et al., 2022, "Adaptive gradient methods at the edge of
    stability"). `attnscape.measures.Curvature` computes the preconditioned sharpness from P.

    Args:
        init: `init` of an `optax.GradientTransformation`.
        update: `update` of an `optax.GradientTransformation`; it gets only keywords that it names.
        preconditioner: Function from the state to the P of the last update, with the structure and
            shapes of the parameters; NaN before the first update.

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape.optimizers import adam
        >>> method, gradient = adam(0.01), jnp.array([2.0, -4.0])
        >>> _, state = method.update(gradient, method.init(jnp.zeros(2)))
        >>> P = method.preconditioner(state)
        >>> [round(p, 3) for p in P.tolist()]  # at first (1 - beta1) |gradient|
        [0.2, 0.4]
    """

    preconditioner: Callable[[PyTree], PyTree]

    def __new__(
        cls,
        init: Callable[..., PyTree],
        update: Callable[..., tuple[PyTree, PyTree]],
        preconditioner: Callable[[PyTree], PyTree],
    ) -> Preconditioned:
        made = super().__new__(cls, init, _known_keywords(update))
        made.preconditioner = preconditioner
        return made


Transformation = optax.GradientTransformation | WithEvalParams


# The loss and its gradient at a run's present parameters.
LossAndGradient = Callable[[], tuple[float, Sequence[jax.Array]]]


@runtime_checkable
class ExternalRun(Protocol):
    """A run of an optimizer outside of JAX.

    Examples:
        >>> from attnscape.optimizers import ExternalRun
        >>> class Still:  # never moves
        ...     def step(self, loss_and_gradient): ...
        ...     def eval_params(self): ...
        >>> isinstance(Still(), ExternalRun)
        True
    """

    def step(self, loss_and_gradient: LossAndGradient) -> None:
        """Changes the run's parameters in place by one step."""
        ...

    def eval_params(self) -> Sequence[np.ndarray]:
        """The parameters to measure, as new arrays."""
        ...


@runtime_checkable
class ResumableRun(ExternalRun, Protocol):
    """A run of an external optimizer that can be saved, so that a training can be continued.

    Examples:
        >>> from attnscape.optimizers import ResumableRun
        >>> class Still:  # remembers nothing
        ...     def step(self, loss_and_gradient): ...
        ...     def eval_params(self): ...
        ...     def save(self): ...
        ...     def restore(self, saved): ...
        >>> isinstance(Still(), ResumableRun)
        True
    """

    def save(self) -> Plain:
        """All that its next steps depend on, except for the run's parameters.

        None, numbers, strings, numpy arrays, and lists and dicts of these.

        Raises:
            NotSavableError: If it cannot be saved.
        """
        ...

    def restore(self, saved: Plain) -> None:
        """Sets the state of a run that was just started, and whose parameters are those saved."""
        ...


class ExternalOptimizer(abc.ABC):
    """An optimizer that steps arrays outside of JAX, one run after the other.

    It can be given in place of any factory.

    Attributes:
        numbers: The version of the numbers that it computes for equal settings; part of the
            identity of a run.

    Examples:
        >>> from types import SimpleNamespace
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from attnscape.optimizers import ExternalOptimizer
        >>> class Descent(ExternalOptimizer):
        ...     def start(self, learning_rate, leaves):
        ...         def step(loss_and_gradient):
        ...             for leaf, slope in zip(leaves, loss_and_gradient()[1], strict=True):
        ...                 leaf -= learning_rate * np.asarray(slope)
        ...         return SimpleNamespace(step=step, eval_params=lambda: [*map(np.copy, leaves)])
        >>> run = Descent().start(0.5, [np.array([3.0])])
        >>> run.step(lambda: (9.0, [jnp.array([6.0])]))  # x^2 and its gradient at x = 3
        >>> run.eval_params()
        [array([0.])]
    """

    numbers: ClassVar[int] = 1

    @abc.abstractmethod
    def start(self, learning_rate: float, leaves: Sequence[np.ndarray]) -> ExternalRun:
        """A run that owns these arrays and changes them in place."""


Rate = float | jax.Array


# A function from a learning rate to an optimizer. The rate is a number or a JAX scalar; a factory
# need not accept both. Parameters are those of the model: for linear attention, a pytree of the
# arrays P and Q, each (L, d, d).
OptaxFactory = Callable[[Any], Transformation]
Factory = OptaxFactory | ExternalOptimizer


def update_keywords(
    value: Scalar,
    grad: PyTree,
    loss: Callable[[PyTree], Scalar],
    gradient: Callable[[PyTree], PyTree],
    hessian_diagonal: Callable[[PyTree], PyTree],
    hessian: Callable[[PyTree], Array],
    gauss_newton: Callable[[PyTree], Array],
) -> dict[str, object]:
    """The keyword arguments that an optimizer's `update` may use, all on the update's batch.

    If optax has a keyword, its name and meaning are optax's. An update gets the keywords that it
    names; an update with `**kwargs` gets all (`accepting`).

    Args:
        value: The loss, passed as `value`.
        grad: The gradient before clipping, passed as `grad`.
        loss: Function from parameters to the loss, passed as `value_fn` and `obj_fn`.
        gradient: Function from parameters to the clipped gradient, passed as `grad_fn`.
        hessian_diagonal: Function from parameters to the exact diagonal of the Hessian, passed as
            `hessian_diagonal_fn`.
        hessian: Function from parameters to the exact Hessian, a matrix whose rows follow
            `jax.flatten_util.ravel_pytree`, passed as `hessian_fn`.
        gauss_newton: The same for the Hessian's Gauss-Newton part, passed as `gauss_newton_fn`.

    Examples:
        >>> import jax
        >>> from attnscape.optimizers import update_keywords
        >>> loss, slope = jax.numpy.square, jax.grad(jax.numpy.square)
        >>> second = jax.hessian(loss)
        >>> keywords = update_keywords(loss(3.0), slope(3.0), loss, slope, second, second, second)
        >>> float(keywords["value"]), float(keywords["value_fn"](5.0))
        (9.0, 25.0)
    """

    def value_fn(
        parameters: PyTree,
        # optax's line searches pass all other keywords, so they must be accepted.
        obj_fn: object = None,
        grad_fn: object = None,
        hessian_diagonal_fn: object = None,
        hessian_fn: object = None,
        gauss_newton_fn: object = None,
    ) -> Scalar:
        del obj_fn, grad_fn, hessian_diagonal_fn, hessian_fn, gauss_newton_fn
        return loss(parameters)

    def grad_fn(parameters: PyTree, step: object = None) -> PyTree:
        del step  # optax's SAM passes the number of its inner step
        return gradient(parameters)

    return {
        "value": value,
        "grad": grad,
        "value_fn": value_fn,
        "obj_fn": value_fn,
        "grad_fn": grad_fn,
        "hessian_diagonal_fn": hessian_diagonal,
        "hessian_fn": hessian,
        "gauss_newton_fn": gauss_newton,
    }


def keywords_of_step(name: str, value: Scalar, grad: PyTree) -> dict[str, object]:
    """The keywords of `update_keywords` where only the gradient of the step is computed.

    Args:
        name: The optimizer's name, for messages.
        value: The loss.
        grad: The gradient before clipping.

    Raises:
        UsageError: When the optimizer asks for loss, gradient or Hessian at a point.

    Examples:
        >>> from attnscape.optimizers import keywords_of_step
        >>> keywords_of_step("mine", 2.0, {})["value"]
        2.0
    """

    def refuse(parameters: PyTree) -> NoReturn:
        del parameters
        raise UsageError(
            f"{name} asks for the loss, gradient or Hessian at further points, which are not "
            "computed for networks; choose an optimizer that needs the gradient of the step only."
        )

    return update_keywords(value, grad, refuse, refuse, refuse, refuse, refuse)


def accepting(transformation: Transformation) -> Transformation:
    """The transformation, with an `update` that ignores keywords it does not name.

    Examples:
        >>> import optax
        >>> from attnscape.optimizers import accepting
        >>> method = accepting(optax.scale(-0.5))  # its update takes no `value`
        >>> float(method.update(3.0, method.init(0.0), value=7.0)[0])
        -1.5
    """
    update = _known_keywords(transformation.update)
    if update is transformation.update:
        return transformation
    if isinstance(transformation, WithEvalParams):
        return transformation._replace(update=update)
    return optax.GradientTransformationExtraArgs(transformation.init, update)


def _known_keywords(
    update: Callable[..., tuple[PyTree, PyTree]],
) -> Callable[..., tuple[PyTree, PyTree]]:
    """An update that accepts any keyword, and passes on the keywords that `update` names."""
    parameters = inspect.signature(update).parameters.values()
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return update
    names = {parameter.name for parameter in parameters}

    def with_any(
        updates: PyTree, state: PyTree, params: PyTree = None, **keywords: object
    ) -> tuple[PyTree, PyTree]:
        known = {name: value for name, value in keywords.items() if name in names}
        return update(updates, state, params, **known)

    return with_any

"""Tasks made from tasks: with another loss, or with responses replaced by their signs."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from attnscape.errors import UsageError
from attnscape.tasks._made_from import MadeFrom
from attnscape.tasks.fixed import FixedPrompts
from attnscape.tasks.losses import Loss, SquaredError
from attnscape.tasks.prompts import Moments, Prompts


@dataclasses.dataclass(frozen=True)
class WithLoss(MadeFrom):
    """A task whose predictions are judged by another loss than the squared error.

    Training, objective and measures follow, because the prompts carry the loss. The prompts are
    those of `task`.

    Attributes:
        task: The task that prompts come from, or a function that makes one.
        loss: Function `(prediction, target) -> loss` of two scalars in JAX: `AbsoluteError`,
            `Huber`, `Logistic`, or your own, a function or a frozen dataclass.

    Raises:
        UsageError: If `task` is no task, or the loss cannot be called or hashed.

    Examples:
        >>> import jax
        >>> from attnscape import LinearTransformer, RegressionTask, loss
        >>> from attnscape.tasks import AbsoluteError, WithLoss
        >>> zero = LinearTransformer.init(jax.random.key(0), dim=2, scale=0.0)  # predicts 0
        >>> prompts = WithLoss(RegressionTask(dim=2), AbsoluteError()).sample(jax.random.key(1), 10)
        >>> bool(jax.numpy.isclose(loss(zero, prompts), abs(prompts.target).mean()))
        True
    """

    loss: Loss

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_loss(self.loss)

    def sample(self, key: Array, batch: int, dtype: jax.typing.DTypeLike = jnp.float32) -> Prompts:
        """The prompts of `task`, which carry `loss`."""
        prompts = self.task.sample(key, batch, dtype=dtype)
        return dataclasses.replace(prompts, loss=self.loss)

    def sample_moments(
        self, key: Array, batch: int, dtype: jax.typing.DTypeLike = jnp.float32
    ) -> Moments:
        """The moments of `task`, which carry `loss`; by kernels wherever those of `task` are."""
        moments = self.task.sample_moments(key, batch, dtype=dtype)
        return dataclasses.replace(moments, loss=self.loss)


@dataclasses.dataclass(frozen=True)
class Thresholded(MadeFrom):
    """A task of in-context classification: every response of `task` is replaced by its sign.

    The labels are -1 and 1 (0 becomes 1), in the context and for the query, after any noise. The
    loss remains that of `task`; with `Logistic` this is in-context binary classification.

    Attributes:
        task: The task that prompts come from, or a function that makes one.

    Raises:
        UsageError: If `task` is no task.

    Examples:
        >>> import jax
        >>> from attnscape import RegressionTask
        >>> from attnscape.tasks import Logistic, Thresholded, WithLoss
        >>> task = WithLoss(Thresholded(RegressionTask()), Logistic())
        >>> prompts = task.sample(jax.random.key(0), batch=100)
        >>> sorted(set(prompts.y.ravel().tolist()) | set(prompts.target.tolist()))
        [-1.0, 1.0]
    """

    def sample(self, key: Array, batch: int, dtype: jax.typing.DTypeLike = jnp.float32) -> Prompts:
        """The prompts of `task` with the signs of their responses."""
        prompts = self.task.sample(key, batch, dtype=dtype)
        return dataclasses.replace(prompts, y=_sign(prompts.y), target=_sign(prompts.target))

    def sample_moments(
        self, key: Array, batch: int, dtype: jax.typing.DTypeLike = jnp.float32
    ) -> Moments:
        """The moments of `sample(key, batch, dtype)`."""
        return self.sample(key, batch, dtype).moments()


def innermost(task: Any) -> Any:
    """The task that draws, inside of any `WithLoss` and `Thresholded`.

    Examples:
        >>> from attnscape import RegressionTask
        >>> from attnscape.tasks import Huber, Thresholded, WithLoss, innermost
        >>> innermost(WithLoss(Thresholded(RegressionTask()), Huber())) == RegressionTask()
        True
    """
    while isinstance(task, WithLoss | Thresholded):
        task = task.task
    return task


def loss_of(task: Any) -> Loss:
    """The loss that prompts of a built-in task carry.

    Examples:
        >>> from attnscape import RegressionTask
        >>> from attnscape.tasks import Huber, WithLoss, loss_of
        >>> loss_of(RegressionTask()), loss_of(WithLoss(RegressionTask(), Huber()))
        (SquaredError(), Huber(delta=1.0))
    """
    while isinstance(task, Thresholded | FixedPrompts):
        task = task.task
    return task.loss if isinstance(task, WithLoss) else SquaredError()


def _sign(responses: Array) -> Array:
    return jnp.where(responses >= 0, 1, -1).astype(responses.dtype)


def _check_loss(loss: object) -> None:
    if not callable(loss):
        raise UsageError(
            f"loss is {loss!r}; it must be a loss of attnscape.tasks, or a function of your own: "
            "(prediction, target) -> loss."
        )
    try:
        hash(loss)
    except TypeError:
        raise UsageError(
            f"The loss {loss!r} cannot be hashed; make it a function, or a frozen dataclass of "
            "numbers and texts."
        ) from None

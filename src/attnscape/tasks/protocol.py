"""The contract of a task: an object that draws prompts."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from attnscape.errors import UsageError
from attnscape.loading import format_user_error
from attnscape.tasks.prompts import Moments, Prompts


@runtime_checkable
class Task(Protocol):
    """A distribution of prompts.

    Attributes:
        dim: d, the dimension of the covariates.
        context: n, the number of examples in a prompt.

    Examples:
        >>> import jax
        >>> from attnscape.tasks import Prompts, Task
        >>> class Signs:
        ...     dim, context = 2, 5  # y is the first entry of x, which holds signs
        ...     def sample(self, key, batch, dtype="float32"):
        ...         x = jax.random.rademacher(key, (batch, 6, 2), dtype)
        ...         return Prompts(x[:, :5], x[:, :5, 0], x[:, 5], x[:, 5, 0])
        ...     def sample_moments(self, key, batch, dtype="float32"):
        ...         return self.sample(key, batch, dtype).moments()
        >>> isinstance(Signs(), Task)
        True
    """

    @property
    def dim(self) -> int:
        """d, the dimension of the covariates."""
        ...

    @property
    def context(self) -> int:
        """n, the number of examples in a prompt."""
        ...

    def sample(self, key: Array, batch: int, dtype: jax.typing.DTypeLike = jnp.float32) -> Prompts:
        """Draws `batch` prompts; the same key gives the same prompts. It must work under jit."""
        ...

    def sample_moments(
        self, key: Array, batch: int, dtype: jax.typing.DTypeLike = jnp.float32
    ) -> Moments:
        """The moments of `sample(key, batch, dtype)`; calling its `.moments()` is enough."""
        ...


def as_task(thing: Any) -> Task:
    """The task from a user's argument.

    Args:
        thing: A task, or a function or class that makes one without arguments.

    Raises:
        UsageError: If it is neither.

    Examples:
        >>> from attnscape import RegressionTask
        >>> from attnscape.tasks import as_task
        >>> as_task(RegressionTask) == RegressionTask()
        True
    """
    makes_one = isinstance(thing, type) or (callable(thing) and _lacking(thing))
    try:
        made: Any = thing() if makes_one else thing
    except TypeError as error:
        raise UsageError(
            f"Calling {thing!r} made no task ({format_user_error(error)}); {_WANTED}."
        ) from error
    if lacking := _lacking(made):
        raise UsageError(f"The task {made!r} has no {' and no '.join(lacking)}; {_WANTED}.")
    return made


_WANTED = (
    "give an object with dim, context, sample and sample_moments, or a function without arguments "
    "that makes one"
)


def _lacking(thing: Any) -> list[str]:
    """Names of attributes that a task must have and `thing` does not have."""
    return [
        name for name in ("dim", "context", "sample", "sample_moments") if not hasattr(thing, name)
    ]

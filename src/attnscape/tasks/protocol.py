"""What a task is: anything that prompts can be drawn from."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from attnscape.errors import UsageError
from attnscape.loading import told
from attnscape.prompts import Moments, Prompts


@runtime_checkable
class Task(Protocol):
    """A distribution of prompts.

    Attributes:
        dim: d, the dimension of the covariates.
        context: n, the number of examples in a prompt.
    """

    @property
    def dim(self) -> int: ...

    @property
    def context(self) -> int: ...

    def sample(self, key: Array, batch: int, dtype: jax.typing.DTypeLike = jnp.float32) -> Prompts:
        """Draws `batch` prompts; the same key gives the same prompts. It must work under jit."""
        ...

    def sample_moments(
        self, key: Array, batch: int, dtype: jax.typing.DTypeLike = jnp.float32
    ) -> Moments:
        """The moments of `sample(key, batch, dtype)`, for example by its `.moments()`."""
        ...


def as_task(thing: Any) -> Task:
    """The task that a user gives: a task, or a function or class that makes one without arguments.

    Raises:
        UsageError: If it is neither.
    """
    makes_one = isinstance(thing, type) or (callable(thing) and _lacking(thing))
    try:
        made: Any = thing() if makes_one else thing
    except TypeError as error:
        raise UsageError(f"Calling {thing!r} made no task ({told(error)}); {_WANTED}.") from error
    if lacking := _lacking(made):
        raise UsageError(f"The task {made!r} has no {' and no '.join(lacking)}; {_WANTED}.")
    return made


_WANTED = (
    "give an object with dim, context, sample and sample_moments, or a function without arguments "
    "that makes one"
)


def _lacking(thing: Any) -> list[str]:
    return [
        name for name in ("dim", "context", "sample", "sample_moments") if not hasattr(thing, name)
    ]

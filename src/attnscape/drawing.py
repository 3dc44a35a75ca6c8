"""Draws what a model sees of a task: prompts, or moments where they are all it sees."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from attnscape import objective
from attnscape.prompts import Moments, Prompts
from attnscape.tasks import Task, derived_key


@dataclasses.dataclass(frozen=True)
class Draw:
    """`(key, batch)` to prompts or moments.

    Attributes:
        task: Where they come from.
        moments: Whether to draw moments.
        dtype: The precision's name.
    """

    task: Task
    moments: bool
    dtype: str

    @classmethod
    def what(cls, model: Callable[..., Any], task: Task, dtype: Any) -> Draw:
        """What `model` sees."""
        return cls(task, objective.sees_moments_only(model), jnp.dtype(dtype).name)

    def __call__(self, key: Array, batch: int) -> Prompts | Moments:
        sample = self.task.sample_moments if self.moments else self.task.sample
        return sample(key, batch, dtype=jnp.dtype(self.dtype))

    def double(self) -> Draw:
        """The same in double precision."""
        return dataclasses.replace(self, dtype="float64")

    def training_data(self, data_keys: Array, step: int | Array, batch: int) -> Any:
        """The batch of a step, with the leading axis (seed,), like the keys."""
        return jax.vmap(lambda key: self(derived_key(key, step), batch))(data_keys)

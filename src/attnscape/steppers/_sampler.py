"""The sampler of a task: draws prompts, or only their moments if a model needs no more."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key, PyTree

from attnscape import objective
from attnscape.tasks import Moments, Prompts, Task, derived_key


@dataclasses.dataclass(frozen=True)
class Sampler:
    """A function `(key, batch)` that draws prompts or moments.

    Attributes:
        task: The task to draw from.
        moments: Whether to draw moments instead of prompts.
        dtype: Name of the precision.

    Examples:
        >>> import jax
        >>> from attnscape import LinearTransformer, RegressionTask
        >>> from attnscape.steppers import Sampler
        >>> model = LinearTransformer.init(jax.random.key(0), layers=1, dim=2)
        >>> sampler = Sampler.for_model(model, RegressionTask(dim=2), "float32")
        >>> sampler.moments, sampler(jax.random.key(1), 10).gram.shape
        (True, (10, 2, 2))
    """

    task: Task
    moments: bool
    dtype: str

    @classmethod
    def for_model(
        cls, model: Callable[..., PyTree], task: Task, dtype: jax.typing.DTypeLike
    ) -> Sampler:
        """A sampler of moments if the model depends on nothing else, otherwise of prompts."""
        return cls(task, objective.sees_moments_only(model), jnp.dtype(dtype).name)

    def __call__(self, key: Key[Array, ""], batch: int) -> Prompts | Moments:
        sample = self.task.sample_moments if self.moments else self.task.sample
        return sample(key, batch, dtype=jnp.dtype(self.dtype))

    def double(self) -> Sampler:
        """The same sampler in double precision."""
        return dataclasses.replace(self, dtype="float64")

    def training_data(
        self, data_keys: Key[Array, " seed"], step: int | Int[Array, ""], batch: int
    ) -> Prompts | Moments:
        """The batch of a step, with the leading axis (seed,) of the keys."""
        return jax.vmap(lambda key: self(derived_key(key, step), batch))(data_keys)

"""FixedPrompts: prompts drawn once, for training on the full batch."""

from __future__ import annotations

import dataclasses
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array

from attnscape.tasks._made_from import MadeFrom
from attnscape.tasks._normals import derived_key
from attnscape.tasks.prompts import Moments, Prompts
from attnscape.tasks.regression import RegressionTask, check_batch, check_size
from attnscape.trees import astype

PromptsT = TypeVar("PromptsT", Prompts, Moments)


@dataclasses.dataclass(frozen=True)
class FixedPrompts(MadeFrom):
    """A finite set of prompts of another task, drawn once.

    A batch of `size` is the full batch: all prompts of the set, whatever the key. Any other batch
    is drawn from the set at random with replacement. So training with `batch=size` is free of
    noise, and with `evaluation_batch=size` runs are evaluated on the objective that they minimise.

    Attributes:
        task: The task that the prompts come from.
        size: Number of prompts in the set.
        seed: Seed of the draw; other seeds give other sets.

    Raises:
        UsageError: If size is below 1.

    Examples:
        >>> import jax
        >>> from attnscape import RegressionTask
        >>> from attnscape.tasks import FixedPrompts
        >>> task = FixedPrompts(RegressionTask(dim=2), size=100)
        >>> first, second = (task.sample(jax.random.key(i), batch=100) for i in range(2))
        >>> bool((first.x == second.x).all())
        True
    """

    size: int
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size("size", self.size)

    def sample(self, key: Array, batch: int, dtype: jax.typing.DTypeLike = jnp.float32) -> Prompts:
        """All prompts of the set if `batch` is its size, otherwise a random draw from it."""
        return self._chosen(self._prompts(dtype), key, batch)

    def sample_moments(
        self, key: Array, batch: int, dtype: jax.typing.DTypeLike = jnp.float32
    ) -> Moments:
        """The moments of `sample(key, batch, dtype)`."""
        if type(self.task) is RegressionTask:  # by a kernel, if there is one
            whole = self.task.sample_moments(jax.random.key(self.seed), self.size, dtype)
        else:
            whole = self._prompts(dtype).moments()
        return self._chosen(whole, key, batch)

    def _prompts(self, dtype: jax.typing.DTypeLike) -> Prompts:
        """The set. A task of the user's may draw other numbers in another precision."""
        drawn = dtype if type(self.task) is RegressionTask else jnp.float32
        return astype(dtype, self.task.sample(jax.random.key(self.seed), self.size, drawn))

    def _chosen(self, whole: PromptsT, key: Array, batch: int) -> PromptsT:
        check_batch(batch)
        if batch == self.size:
            return whole
        # The type is fixed, because the default type, and so the rows, would differ in float64.
        rows = jax.random.randint(derived_key(key, 0), (batch,), 0, self.size, jnp.int32)
        return jax.tree.map(lambda array: array[rows], whole)

"""The stage of a trace: the shapes, model, task and precision that parts are traced with."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Generator

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from attnscape.identity._built_in import is_built_in
from attnscape.identity._shapes import is_trained, key, shapes, shapes_as
from attnscape.loading import user_errors
from attnscape.steppers import Sampler
from attnscape.tasks import Moments, Prompts, Task, loss_of
from attnscape.trees import astype


@dataclasses.dataclass(frozen=True)
class Stage:
    """A model, its prompts and the settings of a training.

    Attributes:
        make: Makes a model from a key.
        task: The task that prompts come from.
        batch: The number of prompts in an update.
        evaluation_batch: The number of prompts in the fixed batch.
        clip: The global norm for clipping, or None.
        precision: The precision of the runs.
        double: Whether a measure asks for double precision.

    Examples:
        >>> from functools import partial
        >>> from attnscape import LinearTransformer, RegressionTask
        >>> from attnscape.identity import Stage
        >>> model = partial(LinearTransformer.init, layers=1, dim=2)
        >>> stage = Stage(model, RegressionTask(dim=2), 8, 8, None, "float32", double=False)
        >>> stage.parameters.P.shape
        (1, 2, 2)
    """

    make: Callable[[jax.Array], Callable[..., PyTree]]
    task: Task
    batch: int
    evaluation_batch: int
    clip: float | None
    precision: str
    double: bool

    @functools.cached_property
    def model(self) -> PyTree:
        """A model in the runs' precision; a built-in model has only shapes instead of arrays."""
        if is_built_in(self.make):
            return shapes_as(self.precision, eqx.filter_eval_shape(self.make, key()))
        return astype(self.precision, self.make(jax.random.key(0)))

    @functools.cached_property
    def parameters(self) -> PyTree:
        """The shapes and dtypes of the trained parameters."""
        return shapes(eqx.filter(self.model, is_trained))

    @functools.cached_property
    def static(self) -> PyTree:
        """The rest of the model."""
        return eqx.partition(self.model, is_trained)[1]

    @functools.cached_property
    def draw(self) -> Sampler:
        """The sampler of prompts, or of moments if the model sees nothing else."""
        return Sampler.for_model(self.model, self.task, self.precision)

    def prompts(self, batch: int) -> PyTree:
        """The shapes and dtypes of a batch."""
        if not is_built_in(self.task):
            return jax.eval_shape(lambda key: self.draw(key, batch), key())
        d, n = self.task.dim, self.task.context
        sizes = ((batch, n, d), (batch, n), (batch, d), (batch,))
        if self.draw.moments:
            sizes = ((batch, d, d), (batch, d), (batch,), (batch, d), (batch,))
        kind = Moments if self.draw.moments else Prompts
        loss = loss_of(self.task)
        return jax.eval_shape(
            lambda: kind(*(jnp.zeros(size, self.precision) for size in sizes), loss=loss)
        )

    @contextlib.contextmanager
    def tracing(self) -> Generator[None]:
        """Context that sets the precision as the engine does and turns errors into sentences."""
        wide = jax.enable_x64(True) if self.precision == "float64" else contextlib.nullcontext()
        with wide, user_errors():
            yield

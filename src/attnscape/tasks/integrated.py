"""IntegratedPrompts: prompts over whose queries and weights the squared error is averaged exactly.

In the block form of linear attention, a prompt with the linear response y = <w, x> enters only
through its gram G, its weights w and its query q (PAPER.md, section 1): with s_l of the reduced
form and B_l = I + (s_l as a linear map of w), TF - <w, q> = -q^T B_L w, where

    B_0 = I,  B_{l+1} = B_l + A_l^T Q_l^T A_l G B_l.

So the mean of the squared error over independent q and w is tr(B_L S_w B_L^T S_q), whatever their
distributions, if S_q = E q q^T and S_w = E w w^T. It is the mean over d^2 prompts with the same
context: q = sqrt(d) S_q^{1/2} e_i and w = sqrt(d) S_w^{1/2} e_j for i, j = 1, ..., d.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from attnscape.errors import UsageError
from attnscape.tasks._made_from import MadeFrom
from attnscape.tasks.covariates import Distribution
from attnscape.tasks.prompts import Moments, Prompts
from attnscape.tasks.regression import RegressionTask, check_batch
from attnscape.tasks.responses import Linear


@dataclasses.dataclass(frozen=True)
class IntegratedPrompts(MadeFrom):
    """A task with query and weights integrated out: only the covariates of a context are random.

    Each context of `task` becomes d^2 prompts, one for each pair of a query and of weights that
    stand for all of them. The mean of the squared error over these prompts is its expectation over
    query and weights given the context, and so are its gradient and Hessian. A batch therefore has
    d^2 prompts for each context, and the contexts are those that `task` draws with the same key.

    This is exact for models whose prediction is linear in the query and in the weights, which those
    of linear attention in the block form are. For the full form, for softmax attention, for models
    with an MLP and for other losses than the squared error, the mean over these prompts is another
    number.

    Attributes:
        task: A `RegressionTask` with the response `Linear` and without noise, or a function that
            makes one. The second moments of its distributions must be known: a function of your own
            needs a method `second_moment(d)`, which gives E x x^T as a (d, d) array.

    Raises:
        UsageError: If it is another task, or a second moment is unknown or not finite.

    Examples:
        >>> import jax
        >>> from attnscape import LinearTransformer, RegressionTask, loss
        >>> from attnscape.tasks import IntegratedPrompts
        >>> task = RegressionTask(dim=2, context=4)
        >>> prompts = IntegratedPrompts(task).sample(jax.random.key(0), batch=40)  # 10 contexts
        >>> bool((prompts.x[0] == prompts.x[3]).all())
        True
        >>> zero = LinearTransformer.init(jax.random.key(1), dim=2, scale=0.0)  # predicts 0
        >>> round(float(loss(zero, prompts)), 4)  # E <w, q>^2 = d, without any error
        2.0
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        task = self.task
        # By the exact class, because a user's subclass may draw differently.
        if type(task) is not RegressionTask:
            raise UsageError(
                f"The task is {type(task).__name__}; query and weights can be integrated out only "
                "of a RegressionTask."
            )
        if task.response != Linear():
            raise UsageError(
                f"The response is {task.response!r}; query and weights can be integrated out only "
                "if it is Linear()."
            )
        if task.noise:
            raise UsageError(
                f"noise is {task.noise}; query and weights can be integrated out only without "
                "noise: give noise=0."
            )
        for name in ("covariates", "weights"):
            _root(name, getattr(task, name), task.dim)  # raises if it is unknown

    def sample(self, key: Array, batch: int, dtype: jax.typing.DTypeLike = jnp.float32) -> Prompts:
        """The d^2 prompts of each of batch / d^2 contexts.

        Raises:
            UsageError: If batch is not a positive multiple of d^2.
        """
        contexts = self.task.sample(key, self._contexts(batch), dtype)
        x = jnp.repeat(contexts.x, self.dim**2, axis=0)
        query, w = self._pairs(batch, dtype)
        return Prompts(
            x=x,
            y=jnp.einsum("bni,bi->bn", x, w, precision="highest"),
            query=query,
            target=jnp.einsum("bi,bi->b", query, w, precision="highest"),
        )

    def sample_moments(
        self, key: Array, batch: int, dtype: jax.typing.DTypeLike = jnp.float32
    ) -> Moments:
        """The moments of `sample(key, batch, dtype)`, to rounding, without storing the prompts."""
        contexts = self.task.sample_moments(key, self._contexts(batch), dtype)
        gram = jnp.repeat(contexts.gram, self.dim**2, axis=0)
        query, w = self._pairs(batch, dtype)
        cross = jnp.einsum("bij,bj->bi", gram, w, precision="highest")
        return Moments(
            gram=gram,
            cross=cross,
            square=jnp.einsum("bi,bi->b", cross, w, precision="highest"),
            query=query,
            target=jnp.einsum("bi,bi->b", query, w, precision="highest"),
        )

    def _contexts(self, batch: int) -> int:
        """The number of contexts in a batch."""
        check_batch(batch)
        contexts, rest = divmod(batch, self.dim**2)
        if rest:
            raise UsageError(
                f"batch is {batch}; with query and weights integrated out each context has "
                f"d^2 = {self.dim**2} prompts, so give a multiple of {self.dim**2}."
            )
        return contexts

    def _pairs(
        self, batch: int, dtype: jax.typing.DTypeLike
    ) -> tuple[Float[Array, "batch d"], Float[Array, "batch d"]]:
        """Queries and weights of a batch: all pairs (i, j), again for each context."""
        assert isinstance(self.task, RegressionTask)
        d, contexts = self.dim, self._contexts(batch)
        queries = _root("covariates", self.task.covariates, d)
        weights = _root("weights", self.task.weights, d)
        return (
            jnp.tile(jnp.asarray(np.repeat(queries, d, axis=0), dtype), (contexts, 1)),
            jnp.tile(jnp.asarray(np.tile(weights, (d, 1)), dtype), (contexts, 1)),
        )


def _root(name: str, distribution: Distribution, d: int) -> Float[np.ndarray, "d d"]:
    """sqrt(d) times the symmetric root of a distribution's second moment."""
    find = getattr(distribution, "second_moment", None)
    if find is None:
        raise UsageError(
            f"The second moment of the {name}, {distribution!r}, is unknown; give the distribution "
            "a method second_moment(d) that returns E x x^T as a (d, d) array."
        )
    moment = np.asarray(find(d), np.float64)
    if moment.shape != (d, d) or not np.isfinite(moment).all():
        raise UsageError(
            f"The second moment of the {name}, {distribution!r}, is {moment.tolist()}; it must be "
            f"finite and of shape {(d, d)}."
        )
    values, vectors = np.linalg.eigh(moment)
    return np.sqrt(d) * (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T

"""Batch sharpness: the curvature of a batch's own loss along its own gradient."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from attnscape import objective
from attnscape.errors import UsageError
from attnscape.measures._measure import Iterate, Measure, Variable
from attnscape.measures._schedule import Schedule, every
from attnscape.tasks import derived_key

_TOGETHER = 10  # batches per kernel call; bounds the memory for prompts


@dataclasses.dataclass(frozen=True)
class BatchSharpness(Measure):
    """Mean of g_B^T H_B g_B / |g_B|^2 over fresh batches B, with its standard error.

    g_B and H_B are gradient and Hessian of the same batch (Andreyev and Beneventano, 2024, "Edge of
    stochastic stability", arXiv 2412.20553). They find that SGD without momentum at the rate eta
    raises it until it is about 2 / eta, where the largest eigenvalue of the Hessian is smaller; for
    an infinite batch it is the curvature along the gradient, at most that eigenvalue. Hold it
    against 2 / eta only for plain SGD without clipping. With momentum beta the full-batch threshold
    is 2 (1 + beta) / eta (Cohen et al., 2021, "Gradient descent on neural networks typically occurs
    at the edge of stability"), and clipping at a norm c makes the rate min(eta, eta c / |g|).

    `batch_sharpness_of_means` is the mean of g_B^T H_B g_B divided by the mean of |g_B|^2: batches
    with large gradients weigh more. Where single prompts dominate a batch, the two differ by far
    and need many samples. The ratio of means is biased by about 1 / samples.

    Attributes:
        schedule: The steps at which it is measured.
        samples: Batches, at least 2.
        batch: Prompts of each batch; give the batch of the training.

    Raises:
        UsageError: If a number is out of range.

    Examples:
        >>> import jax
        >>> from attnscape import LinearTransformer, RegressionTask
        >>> from attnscape.measures import BatchSharpness, Iterate
        >>> model = LinearTransformer.init(jax.random.key(0), layers=1, dim=1)  # only Q moves
        >>> iterate = Iterate.of(model, RegressionTask(dim=1))
        >>> taken = BatchSharpness(samples=4, batch=10)(iterate)
        >>> bool(taken["batch_sharpness"] > 0)
        True
    """

    schedule: Schedule = every(250)
    samples: int = 100
    batch: int = 1000

    precision = "float64"
    needs_training = False
    needs_state = False

    def __post_init__(self) -> None:
        if self.samples < 2 or self.batch < 1:
            raise UsageError(
                f"samples is {self.samples} and batch {self.batch}; give at least 2 samples and a "
                "batch of at least 1."
            )

    def __call__(self, iterate: Iterate) -> Mapping[str, Array]:
        def one(index: Int[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
            prompts = iterate.draw(derived_key(iterate.key, index), self.batch)
            gradient = objective.value_and_grad(iterate.model, prompts)[1]
            product = objective.hvp(iterate.model, prompts, gradient)
            along, curved = ravel_pytree(gradient)[0], ravel_pytree(product)[0]
            return (along * curved).sum(), (along**2).sum()

        curvatures, squares = jax.lax.map(one, jnp.arange(self.samples), batch_size=_TOGETHER)
        quotients = curvatures / squares
        return {
            "batch_sharpness": quotients.mean(),
            "batch_sharpness_error": quotients.std(ddof=1) / self.samples**0.5,
            "batch_sharpness_of_means": curvatures.mean() / squares.mean(),
        }

    def variables(self) -> Mapping[str, Variable]:
        return {
            "batch_sharpness": Variable("batch sharpness"),
            "batch_sharpness_error": Variable("standard error of the batch sharpness"),
            "batch_sharpness_of_means": Variable(
                "mean curvature along batch gradients over their mean squared norm"
            ),
        }

"""Gradient noise: stochastic gradients minus the true gradient (PAPER.md, section 4)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, Key, PyTree

from attnscape import objective
from attnscape.errors import UsageError
from attnscape.measures._measure import Iterate, Measure, Variable
from attnscape.measures._schedule import Schedule, at
from attnscape.measures._spectrum import eigenvalues
from attnscape.tasks import derived_key

_TOGETHER = 50  # stochastic gradients per kernel call; bounds the memory for prompts


@dataclasses.dataclass(frozen=True)
class GradientNoise(Measure):
    """Stochastic gradients minus a reference gradient of many prompts, at one iterate.

    The reference is the mean over fresh prompts. Every stochastic gradient has its own prompts. The
    norms are over all parameters. The noise vectors are not stored, but the eigenvalues of their
    covariance are.

    Attributes:
        schedule: The steps at which it is measured; by default step 0 only.
        samples: Stochastic gradients for each batch size, at least 2.
        batch_sizes: Prompts of a stochastic gradient; one or more sizes.
        reference: Prompts of the reference gradient, a multiple of 1000.

    Raises:
        UsageError: If a number is out of range.

    Examples:
        >>> import jax
        >>> from attnscape import LinearTransformer, RegressionTask
        >>> from attnscape.measures import GradientNoise, Iterate
        >>> model = LinearTransformer.init(jax.random.key(0))
        >>> iterate = Iterate.of(model, RegressionTask())
        >>> noise = GradientNoise(samples=20, batch_sizes=(10, 100), reference=1000)
        >>> noise(iterate)["noise_norm"].shape
        (2, 20)
    """

    schedule: Schedule = at(0)
    samples: int = 10_000
    batch_sizes: tuple[int, ...] = (1000,)
    reference: int = 100_000

    needs_training = False
    needs_state = False

    def __post_init__(self) -> None:
        if self.samples < 2 or not self.batch_sizes or min(self.batch_sizes) < 1:
            raise UsageError(
                f"samples is {self.samples} and batch_sizes {self.batch_sizes}; give at least 2 "
                "samples and one batch size of at least 1."
            )
        if self.reference < 1000 or self.reference % 1000:
            raise UsageError(f"reference is {self.reference}; it must be a multiple of 1000.")

    def __call__(self, iterate: Iterate) -> Mapping[str, Array]:
        def gradient(key: Key[Array, ""], batch: int) -> Float[Array, " parameter"]:
            prompts = iterate.draw(key, batch)
            return ravel_pytree(objective.value_and_grad(iterate.model, prompts)[1])[0]

        def many(stream: int, count: int, batch: int) -> Float[Array, "sample parameter"]:
            def one(index: Int[Array, ""]) -> Float[Array, " parameter"]:
                return gradient(derived_key(iterate.key, index, stream), batch)

            return jax.lax.map(one, jnp.arange(count), batch_size=_TOGETHER)

        reference = many(0, self.reference // 1000, 1000).mean(axis=0)
        noise = jnp.stack(
            [
                many(stream, self.samples, batch) - reference[None]
                for stream, batch in enumerate(self.batch_sizes, start=1)
            ]
        )
        covariance = jnp.einsum("bsi,bsj->bij", noise, noise, precision="highest") / self.samples
        return {
            "reference_gradient": reference,
            "noise_norm": jnp.linalg.norm(noise, axis=-1),
            "noise_covariance_eigenvalues": jax.vmap(eigenvalues)(covariance),
        }

    def variables(self) -> Mapping[str, Variable]:
        sample = ("batch_size", "sample")
        return {
            "reference_gradient": Variable("reference gradient", ("parameter",)),
            "noise_norm": Variable("norm of the gradient noise", sample),
            "noise_covariance_eigenvalues": Variable(
                "eigenvalues of the noise covariance", ("batch_size", "eigenvalue")
            ),
        }

    def coordinates(self, model: Callable[..., PyTree]) -> Mapping[str, Sequence[object]]:
        return {"batch_size": self.batch_sizes, "parameter": objective.parameter_blocks(model)}

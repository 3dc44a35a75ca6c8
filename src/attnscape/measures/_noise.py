"""Gradient noise: how stochastic gradients scatter around the gradient (PAPER.md, section 4)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from attnscape import objective
from attnscape.errors import UsageError
from attnscape.measures._measure import Iterate, Measure, Schedule, Variable, at
from attnscape.measures._spectrum import eigenvalues
from attnscape.tasks import derived_key

_TOGETHER = 50  # stochastic gradients a kernel call; bounds the memory that prompts take


@dataclasses.dataclass(frozen=True)
class GradientNoise(Measure):
    """Stochastic gradients minus a reference gradient of many prompts, at one iterate.

    The reference is the mean over fresh prompts; every stochastic gradient has prompts of its own.
    Norms are over all parameters. Of the vectors themselves the eigenvalues of their covariance are
    kept.

    Attributes:
        schedule: When; by default at initialisation.
        samples: Stochastic gradients of each batch size.
        batch_sizes: Prompts of a stochastic gradient.
        reference: Prompts of the reference gradient; a multiple of 1000.
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
        def gradient(key: Array, batch: int) -> Array:
            prompts = iterate.draw(key, batch)
            return ravel_pytree(objective.value_and_gradient(iterate.model, prompts)[1])[0]

        def many(stream: int, count: int, batch: int) -> Array:
            def one(index: Array) -> Array:
                return gradient(derived_key(iterate.key, index, stream), batch)

            return jax.lax.map(one, jnp.arange(count), batch_size=_TOGETHER)

        reference = many(0, self.reference // 1000, 1000).mean(axis=0)
        noise = jnp.stack(
            [
                many(stream, self.samples, batch) - reference[None]
                for stream, batch in enumerate(self.batch_sizes, start=1)
            ]
        )
        covariance = jnp.einsum("bsi,bsj->bij", noise, noise) / self.samples
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

    def coordinates(self, model: Callable[..., Any]) -> Mapping[str, Sequence[Any]]:
        return {"batch_size": self.batch_sizes, "parameter": objective.parameter_blocks(model)}

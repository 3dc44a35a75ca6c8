"""What all runs share, and the state that they are in."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from attnscape import objective
from attnscape.transformations import Factory, update_keywords


@dataclasses.dataclass(frozen=True)
class Group:
    """The runs of one optimizer: all its learning rates, side by side.

    Attributes:
        name: For people.
        factory: From a learning rate to the optimizer.
        learning_rates: Of its runs.
        traced_rates: Whether the factory takes rates that JAX traces, so that one program serves
            them all; else each rate is compiled as a number.
    """

    name: str
    factory: Factory
    learning_rates: tuple[float, ...]
    traced_rates: bool = True


class Runs(eqx.Module):
    """The state of runs; every array has the leading axes (seed, learning rate)."""

    data_keys: Array  # one a seed: where its prompts come from
    models: tuple[Any, ...]  # one entry an optimizer
    states: tuple[Any, ...]
    diverged_at: tuple[Any, ...]


@runtime_checkable
class Stepping(Protocol):
    """Runs of some optimizers."""

    groups: tuple[Group, ...]

    def start(self, initial_models: Any, data_keys: Array) -> Runs:
        """Runs at step 0, of seeds that are given by their initial parameters and data keys."""
        ...

    def advance(self, runs: Runs, first: int, last: int) -> Runs:
        """The runs after updates number first, ..., last - 1."""
        ...

    def evaluated(self, runs: Runs) -> tuple[Any, ...]:
        """Of each optimizer, the models that measures look at."""
        ...

    def preconditioners(self, runs: Runs) -> tuple[Any, ...]:
        """Of each optimizer, what its gradients were divided by; None where it does not say."""
        ...


@dataclasses.dataclass(frozen=True)
class Problem:
    """What all runs share.

    Attributes:
        first_model: The parameters that one of the runs starts at.
        static: The rest of the model.
        training_data: `(data_keys, step)` to the batch of a step, with the leading axis (seed,).
        clip: Global norm for clipping, or None.
        dtype: Of the parameters.
    """

    first_model: Any
    static: Any
    training_data: Callable[[Array, int | Array], Any]
    clip: float | None
    dtype: jnp.dtype

    def loss(self, model: Any, prompts: Any) -> Array:
        """Of one run's parameters on a batch."""
        return objective.loss(eqx.combine(model, self.static), prompts)

    def value_and_gradient(self, model: Any, prompts: Any) -> tuple[Array, Any]:
        """Of one run's parameters on a batch; the gradient has the parameters' structure."""
        loss, gradient = objective.value_and_gradient(eqx.combine(model, self.static), prompts)
        return loss, eqx.filter(gradient, eqx.is_inexact_array)

    def clipped(self, gradient: Any) -> Any:
        """One run's gradient, clipped by its global norm."""
        if self.clip is None:
            return gradient
        return optax.clip_by_global_norm(self.clip).update(gradient, optax.EmptyState())[0]

    def hessian_diagonal(self, model: Any, prompts: Any) -> Any:
        """Exact, with the parameters' structure."""
        hessian = objective.hessian(eqx.combine(model, self.static), prompts)
        return ravel_pytree(model)[1](jnp.diag(hessian))

    def keywords(self, model: Any, prompts: Any, loss: Array, gradient: Any) -> dict[str, Any]:
        """What the optimizer of one run may ask for at its next update."""
        return update_keywords(
            loss,
            gradient,
            lambda parameters: self.loss(parameters, prompts),
            lambda parameters: self.clipped(self.value_and_gradient(parameters, prompts)[1]),
            lambda parameters: self.hessian_diagonal(parameters, prompts),
        )

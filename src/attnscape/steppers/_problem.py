"""The contract of a stepper, the problem that all runs share, and the state of runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, Key, PyTree

from attnscape import objective
from attnscape.optimizers import Factory, update_keywords
from attnscape.tasks import Moments, Prompts
from attnscape.trees import Plain


@dataclasses.dataclass(frozen=True)
class Group:
    """The runs of one optimizer at all its learning rates.

    Attributes:
        name: The optimizer's name, for messages and results.
        factory: Function from a learning rate to the optimizer.
        learning_rates: The learning rates of its runs.
        traced_rates: Whether JAX can trace the factory's learning rate, so that one program works
            for all rates; otherwise each rate is compiled as a number.

    Examples:
        >>> from attnscape.optimizers import adam
        >>> from attnscape.steppers import Group
        >>> group = Group("adam", adam, learning_rates=(0.01, 0.02))
        >>> len(group.learning_rates), group.traced_rates
        (2, True)
    """

    name: str
    factory: Factory
    learning_rates: tuple[float, ...]
    traced_rates: bool = True


class Runs(eqx.Module):
    """The state of runs.

    All but `data_keys` are tuples with one entry for each optimizer, whose arrays have the leading
    axes (seed, learning rate). Optimizers may differ in their number of rates, written `_`.

    Attributes:
        data_keys: For each seed, the key that its prompts are drawn with.
        models: Parameters.
        states: States of the optimizers.
        diverged_at: The step at which loss or parameters stopped being finite; -1 if they are.

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from attnscape.steppers import Runs
        >>> models = (jnp.zeros((2, 3, 4)),)  # one optimizer: 2 seeds, 3 rates, 4 parameters
        >>> keys = jax.random.split(jax.random.key(0), 2)
        >>> runs = Runs(keys, models, states=((),), diverged_at=(jnp.full((2, 3), -1),))
        >>> len(runs.models), runs.models[0].shape
        (1, (2, 3, 4))
    """

    data_keys: Key[Array, " seed"]
    models: tuple[PyTree[Float[Array, "seed _ ..."]], ...]
    states: tuple[PyTree, ...]
    diverged_at: tuple[Int[Array | np.ndarray, "seed _"], ...]


@runtime_checkable
class Stepper(Protocol):
    """Advances the runs of some optimizers.

    Attributes:
        groups: The optimizers with their learning rates.

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape.steppers import CompiledStepper, Problem, Stepper
        >>> problem = Problem(None, None, lambda keys, step: None, None, jnp.dtype("float32"))
        >>> isinstance(CompiledStepper(problem, groups=[]), Stepper)
        True
    """

    groups: tuple[Group, ...]

    def start(
        self, initial_models: PyTree[Float[Array, "seed ..."]], data_keys: Key[Array, " seed"]
    ) -> Runs:
        """The runs at step 0, from the initial parameters and the data key of each seed."""
        ...

    def advance(self, runs: Runs, first: int, last: int) -> Runs:
        """The runs after the updates first, ..., last - 1."""
        ...

    def save(self, runs: Runs) -> Plain:
        """All that the next updates depend on, as plain values.

        Raises:
            NotSavableError: If an optimizer's state cannot be saved.
        """
        ...

    def restore(self, runs: Runs, saved: Plain) -> Runs:
        """The runs as they were saved; `runs` are such runs at any other step.

        Raises:
            ValueError: If others were saved; `start` has to be called again.
        """
        ...

    def eval_params(self, runs: Runs) -> tuple[PyTree[Float[Array, "seed _ ..."]], ...]:
        """The parameters that are measured, for each optimizer."""
        ...

    def preconditioners(self, runs: Runs) -> tuple[PyTree[Float[Array, "seed _ ..."]] | None, ...]:
        """The divisors of the gradients in the last update, for each optimizer; None if unknown."""
        ...


@dataclasses.dataclass(frozen=True)
class Problem:
    """The problem that all runs share.

    Attributes:
        first_model: The initial parameters of one of the runs.
        static: The rest of the model, without parameters.
        training_data: Function `(data_keys, step)` that returns the batch of a step, with the
            leading axis (seed,).
        clip: Global norm for clipping, or None.
        dtype: Type of the parameters.

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape.steppers import Problem
        >>> nothing = lambda keys, step: None  # no data, as it only clips here
        >>> problem = Problem(None, None, nothing, clip=1.0, dtype=jnp.dtype("float32"))
        >>> [round(float(entry), 2) for entry in problem.clipped(jnp.array([3.0, 4.0]))]
        [0.6, 0.8]
    """

    first_model: PyTree
    static: PyTree
    training_data: Callable[[Key[Array, " seed"], int | Int[Array, ""]], Prompts | Moments]
    clip: float | None
    dtype: jnp.dtype

    def loss(self, model: PyTree, prompts: Prompts | Moments) -> Float[Array, ""]:
        """The loss of one run's parameters on a batch."""
        return objective.loss(eqx.combine(model, self.static), prompts)

    def value_and_grad(
        self, model: PyTree, prompts: Prompts | Moments
    ) -> tuple[Float[Array, ""], PyTree]:
        """Loss and gradient of one run on a batch; the gradient has the parameters' structure."""
        loss, gradient = objective.value_and_grad(eqx.combine(model, self.static), prompts)
        return loss, eqx.filter(gradient, eqx.is_inexact_array)

    def clipped(self, gradient: PyTree) -> PyTree:
        """One run's gradient, clipped by its global norm."""
        if self.clip is None:
            return gradient
        return optax.clip_by_global_norm(self.clip).update(gradient, optax.EmptyState())[0]

    def hessian_diagonal(self, model: PyTree, prompts: Prompts | Moments) -> PyTree:
        """The exact diagonal of the Hessian, with the parameters' structure."""
        return ravel_pytree(model)[1](jnp.diag(self.hessian(model, prompts)))

    def hessian(self, model: PyTree, prompts: Prompts | Moments) -> Float[Array, "p p"]:
        """The exact Hessian, in the order of `ravel_pytree`."""
        return objective.hessian(eqx.combine(model, self.static), prompts)

    def gauss_newton(self, model: PyTree, prompts: Prompts | Moments) -> Float[Array, "p p"]:
        """The Gauss-Newton part of the exact Hessian, in the order of `ravel_pytree`."""
        return objective.gauss_newton(eqx.combine(model, self.static), prompts)

    def keywords(
        self,
        model: PyTree,
        prompts: Prompts | Moments,
        loss: Float[Array, ""],
        gradient: PyTree,
    ) -> dict[str, object]:
        """The keyword arguments that the optimizer of one run may use at its next update."""
        return update_keywords(
            loss,
            gradient,
            lambda parameters: self.loss(parameters, prompts),
            lambda parameters: self.clipped(self.value_and_grad(parameters, prompts)[1]),
            lambda parameters: self.hessian_diagonal(parameters, prompts),
            lambda parameters: self.hessian(parameters, prompts),
            lambda parameters: self.gauss_newton(parameters, prompts),
        )

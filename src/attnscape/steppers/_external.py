"""The stepper of external optimizers (outside of JAX): advances their runs one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from attnscape import native
from attnscape.errors import UsageError
from attnscape.loading import format_user_error
from attnscape.optimizers import ExternalOptimizer, ExternalRun, ResumableRun
from attnscape.steppers._problem import Group, Problem, Runs
from attnscape.tasks import Moments, Prompts
from attnscape.trees import NotSavableError, Plain, from_plain, to_plain

_SHORT = 3e-4  # seconds of an evaluation that one thread makes alone
# The arguments and results of `ExternalStepper._clipped`.
_LossAndGradient = Callable[..., tuple[Array, list[Array], Array]]


class _Run:
    """One run: the parameters that its optimizer changes in place, and when it diverged."""

    def __init__(
        self,
        name: str,
        factory: ExternalOptimizer,
        rate: float,
        leaves: list[Float[np.ndarray, ...]],
    ) -> None:
        self.name, self.leaves, self.diverged_at = name, leaves, -1
        try:
            self._optimizer: ExternalRun = factory.start(rate, leaves)
        except (UsageError, KeyboardInterrupt):
            raise
        except BaseException as error:  # a user's part may also leave by sys.exit
            raise UsageError(f"The optimizer {name} failed: {format_user_error(error)}.") from error

    def step(
        self, number: int, loss_and_gradient: _LossAndGradient, data: Prompts | Moments
    ) -> None:
        """Makes update number `number` on its batch, unless the run has diverged."""
        if self.diverged_at >= 0:
            return
        losses, norm = [], np.ones(())

        def here() -> tuple[float, Sequence[jax.Array]]:
            nonlocal norm
            loss, gradient, norm = loss_and_gradient(self.leaves, data, norm, not losses)
            losses.append(float(loss))
            return losses[-1], gradient

        try:
            self._optimizer.step(here)
        except (UsageError, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise UsageError(
                f"The optimizer {self.name} failed: {format_user_error(error)}."
            ) from error
        finite = all(np.isfinite(losses[:1]))
        if not finite or not all(np.isfinite(leaf).all() for leaf in self.leaves):
            self.diverged_at = number + 1 if finite else number

    def save(self) -> Plain:
        """All that its next steps depend on."""
        if not isinstance(self._optimizer, ResumableRun):
            raise NotSavableError(f"the optimizer {self.name} has no methods save and restore")
        try:
            own = self._optimizer.save()
        except KeyboardInterrupt:
            raise
        except NotSavableError as error:
            raise NotSavableError(f"of the optimizer {self.name}, {error}") from error
        except BaseException as error:
            raise NotSavableError(
                f"the optimizer {self.name} failed: {format_user_error(error)}"
            ) from error
        leaves = [np.array(leaf) for leaf in self.leaves]
        return {"leaves": leaves, "diverged_at": self.diverged_at, "optimizer": own}

    def restore(self, saved: Plain) -> None:
        """Goes on from there."""
        if not isinstance(self._optimizer, ResumableRun):
            raise ValueError(f"the optimizer {self.name} has no methods save and restore")
        for leaf, value in zip(self.leaves, saved["leaves"], strict=True):
            np.copyto(leaf, value, casting="no")
        self.diverged_at = saved["diverged_at"]
        try:
            self._optimizer.restore(saved["optimizer"])
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise ValueError(
                f"the optimizer {self.name} failed: {format_user_error(error)}"
            ) from error

    def eval_params(self) -> list[Float[np.ndarray, ...]]:
        """The parameters that are measured; NaN after divergence."""
        if self.diverged_at >= 0:
            return [np.full_like(leaf, np.nan) for leaf in self.leaves]
        return [np.array(leaf) for leaf in self._optimizer.eval_params()]


class ExternalStepper:
    """Steps runs of external optimizers, on the same prompts as the other stepper.

    Their state is in the optimizers, which change it in place, so runs can only go forwards. It can
    be saved if they are `ResumableRun`s, as PyTorch's are.

    Args:
        problem: The problem that the runs share.
        groups: External optimizers with their learning rates.

    Examples:
        >>> import types
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from attnscape.optimizers import ExternalOptimizer
        >>> from attnscape.steppers import ExternalStepper, Group, Problem
        >>> class Still(ExternalOptimizer):
        ...     def start(self, learning_rate, leaves):
        ...         return types.SimpleNamespace(step=lambda loss: None, eval_params=lambda: leaves)
        >>> nothing = lambda keys, step: None  # no data, as no step is made here
        >>> problem = Problem(jnp.zeros(4), None, nothing, None, jnp.dtype("float32"))
        >>> stepper = ExternalStepper(problem, [Group("still", Still(), (0.1, 0.2, 0.5))])
        >>> runs = stepper.start(jnp.zeros((2, 4)), jax.random.split(jax.random.key(0), 2))
        >>> runs.models[0].shape  # seeds, learning rates, parameters
        (2, 3, 4)
    """

    def __init__(self, problem: Problem, groups: Sequence[Group]) -> None:
        self.groups: tuple[Group, ...] = tuple(groups)
        self._problem = problem
        self._tree = jax.tree.structure(problem.first_model)
        self._compiled = jax.jit(self._clipped)
        self._fastest = np.inf  # seconds of an evaluation in the last segment
        self._data = jax.jit(self._by_seed)
        self._runs: list[list[list[_Run]]] = []  # group, seed, learning rate

    def start(
        self, initial_models: PyTree[Float[Array, "seed ..."]], data_keys: Key[Array, " seed"]
    ) -> Runs:
        """The runs at step 0."""
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(initial_models)]
        self._runs = [
            [
                [
                    # A new array for each run, because optimizers write into it.
                    _Run(group.name, _outside(group), rate, [np.array(a[seed]) for a in leaves])
                    for rate in group.learning_rates
                ]
                for seed in range(len(data_keys))
            ]
            for group in self.groups
        ]
        return self._snapshot(data_keys)

    def advance(self, runs: Runs, first: int, last: int) -> Runs:
        """The runs after the updates first, ..., last - 1."""
        # Other threads of the kernels are asleep between steps: to wake them costs more than they
        # save of a short evaluation, and while they wait for the next they slow the optimizer down.
        alone = native.xla_threads() if self._fastest < _SHORT else 1
        self._fastest = np.inf
        with native.callers(alone):
            for number in range(first, last):
                for seed, data in enumerate(self._data(runs.data_keys, number)):
                    for of_group in self._runs:
                        for run in of_group[seed]:
                            run.step(number, self._loss_and_gradient, data)
        return self._snapshot(runs.data_keys)

    def _loss_and_gradient(self, *arguments: Any) -> tuple[Array, list[Array], Array]:
        """`_clipped`, compiled and waited for: the optimizer may change the arrays afterwards."""
        began = time.perf_counter()
        result = jax.block_until_ready(self._compiled(*arguments))
        self._fastest = min(self._fastest, time.perf_counter() - began)
        return result

    def save(self, runs: Runs) -> Plain:
        """All that the next updates depend on; `runs` are the present ones."""
        return {"runs": to_plain(runs), "own": [run.save() for run in self._all_runs()]}

    def restore(self, runs: Runs, saved: Plain) -> Runs:
        """The runs as they were saved."""
        restored = from_plain(runs, saved["runs"])
        for run, own in zip(self._all_runs(), saved["own"], strict=True):
            run.restore(own)
        return restored

    def _all_runs(self) -> list[_Run]:
        return [run for of_group in self._runs for of_seed in of_group for run in of_seed]

    def eval_params(self, runs: Runs) -> tuple[PyTree[Float[Array, "seed _ ..."]], ...]:
        """The parameters that are measured, for each optimizer."""
        return runs.models

    def preconditioners(self, runs: Runs) -> tuple[None, ...]:
        """None for each optimizer, because the divisors of its gradients are unknown."""
        return (None,) * len(self.groups)

    def _clipped(
        self,
        leaves: list[Float[Array, ...]],
        data: Prompts | Moments,
        norm: Float[Array, ""],
        first: Bool[Array, ""],
    ) -> tuple[Float[Array, ""], list[Float[Array, ...]], Float[Array, ""]]:
        """Loss and gradient, both times the factor that clips the gradient at the first point.

        The factor is the same for all points of a step, so line searches see one function. `norm`
        is the norm of the gradient at the step's first point.
        """
        model = jax.tree.unflatten(self._tree, leaves)
        loss, gradient = self._problem.value_and_grad(model, data)
        clip = self._problem.clip
        if clip is not None:
            norm = jnp.where(first, optax.tree.norm(gradient), norm).astype(loss.dtype)
            loss, gradient = jax.tree.map(
                lambda a: jnp.where(norm < clip, a, a / norm * clip), (loss, gradient)
            )
        return loss, jax.tree.leaves(gradient), norm

    def _by_seed(
        self, data_keys: Key[Array, " seed"], step: Int[Array, ""]
    ) -> list[Prompts | Moments]:
        """The batch of a step for each seed."""
        data = self._problem.training_data(data_keys, step)
        return [jax.tree.map(lambda a, s=s: a[s], data) for s in range(len(data_keys))]

    def _snapshot(self, data_keys: Key[Array, " seed"]) -> Runs:
        """The present state of all runs, as JAX arrays."""
        models, diverged = [], []
        for of_group in self._runs:
            points = [[run.eval_params() for run in of_seed] for of_seed in of_group]
            leaves = [
                jnp.array([[run[k] for run in of_seed] for of_seed in points])
                for k in range(self._tree.num_leaves)
            ]
            models.append(jax.tree.unflatten(self._tree, leaves))
            diverged.append(np.array([[r.diverged_at for r in s] for s in of_group], np.int32))
        return Runs(data_keys, tuple(models), ((),) * len(models), tuple(diverged))


def _outside(group: Group) -> ExternalOptimizer:
    """The group's external optimizer."""
    assert isinstance(group.factory, ExternalOptimizer)
    return group.factory

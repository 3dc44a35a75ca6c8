"""The stepper of optax optimizers: all their runs advance in one compiled loop."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.extend.core import ClosedJaxpr
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from attnscape.optimizers import (
    ExternalOptimizer,
    OptaxFactory,
    Preconditioned,
    WithEvalParams,
    accepting,
    clipped,
)
from attnscape.steppers._one_matrix import one_matrix_at_a_time
from attnscape.steppers._problem import Group, Problem, Runs
from attnscape.tasks import Moments, Prompts
from attnscape.trees import Plain, from_plain, to_plain

# As JAX prints a program.
_CALLBACK = re.compile(r"\b((pure|io|debug)_callback|debug_print)\[")


class CompiledStepper:
    """Steps runs in JAX, vectorised over seeds and pairs of optimizer and learning rate.

    Args:
        problem: The problem that the runs share.
        groups: Optimizers with their learning rates.
        own: Whether a part is the user's, so that an update may decompose several matrices at once.

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from attnscape.optimizers import sgd
        >>> from attnscape.steppers import CompiledStepper, Group, Problem
        >>> nothing = lambda keys, step: None  # no data, as no step is made here
        >>> problem = Problem(None, None, nothing, None, jnp.dtype("float32"))
        >>> stepper = CompiledStepper(problem, [Group("sgd", sgd, (0.1, 0.2, 0.5))])
        >>> runs = stepper.start(jnp.zeros((2, 4)), jax.random.split(jax.random.key(0), 2))
        >>> runs.models[0].shape  # seeds, learning rates, parameters
        (2, 3, 4)
    """

    def __init__(self, problem: Problem, groups: Sequence[Group], *, own: bool = False) -> None:
        self.groups: tuple[Group, ...] = tuple(groups)
        self._problem = problem
        self._optimizers = [_prepared(group, problem.clip) for group in groups]
        safe = one_matrix_at_a_time if own else _as_it_is
        step = safe(self._step)
        self._advance = jax.jit(
            lambda runs, first, last: jax.lax.fori_loop(first, last, step, runs)
        )
        self._eval_params = jax.jit(safe(self._all_eval_params))
        self._preconditioned = jax.jit(safe(self._preconditioners))
        self._elsewhere = any(
            isinstance(optimizer(group.learning_rates[0]), WithEvalParams)
            for optimizer, group in zip(self._optimizers, self.groups, strict=True)
        )

    def start(
        self, initial_models: PyTree[Float[Array, "seed ..."]], data_keys: Key[Array, " seed"]
    ) -> Runs:
        """The runs at step 0."""
        models, states, diverged = [], [], []
        for group, optimizer in zip(self.groups, self._optimizers, strict=True):
            count = len(group.learning_rates)
            spread = jax.tree.map(
                lambda a, count=count: jnp.repeat(a[:, None], count, axis=1),
                initial_models,
            )
            models.append(spread)
            init = self._over_rates(group, lambda rate, model, o=optimizer: o(rate).init(model))
            states.append(jax.vmap(init)(spread))
            diverged.append(jnp.full((len(data_keys), count), -1, jnp.int32))
        return Runs(data_keys, tuple(models), tuple(states), tuple(diverged))

    def advance(self, runs: Runs, first: int, last: int) -> Runs:
        """The runs after the updates first, ..., last - 1."""
        return jax.block_until_ready(self._advance(runs, first, last))

    def save(self, runs: Runs) -> Plain:
        """All leaves: nothing else is kept between two updates."""
        return to_plain(runs)

    def restore(self, runs: Runs, saved: Plain) -> Runs:
        """The runs as they were saved."""
        return from_plain(runs, saved)

    def calls_python(self, runs: Runs) -> bool:
        """Whether a user's part has callbacks, which run at every update."""
        return any(_CALLBACK.search(str(program)) for program in self._programs(runs))

    def _programs(self, runs: Runs) -> list[ClosedJaxpr]:
        traced = (
            self._advance.trace(runs, 0, 1),
            self._preconditioned.trace(runs),
            self._eval_params.trace(runs),
        )
        return [each.jaxpr for each in traced]

    def eval_params(self, runs: Runs) -> tuple[PyTree[Float[Array, "seed _ ..."]], ...]:
        """The parameters that are measured, for each optimizer."""
        return self._eval_params(runs) if self._elsewhere else runs.models

    def preconditioners(self, runs: Runs) -> tuple[PyTree[Float[Array, "seed _ ..."]] | None, ...]:
        """The divisors of the gradients in the last update, for each optimizer; None if unknown."""
        return self._preconditioned(runs)

    def _preconditioners(self, runs: Runs) -> tuple[PyTree[Float[Array, "seed _ ..."]] | None, ...]:
        found = []
        for group, optimizer, states in zip(
            self.groups, self._optimizers, runs.states, strict=True
        ):
            known = isinstance(optimizer(group.learning_rates[0]), Preconditioned)
            of_rates = self._over_rates(
                group,
                lambda rate, state, o=optimizer: o(rate).preconditioner(state),  # pyright: ignore[reportAttributeAccessIssue]
            )
            found.append(jax.vmap(of_rates)(states) if known else None)
        return tuple(found)

    def _all_eval_params(self, runs: Runs) -> tuple[PyTree[Float[Array, "seed _ ..."]], ...]:
        models = []
        for index, (group, optimizer) in enumerate(zip(self.groups, self._optimizers, strict=True)):
            model = runs.models[index]
            if isinstance(optimizer(group.learning_rates[0]), WithEvalParams):
                point = self._over_rates(
                    group,
                    lambda rate, state, model, o=optimizer: o(rate).eval_params(state, model),  # pyright: ignore[reportAttributeAccessIssue]
                )
                model = jax.vmap(point)(runs.states[index], model)
            models.append(model)
        return tuple(models)

    def _step(self, step: Int[Array, ""], runs: Runs) -> Runs:
        """The runs after one update."""
        data = self._problem.training_data(runs.data_keys, step)
        # One call for the runs of all optimizers, so that the threads have equal work.
        together = jax.tree.map(lambda *a: jnp.concatenate(a, axis=1), *runs.models)
        losses, gradients = jax.vmap(jax.vmap(self._problem.value_and_grad, (0, None)))(
            together, data
        )
        models, states, diverged, start = [], [], [], 0
        for index, (group, optimizer) in enumerate(zip(self.groups, self._optimizers, strict=True)):
            count = len(group.learning_rates)
            mine = slice(start, start + count)
            start += count

            def update(
                rate: float | Array,
                gradient: PyTree,
                state: PyTree,
                model: PyTree,
                loss: Float[Array, ""],
                diverged_at: Int[Array, ""],
                prompts: Prompts | Moments,
                optimizer: OptaxFactory = optimizer,
            ) -> tuple[PyTree, PyTree, Int[Array, ""]]:
                keywords = self._problem.keywords(model, prompts, loss, gradient)
                updates, state = optimizer(rate).update(gradient, state, model, **keywords)  # pyright: ignore[reportCallIssue]
                model = optax.apply_updates(model, updates)
                # The loss belongs to the iterate before this update, the model to the one after it.
                lost = jnp.where(jnp.isfinite(loss), step + 1, step)
                now = (diverged_at < 0) & ~(jnp.isfinite(loss) & _all_finite(model))
                diverged_at = jnp.where(now, lost, diverged_at)
                alive = diverged_at < 0
                model = jax.tree.map(lambda a: jnp.where(alive, a, jnp.nan), model)
                return model, state, diverged_at

            updated = jax.vmap(self._over_rates(group, update, shared=1))(
                jax.tree.map(lambda a, mine=mine: a[:, mine], gradients),
                runs.states[index],
                runs.models[index],
                losses[:, mine],
                runs.diverged_at[index],
                data,
            )
            models.append(updated[0])
            states.append(updated[1])
            diverged.append(updated[2])
        return Runs(runs.data_keys, tuple(models), tuple(states), tuple(diverged))

    def _over_rates(
        self, group: Group, function: Callable[..., PyTree], shared: int = 0
    ) -> Callable[..., PyTree]:
        """Calls `function(rate, ...)` for all rates of a group; they are the arguments' first axis.

        The last `shared` arguments have no such axis: all rates share them.
        """
        rates = np.array(group.learning_rates, self._problem.dtype)

        def traced(*arguments: PyTree) -> PyTree:
            axes = [0] * (len(arguments) - shared) + [None] * shared
            return jax.vmap(function, (0, *axes))(rates, *arguments)

        def apart(*arguments: PyTree) -> PyTree:
            own, others = arguments[: len(arguments) - shared], arguments[len(arguments) - shared :]
            results = [
                function(rate, *jax.tree.map(lambda a, i=index: a[i], own), *others)
                for index, rate in enumerate(group.learning_rates)
            ]
            return jax.tree.map(lambda *a: jnp.stack([jnp.asarray(each) for each in a]), *results)

        return traced if group.traced_rates else apart


def _as_it_is(function: Callable[..., PyTree]) -> Callable[..., PyTree]:
    return function


def _prepared(group: Group, clip: float | None) -> OptaxFactory:
    """The group's factory, with clipping, and with updates that accept any keyword."""
    factory = group.factory
    assert not isinstance(factory, ExternalOptimizer)
    return clipped(lambda rate: accepting(factory(rate)), clip)


def _all_finite(tree: PyTree) -> Bool[Array, ""]:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(a)) for a in jax.tree.leaves(tree)]))

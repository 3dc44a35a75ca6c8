"""The engine: starts, advances and measures the runs of a seed.

All runs of a seed start at the same parameters and see the same prompts, for every optimizer and
learning rate; prompts are drawn once for each (seed, step). Between two measurements the training
step repeats inside one compiled loop, vectorised over pairs of optimizer and learning rate. The
same program runs for every seed, several seeds at once on threads, so a seed's numbers are the same
bits for any set of seeds.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key, PyTree, Shaped

from attnscape import native
from attnscape.identity import check_draws, is_built_in
from attnscape.measures import Measure
from attnscape.optimizers import ExternalOptimizer
from attnscape.steppers import (
    CompiledStepper,
    ExternalStepper,
    Group,
    Problem,
    Runs,
    Sampler,
    Stepper,
)
from attnscape.tasks import Task
from attnscape.training._evaluator import Evaluator
from attnscape.training._start import Start
from attnscape.training._threads import (
    FirstCallAlone,
    processors,
    settings_reach_threads,
)
from attnscape.trees import Plain, astype

# Equal to split(key)[1], the data key of the run with this seed; training batches have keys derived
# from it, so no prompt is drawn twice.
_EVALUATION_STREAM = 1

States = tuple[Runs, ...]  # one `Runs` for each stepper


class Engine:
    """Starts, advances and measures the runs of one seed at a time.

    Args:
        task: The task that prompts come from.
        model: Function from a key to a seed's initial model.
        groups: The optimizers and their learning rates.
        clip: Global norm for clipping, or None.
        batch: Prompts of an update.
        precision: Precision of the runs.
        evaluation_seeds: Seeds of the fixed batches that runs are evaluated on.
        evaluation_batch: Prompts of each fixed batch.
        start: Parameters to start from; None for the model's initial ones.
    """

    def __init__(
        self,
        task: Task,
        model: Callable[[Array], Callable[..., PyTree]],
        groups: Sequence[Group],
        *,
        clip: float | None,
        batch: int,
        precision: str,
        evaluation_seeds: Sequence[int],
        evaluation_batch: int,
        start: Start | None = None,
    ) -> None:
        dtype = jnp.dtype(precision)
        self._initial_parameters = jax.vmap(
            lambda key: eqx.filter(astype(dtype, model(key)), eqx.is_inexact_array)
        )
        # The non-parameter parts of the model are made with key 0 for all seeds; identities are
        # computed from the same model.
        first = self.first_model = astype(dtype, model(jax.random.key(0)))
        first_parameters, static = eqx.partition(first, eqx.is_inexact_array)
        self._start, self.first_step = start, start.step if start else 0
        self._unravel = jax.vmap(lambda row: ravel_pytree(first_parameters)[1](row.astype(dtype)))
        sampler = Sampler.for_model(first, task, dtype)
        check_draws(sampler, batch)
        training_data = functools.partial(sampler.training_data, batch=batch)
        problem = Problem(first_parameters, static, training_data, clip, dtype)
        self._built_in = is_built_in((task, model, [group.factory for group in groups]))
        self._steppers = _steppers(problem, groups, own=not self._built_in)
        self._first_alone, self._starting = FirstCallAlone(), threading.Lock()
        self.groups = tuple(group for stepper in self._steppers for group in stepper.groups)
        self.evaluation_seeds = tuple(evaluation_seeds)
        draw = jax.jit(lambda key: sampler(key, evaluation_batch))
        keys = [
            jax.random.fold_in(jax.random.key(seed), _EVALUATION_STREAM)
            for seed in evaluation_seeds
        ]
        self._evaluator = Evaluator(static, sampler, batch, [draw(key) for key in keys])

    def start(self, seed: int) -> States:
        """The runs of a seed at step 0."""
        with self._starting:  # the user's model and `init` run, not a compiled program
            init_keys, data_keys = _keys(seed)
            if self._start is None:
                initial_models = self._initial_parameters(init_keys)
            else:
                initial_models = self._unravel(self._start.row(seed)[None])
            return tuple(stepper.start(initial_models, data_keys) for stepper in self._steppers)

    def save(self, runs: States) -> Plain:
        """All that the next updates of a seed depend on.

        Raises:
            NotSavableError: If an optimizer's state cannot be saved.
        """
        return [
            stepper.save(of_stepper)
            for stepper, of_stepper in zip(self._steppers, runs, strict=True)
        ]

    def restore(self, seed: int, saved: Plain) -> States:
        """The runs of a seed as `save` was given them.

        Raises:
            ValueError: If the runs of another training were saved.
        """
        # After no update the arrays have the types that they have after any other number of them.
        fresh = self.advance(self.start(seed), 0, 0)
        return tuple(
            stepper.restore(of_stepper, each)
            for stepper, of_stepper, each in zip(self._steppers, fresh, saved, strict=True)
        )

    def advance(self, runs: States, first: int, last: int) -> States:
        """The runs after the updates first, ..., last - 1."""

        def advance() -> States:
            return tuple(
                stepper.advance(of_stepper, first + self.first_step, last + self.first_step)
                for stepper, of_stepper in zip(self._steppers, runs, strict=True)
            )

        return self._first_alone(("advance", _types(runs)), advance)

    def evaluate(
        self, measure: Measure, runs: States, step: int, ahead: States | None
    ) -> list[dict[str, Shaped[np.ndarray, "1 _ ..."]]]:
        """Measures the runs; returns one dict of arrays per optimizer.

        Args:
            measure: The measure.
            runs: The runs.
            step: The runs' step.
            ahead: The runs one step later, if the measure needs them.
        """

        def evaluate() -> list[dict[str, Shaped[np.ndarray, "1 _ ..."]]]:
            return self._evaluator.evaluate(
                measure,
                step + self.first_step,
                runs[0].data_keys,
                self._eval_params(runs),
                [state for of_stepper in runs for state in of_stepper.states],
                self._eval_params(ahead) if ahead and measure.needs_update else None,
                self._preconditioners(runs) if measure.needs_preconditioner else None,
            )

        return self._first_alone((measure, _types(runs)), evaluate)

    def seeds_at_once(self, seeds: Sequence[int], measures: Sequence[Measure], memory: int) -> int:
        """How many seeds are trained at once.

        They are trained one by one on an accelerator, if Python code runs along the way (external
        optimizers, callbacks), if a measure is a user's, or if JAX's settings do not reach new
        threads.

        Args:
            seeds: The seeds.
            measures: The measures.
            memory: How many seeds the memory has room for.
        """
        most = min(len(seeds), memory, processors())
        on_cpu = native.default_device().platform == "cpu"
        if most < 2 or not on_cpu or not settings_reach_threads():
            return 1
        compiled = [each for each in self._steppers if isinstance(each, CompiledStepper)]
        if len(compiled) < len(self._steppers):
            return 1
        if not self._built_in:
            runs = self.start(seeds[0])
            pairs = zip(compiled, runs, strict=True)
            if any(stepper.calls_python(of_stepper) for stepper, of_stepper in pairs):
                return 1
        return most if all(map(is_built_in, measures)) else 1

    def _preconditioners(self, runs: States) -> list[PyTree[Float[Array, "seed _ ..."]] | None]:
        return [
            preconditioner
            for stepper, of_stepper in zip(self._steppers, runs, strict=True)
            for preconditioner in stepper.preconditioners(of_stepper)
        ]

    def _eval_params(self, runs: States) -> list[PyTree[Float[Array, "seed _ ..."]]]:
        """The parameters that are measured, for each optimizer."""
        return [
            parameters
            for stepper, of_stepper in zip(self._steppers, runs, strict=True)
            for parameters in stepper.eval_params(of_stepper)
        ]


def _types(runs: States) -> tuple[object, ...]:
    """What decides whether JAX traces a program again for these runs."""
    return tuple(jax.typeof(leaf) for leaf in jax.tree.leaves(runs))


def _keys(seed: int) -> tuple[Key[Array, 1], Key[Array, 1]]:
    """The keys of a seed's initial model and of its prompts, each with the axis (seed,)."""
    init, data = jax.random.split(jax.random.key(seed))
    return init[None], data[None]


def _steppers(problem: Problem, groups: Sequence[Group], *, own: bool) -> list[Stepper]:
    """One stepper for optimizers in JAX and one for external optimizers, if there are any."""
    inside = [group for group in groups if not isinstance(group.factory, ExternalOptimizer)]
    outside = [group for group in groups if isinstance(group.factory, ExternalOptimizer)]
    steppers: list[Stepper] = [CompiledStepper(problem, inside, own=own)] if inside else []
    return [*steppers, ExternalStepper(problem, outside)] if outside else steppers

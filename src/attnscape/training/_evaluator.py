"""Measures all runs at once.

A compiled program is shared by all trainings in the process with the same measure, model and
shapes, if these are built in. Programs with user's parts are compiled for each training, because
such parts may have changed unnoticed.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PyTree, Shaped

from attnscape import spec
from attnscape.identity import is_built_in
from attnscape.measures import Iterate, Measure, quantity_of
from attnscape.steppers import Sampler
from attnscape.tasks import Moments, Prompts, derived_key
from attnscape.trees import astype

_MEASURE_STREAM = 1  # the training batches of a step have stream 0


class Evaluator:
    """Measures runs of one model and task; arrays of runs have the axes (seed, learning rate).

    Args:
        static: The model without its parameters.
        sampler: Draws the prompts.
        batch: Prompts of a training batch.
        evaluations: The fixed batches that all runs are evaluated on.
    """

    def __init__(
        self, static: PyTree, sampler: Sampler, batch: int, evaluations: Sequence[Prompts | Moments]
    ) -> None:
        self._static, self._sampler = static, sampler
        self._evaluations = evaluations
        self._training_key = _ProgramKey(sampler, batch)
        self._programs: dict[Measure, _ProgramKey] = {}

    def evaluate(
        self,
        measure: Measure,
        step: int,
        data_keys: Key[Array, " seed"],
        models: Sequence[PyTree[Float[Array, "seed _ ..."]]],
        states: Sequence[PyTree],
        ahead: Sequence[PyTree[Float[Array, "seed _ ..."]]] | None,
        preconditioners: Sequence[PyTree[Float[Array, "seed _ ..."]] | None] | None,
    ) -> list[dict[str, Shaped[np.ndarray, "seed _ ..."]]]:
        """Returns one dict of measured arrays per optimizer.

        Arrays measured on evaluation batches have the axes (seed, learning rate, evaluation, ...).

        Args:
            measure: The measure.
            step: The runs' step.
            data_keys: One key per seed.
            models: The parameters, one entry per optimizer.
            states: The optimizers' states, one entry per optimizer.
            ahead: The parameters one step later, if the measure needs them.
            preconditioners: The preconditioners, if the measure needs them; an entry is None if an
                optimizer has none.
        """
        training = None
        if measure.needs_training:
            training = _training_data(self._training_key, data_keys, step)
        if measure not in self._programs:
            self._programs[measure] = self._program(measure)
        program = self._programs[measure]
        none = [None] * len(models)
        keys = _keys(data_keys, step)
        on_evaluation = {n for n, v in measure.variables().items() if v.on_evaluation}
        if on_evaluation:
            evaluations, count = self._stacked, measure.evaluations or len(self._evaluations)
        else:  # no number depends on it, so one batch is enough
            evaluations, count = self._first, 1
        x64 = measure.precision == "float64"
        with jax.enable_x64(True) if x64 else contextlib.nullcontext():
            evaluated = [
                jax.device_get(
                    _evaluate(program, *of_optimizer, training, keys, evaluations, count)
                )
                for of_optimizer in zip(
                    models,
                    states if measure.needs_state else none,
                    ahead or none,
                    preconditioners or none,
                    strict=True,
                )
            ]
        return [
            {
                name: np.moveaxis(per_batch[:count], 0, 2)
                if name in on_evaluation
                else per_batch[0]
                for name, per_batch in values.items()
            }
            for values in evaluated
        ]

    @functools.cached_property
    def _stacked(self) -> PyTree:
        """The evaluation batches, stacked along a new first axis."""
        # By numpy, as XLA would compile a program for each shape.
        return jax.tree.map(lambda *a: jnp.asarray(np.stack(a)), *self._evaluations)

    @functools.cached_property
    def _first(self) -> PyTree:
        """The first evaluation batch, with the axis of `_stacked`."""
        return jax.tree.map(lambda a: a[None], self._evaluations[0])

    def _program(self, measure: Measure) -> _ProgramKey:
        draw = None
        if measure.needs_draw:
            draw = self._sampler.double() if measure.precision == "float64" else self._sampler
        quantity = quantity_of(measure)  # steps and batches are chosen outside of the program
        return _ProgramKey(measure, self._static, draw, described=(quantity, self._static, draw))


class _ProgramKey:
    """Cache key of a compiled program.

    Keys are equal if all their parts are built in and have equal descriptions; any other key equals
    only itself.

    Args:
        parts: What the program is made of.
        described: What of it determines the program; None for all.
    """

    def __init__(self, *parts: Any, described: object = None) -> None:
        self.parts = parts
        self._content: object = object()
        if is_built_in(parts):
            self._content = spec.digest(spec.describe(described or parts))

    def __hash__(self) -> int:
        return hash(self._content)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ProgramKey) and self._content == other._content


@functools.partial(jax.jit, static_argnums=0)
def _training_data(
    program: _ProgramKey, data_keys: Key[Array, " seed"], step: int | Int[Array, ""]
) -> Prompts | Moments:
    draw, batch = program.parts
    return draw.training_data(data_keys, step, batch)


@jax.jit
def _keys(data_keys: Key[Array, " seed"], step: int | Int[Array, ""]) -> Key[Array, " seed"]:
    return jax.vmap(lambda key: derived_key(key, step, _MEASURE_STREAM))(data_keys)


@functools.partial(jax.jit, static_argnums=0)
def _evaluate(
    program: _ProgramKey,
    models: PyTree[Float[Array, "seed rate ..."]],
    states: PyTree,
    ahead: PyTree[Float[Array, "seed rate ..."]] | None,
    preconditioners: PyTree[Float[Array, "seed rate ..."]] | None,
    training: Prompts | Moments | None,
    keys: Key[Array, " seed"],
    evaluations: Prompts | Moments,
    count: int | Int[Array, ""],
) -> Mapping[str, Shaped[Array, "evaluation seed rate ..."]]:
    """The measure of all runs on each evaluation batch.

    The batches are the first axis of `evaluations`. A loop goes through the first `count` of them;
    because the compiler does not know how many, the loop's body, and with it the bits of a batch's
    numbers, is the same for any set of batches. Those of the other batches are 0.
    """
    measure, static, draw = program.parts

    def one(
        model: PyTree,
        state: PyTree,
        ahead: PyTree,
        preconditioner: PyTree,
        training: Prompts | Moments | None,
        key: Key[Array, ""],
        evaluation: Prompts | Moments,
    ) -> Mapping[str, Array]:
        update = None if ahead is None else jax.tree.map(jnp.subtract, ahead, model)
        if measure.precision == "float64":
            model, update, preconditioner, training, evaluation = astype(
                jnp.float64, (model, update, preconditioner, training, evaluation)
            )
        model = eqx.combine(model, static)
        return measure(
            Iterate(model, training, evaluation, key, draw, state, update, preconditioner)
        )

    over_rates = jax.vmap(one, (0, 0, 0, 0, None, None, None))
    over_seeds = jax.vmap(over_rates, (0, 0, 0, 0, 0, 0, None))

    def on_batch(index: int | Int[Array, ""]) -> Mapping[str, Array]:
        evaluation = jax.tree.map(lambda a: a[index], evaluations)
        return over_seeds(models, states, ahead, preconditioners, training, keys, evaluation)

    batches = jax.tree.leaves(evaluations)[0].shape[0]
    results = jax.tree.map(
        lambda shape: jnp.zeros((batches, *shape.shape), shape.dtype), jax.eval_shape(on_batch, 0)
    )
    return jax.lax.fori_loop(
        0,
        count,
        lambda index, so_far: jax.tree.map(
            lambda all_of_it, values: all_of_it.at[index].set(values), so_far, on_batch(index)
        ),
        results,
    )

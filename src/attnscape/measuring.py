"""Takes measures of all runs at once.

What is compiled serves every training of the process whose measure, model and shapes are the same,
where they are attnscape's own. What is not is compiled for each training anew: it may have changed
without a trace.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg.cython_lapack  # noqa: F401 - the LAPACK that XLA calls, whose threads are limited
from jaxtyping import Array
from threadpoolctl import ThreadpoolController

from attnscape import spec
from attnscape.drawing import Draw
from attnscape.identity import is_own
from attnscape.measures import Iterate, Measure
from attnscape.tasks import derived_key

_MEASURE_STREAM = 1  # apart from the training batches of a step, which have stream 0


class Measuring:
    """Measures of runs of one model and task; arrays of runs have the axes (seed, learning rate).

    Args:
        static: The model without its parameters.
        draw: Where prompts come from.
        batch: Prompts of a training batch.
        evaluations: The fixed batches that all runs are evaluated on.
    """

    def __init__(self, static: Any, draw: Draw, batch: int, evaluations: Sequence[Any]):
        self._static, self._draw = static, draw
        self._evaluations = evaluations
        self._training = _Program(draw, batch)
        self._programs: dict[Measure, _Program] = {}
        # Finding the libraries takes milliseconds: once is enough, when all are loaded.
        self._pools = ThreadpoolController()

    def take(
        self,
        measure: Measure,
        step: int,
        data_keys: Array,
        models: Sequence[Any],
        states: Sequence[Any],
        ahead: Sequence[Any] | None,
        preconditioners: Sequence[Any] | None,
    ) -> list[dict[str, np.ndarray]]:
        """Of each optimizer, what `measure` names.

        What is taken on evaluation batches has the axes (seed, learning rate, evaluation, ...).

        Args:
            measure: What to take.
            step: The runs' step.
            data_keys: Of each seed.
            models: Of each optimizer, the parameters.
            states: Of each optimizer, its state.
            ahead: Of each optimizer, the parameters one step later, if the measure needs them.
            preconditioners: Of each optimizer, its own or None, if the measure needs them.
        """
        training = None
        if measure.needs_training:
            training = _training(self._training, data_keys, step)
        if measure not in self._programs:
            self._programs[measure] = self._program(measure)
        none = [None] * len(models)
        keys = _keys(data_keys, step)
        on_evaluation = {n for n, v in measure.variables().items() if v.on_evaluation}
        evaluations = self._evaluations[: measure.evaluations if on_evaluation else 1]
        with contextlib.ExitStack() as context:
            # The spectra of some hundred small matrices are soonest done one after the other:
            # BLAS threads that share each of them mostly wait for one another.
            context.enter_context(self._pools.limit(limits=1, user_api="blas"))
            if measure.precision == "float64":
                context.enter_context(jax.enable_x64(True))
            # One program takes one batch after the other, so that the numbers of a batch are the
            # same bits whatever the others are. Each uses all cores: two at once would be slower.
            take = functools.partial(_take, self._programs[measure])
            taken = [
                [
                    jax.block_until_ready(
                        take(model, state, later, scale, training, keys, evaluation)
                    )
                    for evaluation in evaluations
                ]
                for model, state, later, scale in zip(
                    models,
                    states if measure.needs_state else none,
                    ahead or none,
                    preconditioners or none,
                    strict=True,
                )
            ]
        return [
            {
                name: np.stack([values[name] for values in of_batches], axis=2)
                if name in on_evaluation
                else of_batches[0][name]
                for name in of_batches[0]
            }
            for of_batches in jax.device_get(taken)
        ]

    def _program(self, measure: Measure) -> _Program:
        draw = None
        if measure.needs_draw:
            draw = self._draw.double() if measure.precision == "float64" else self._draw
        return _Program(measure, self._static, draw)


class _Program:
    """What a program is compiled for: equal to all of own parts that declare the same, or none."""

    def __init__(self, *parts: Any) -> None:
        self.parts = parts
        own = is_own(parts)
        self._content: object = spec.digest(spec.describe(parts)) if own else object()

    def __hash__(self) -> int:
        return hash(self._content)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Program) and self._content == other._content


@functools.partial(jax.jit, static_argnums=0)
def _training(program: _Program, data_keys: Array, step: Array) -> Any:
    draw, batch = program.parts
    return draw.training_data(data_keys, step, batch)


@jax.jit
def _keys(data_keys: Array, step: Array) -> Array:
    return jax.vmap(lambda key: derived_key(key, step, _MEASURE_STREAM))(data_keys)


@functools.partial(jax.jit, static_argnums=0)
def _take(
    program: _Program,
    models: Any,
    states: Any,
    ahead: Any,
    preconditioners: Any,
    training: Any,
    keys: Array,
    evaluation: Any,
) -> Any:
    measure, static, draw = program.parts

    def one(model, state, ahead, preconditioner, training, key, evaluation):
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
    return jax.vmap(over_rates, (0, 0, 0, 0, 0, 0, None))(
        models, states, ahead, preconditioners, training, keys, evaluation
    )


def astype(dtype: Any, tree: Any) -> Any:
    """The tree with its inexact arrays in another precision."""
    return jax.tree.map(lambda a: a.astype(dtype) if eqx.is_inexact_array(a) else a, tree)

"""The identity of a measure."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import equinox as eqx
import jax
from jaxtyping import Array, PyTree

from attnscape import spec
from attnscape.identity._built_in import is_built_in
from attnscape.identity._declared import declared
from attnscape.identity._identity import Identity, by_programs
from attnscape.identity._program import Program, program
from attnscape.identity._shapes import AXES, key, repeated, shapes_as
from attnscape.identity._stage import Stage
from attnscape.loading import name_of
from attnscape.measures import Iterate, Measure
from attnscape.optimizers import ExternalOptimizer, Factory


def of_measure(
    measure: Measure, optimizers: Mapping[str, Factory], steps: int, stage: Stage
) -> Identity:
    """The identity of a measure.

    A built-in measure is identified by its fields. Any other measure is identified by the programs
    that evaluate it, its schedule and its labels.

    Raises:
        UsageError: If it cannot be traced.

    Examples:
        >>> from functools import partial
        >>> from attnscape import LinearTransformer, RegressionTask
        >>> from attnscape.identity import Stage, of_measure
        >>> from attnscape.measures import EvaluationLoss
        >>> model = partial(LinearTransformer.init, layers=1, dim=2)
        >>> stage = Stage(model, RegressionTask(dim=2), 8, 8, None, "float32", double=False)
        >>> of_measure(EvaluationLoss(), {}, 100, stage).content["own"]["name"]
        'attnscape.EvaluationLoss'
    """
    # A measure that steps by named optimizers depends on optax, so its program is traced.
    built_in = is_built_in(measure) and not hasattr(measure, "optimizers")
    if built_in and (
        not measure.needs_draw or (is_built_in(stage.task) and is_built_in(stage.make))
    ):
        return Identity(declared(measure))
    with stage.tracing():
        labels = {
            "name": name_of(type(measure)),
            "steps": measure.schedule.within(steps),
            "variables": measure.variables(),
            "evaluations": measure.evaluations,
            "coordinates": measure.coordinates(stage.model),
        }
        identity = by_programs(
            name_of(type(measure)),
            measure,
            lambda: list(_programs(measure, optimizers, stage)),
        )
    return Identity({"labels": spec.describe(labels), **identity.content}, identity.reasons)


def _programs(
    measure: Measure, optimizers: Mapping[str, Factory], stage: Stage
) -> Iterator[Program]:
    states = {"": None}
    if measure.needs_state:
        states = {name: _state(factory, stage) for name, factory in optimizers.items()}
    dtype = measure.precision or stage.precision
    draw = stage.draw.double() if dtype == "float64" else stage.draw
    evaluation = shapes_as(dtype, stage.prompts(stage.evaluation_batch))
    training = repeated(shapes_as(dtype, stage.prompts(stage.batch)), AXES[:1])
    models = repeated(shapes_as(dtype, stage.parameters), AXES)

    def one(
        model: PyTree,
        state: PyTree,
        update: PyTree,
        training: PyTree,
        key: Array,
        evaluation: PyTree,
    ) -> Mapping[str, Array]:
        return measure(
            Iterate(
                eqx.combine(model, stage.static),
                training if measure.needs_training else None,
                evaluation,
                key,
                draw if measure.needs_draw else None,
                state,
                update if measure.needs_update else None,
                update if measure.needs_preconditioner else None,
            )
        )

    over_rates = jax.vmap(one, (0, 0, 0, None, None, None))
    vectorised = jax.vmap(over_rates, (0, 0, 0, 0, 0, None))
    keys = repeated(key(), AXES[:1])
    with jax.enable_x64(True) if dtype == "float64" else contextlib.nullcontext():
        for state in states.values():
            yield program(vectorised, models, state, models, training, keys, evaluation)


def _state(factory: Factory, stage: Stage) -> PyTree:
    """The shapes and dtypes of an optimizer's state."""
    if isinstance(factory, ExternalOptimizer):
        return ()
    state = jax.eval_shape(lambda model: factory(1.0).init(model), stage.parameters)
    return repeated(state, AXES)

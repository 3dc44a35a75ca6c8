"""The identity of a model."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import equinox as eqx
import jax
from jaxtyping import Array, PyTree

from attnscape import objective, spec
from attnscape.identity._built_in import is_built_in
from attnscape.identity._identity import Identity, by_programs
from attnscape.identity._program import Program, program
from attnscape.identity._shapes import AXES, key, repeated, shapes_as
from attnscape.identity._stage import Stage
from attnscape.tasks import Prompts
from attnscape.trees import astype


def of_model(stage: Stage) -> Identity:
    """The identity of a model.

    A built-in model is identified by its spec. Any other model is identified by the
    programs of its init, call, gradient and Hessian-vector product on the prompts' shapes.

    Raises:
        UsageError: If it cannot be traced.

    Examples:
        >>> from functools import partial
        >>> from attnscape import LinearTransformer, RegressionTask
        >>> from attnscape.identity import Stage, of_model
        >>> model = partial(LinearTransformer.init, layers=1, dim=2)
        >>> stage = Stage(model, RegressionTask(dim=2), 8, 8, None, "float32", double=False)
        >>> of_model(stage).content["keywords"]
        {'layers': 1, 'dim': 2}
    """
    if is_built_in(stage.make):
        return Identity(spec.describe(stage.make))
    with stage.tracing():
        return by_programs("model", stage.make, lambda: list(_programs(stage)))


def _programs(stage: Stage) -> Iterator[Program]:
    def init(key: Array) -> PyTree:
        return eqx.filter(astype(stage.precision, stage.make(key)), eqx.is_inexact_array)

    yield program(jax.vmap(init), repeated(key(), AXES[:1]))
    # Not `stage.static`: if `make` has a state, the untrained parts may have changed since.
    first = stage.make(jax.random.key(0))
    static = eqx.partition(astype(stage.precision, first), eqx.is_inexact_array)[1]
    kinds = ("float64",) if stage.double else ()
    for dtype in dict.fromkeys((stage.precision, *kinds)):
        with jax.enable_x64(True) if dtype == "float64" else contextlib.nullcontext():
            parameters = shapes_as(dtype, stage.parameters)
            for batch in dict.fromkeys((stage.batch, stage.evaluation_batch)):
                data = shapes_as(dtype, stage.prompts(batch))
                yield from _derivatives(static, parameters, data)
                if isinstance(data, Prompts):
                    call = _on_models(lambda model, data: model(data), static)
                    yield program(call, repeated(parameters, AXES), repeated(data, AXES[:1]))


def _derivatives(static: PyTree, parameters: PyTree, data: PyTree) -> Iterator[Program]:
    models, batches = repeated(parameters, AXES), repeated(data, AXES[:1])
    yield program(_on_models(objective.value_and_grad, static), models, batches)

    def hvp(model: PyTree, direction: PyTree, data: PyTree) -> PyTree:
        model, direction = eqx.combine(model, static), eqx.combine(direction, static)
        product = objective.hvp(model, data, direction)
        return eqx.filter(product, eqx.is_inexact_array)

    vectorised = jax.vmap(jax.vmap(hvp, (0, 0, None)), (0, 0, 0))
    yield program(vectorised, models, models, batches)


def _on_models(
    function: Callable[[PyTree, PyTree], PyTree], static: PyTree
) -> Callable[[PyTree, PyTree], PyTree]:
    """The function over seeds and learning rates, with models given by their parameters."""

    def on_parameters(parameters: PyTree, data: PyTree) -> PyTree:
        result = function(eqx.combine(parameters, static), data)
        return jax.tree.map(lambda a: a if eqx.is_array(a) else None, result)

    return jax.vmap(jax.vmap(on_parameters, (0, None)), (0, 0))

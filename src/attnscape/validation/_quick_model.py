"""Quick checks of a model: it can be made, called and trained on the prompts of a task."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from attnscape import objective
from attnscape.models import ModelFactory
from attnscape.steppers import Problem, Sampler
from attnscape.tasks import Prompts
from attnscape.trees import astype
from attnscape.validation._errors import BrokenError, placed, user_errors
from attnscape.validation._quick_task import require_task
from attnscape.validation._remembered import remembered
from attnscape.validation._shapes import RUNS, keys_of, with_runs
from attnscape.validation._tracing import short, trace

# Names of the checks, as `attnscape check` lists them.
MAKES_MODEL, PREDICTIONS, GRADIENT = "makes a model", "predictions", "gradient"
_STATIC = (
    "The model has a static field that JAX cannot compare, such as an array; make it a field "
    "without static=True."
)


@remembered
def require_model(
    factory: ModelFactory, task: Any, clip: float | None, batch: int, dtype: jax.typing.DTypeLike
) -> tuple[Problem, PyTree]:
    """Checks that a model can be made from any key and trained on a task.

    Returns:
        The problem shared by runs of the model, and the shapes of a step's data.

    Raises:
        BrokenError: If it cannot, or if the task cannot be used.
    """
    task = require_task(task, batch, dtype)
    first = astype(dtype, _first(factory))
    parameters, static = eqx.partition(first, eqx.is_inexact_array)
    _require_equal_structures(factory, first, dtype)
    models = with_runs(parameters)
    if not objective.sees_moments_only(first):
        prompts = jax.eval_shape(lambda key: task.sample(key, batch, dtype=dtype), keys_of(()))

        def predict(model: PyTree, prompts: Prompts) -> PyTree:
            predictions = eqx.combine(model, static)(prompts)
            _require_predictions(predictions, factory, batch, dtype)
            return predictions

        over_runs = jax.vmap(predict, (0, None))
        trace(PREDICTIONS, "The model", factory, over_runs, models, prompts)
    draw = Sampler.for_model(first, task, dtype)
    data = jax.eval_shape(lambda key: draw(key, batch), keys_of(()))
    problem = Problem(parameters, static, lambda keys, step: data, clip, jnp.dtype(dtype))
    over_runs = jax.vmap(problem.value_and_grad, (0, None))
    trace(GRADIENT, "The model's loss", factory, over_runs, models, data)
    return problem, data


def _first(factory: ModelFactory) -> PyTree:
    """The model of one key; raises if JAX cannot trace or train it."""
    with user_errors(MAKES_MODEL, "The model", factory):
        model = factory(jax.random.key(0))
        callable_, leaves = callable(model), jax.tree.leaves(model)
    kind = type(model).__name__
    parameters = [leaf for leaf in leaves if eqx.is_inexact_array(leaf)]
    if not callable_:
        sentence = f"A key gives {short(model)}, which cannot be called with prompts."
    elif len(leaves) == 1 and leaves[0] is model:
        sentence = (
            f"A key gives a {kind}, into which JAX cannot see; make it an equinox.Module, or give "
            "a pair (function of parameters and prompts, init from a key)."
        )
    elif not parameters:
        sentence = (
            f"The model {kind} has no floating-point arrays: there is nothing to train (plain "
            "numbers and integers are constants)."
        )
    elif any(jnp.iscomplexobj(leaf) for leaf in parameters):
        sentence = f"The model {kind} has complex parameters; give their parts as real arrays."
    else:
        return model
    raise BrokenError(MAKES_MODEL, placed(sentence, factory))


def _require_equal_structures(
    factory: ModelFactory, first: PyTree, dtype: jax.typing.DTypeLike
) -> None:
    """Checks that models of different keys differ in their arrays only."""

    def initial(key: Array) -> PyTree:
        model = factory(key)
        try:
            same = jax.tree.structure(model) == jax.tree.structure(first)
        except ValueError as error:  # comparing arrays by == has no single truth value
            raise BrokenError(MAKES_MODEL, placed(_STATIC, factory)) from error
        if not same:
            sentence = "Another key gives a model of another structure; only arrays may differ."
            raise BrokenError(MAKES_MODEL, placed(sentence, factory))
        return eqx.filter(astype(dtype, model), eqx.is_inexact_array)

    trace(MAKES_MODEL, "The model's init", factory, jax.vmap(initial), keys_of((RUNS,)))


def _require_predictions(
    predictions: PyTree, factory: ModelFactory, batch: int, dtype: jax.typing.DTypeLike
) -> None:
    if not isinstance(predictions, jax.Array):
        given = f"{short(predictions)}"
    elif predictions.shape != (batch,):
        given = f"predictions of shape {predictions.shape}"
    elif predictions.dtype != dtype:
        given = f"predictions of type {predictions.dtype}"
    else:
        return
    sentence = (
        f"The model gave {given} for {batch} prompts; they must be one {dtype} number a prompt, "
        f"of shape ({batch},), as parameters and prompts are {dtype}."
    )
    raise BrokenError(PREDICTIONS, placed(sentence, factory))

"""What must hold before anything is compiled: the checks that training and `check` share.

All of them look at shapes alone, and call the parts as the engine does: under jit, mapped over
runs.
"""

from __future__ import annotations

import dataclasses
import functools
import numbers
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from attnscape import objective
from attnscape.contracts._telling import BrokenError, placed, telling
from attnscape.contracts._tracing import (
    DETERMINISTIC,
    depends,
    difference,
    form,
    require_arrays,
    short,
    trace,
    words,
)
from attnscape.drawing import Draw
from attnscape.measuring import astype
from attnscape.models import ModelFactory
from attnscape.prompts import Moments, Prompts
from attnscape.stepping import Group, Problem
from attnscape.tasks import RegressionTask, Task, as_task
from attnscape.transformations import (
    EvaluatedElsewhere,
    Outside,
    Preconditioned,
    Transformation,
    accepting,
)

# Names of checks, as `check` lists them.
IS_TASK, PROMPTS, MOMENTS = "is a task", "prompts", "moments"
MAKES_MODEL, PREDICTIONS, GRADIENT = "makes a model", "predictions", "gradient"
MAKES_OPTIMIZER, UPDATE, STATE = "makes a transformation", "update", "shapes and types"


def _remembered(function: Callable[..., Any]) -> Callable[..., Any]:
    """Parts that were found usable are not looked at again, where they can be told apart."""
    cached = functools.lru_cache(maxsize=32)(function)

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        try:
            hash(arguments)
        except TypeError:
            return function(*arguments)
        return cached(*arguments)

    return call


_RUNS = 2  # of seeds, and of learning rates, in what is traced


def usable(
    task: Task,
    model: ModelFactory,
    groups: Sequence[Group],
    *,
    clip: float | None,
    batch: int,
    dtype: Any,
) -> tuple[Group, ...]:
    """The groups, each with how its learning rates can be given, if all parts fit together.

    Args:
        task: Where prompts come from.
        model: From a key to a model.
        groups: Optimizers with their learning rates.
        clip: Global norm for clipping, or None.
        batch: Prompts of an update.
        dtype: Of parameters and prompts.

    Raises:
        UsageError: In a sentence with file and line, if a part breaks its contract.
    """
    problem, data = usable_model(model, task, clip, batch, jnp.dtype(dtype))
    return tuple(usable_optimizer(group, problem, data) for group in groups)


# --- Tasks


@_remembered
def usable_task(task: Any, batch: int, dtype: Any) -> Task:
    """The task, if prompts and moments can be drawn from it. Raises as `usable` does."""
    with telling(IS_TASK, "The task", task):
        task = as_task(task)
        sizes = {name: getattr(task, name) for name in ("dim", "context")}
    for name, size in sizes.items():
        if not isinstance(size, numbers.Integral) or size < 1:
            sentence = f"The task's {name} is {short(size)}; it must be a whole number from 1 on."
            raise BrokenError(IS_TASK, placed(sentence, task))
    n, d = task.context, task.dim
    if isinstance(task, RegressionTask):
        usable_law(task.covariates, "covariates", (batch, n + 1, d))
        usable_law(task.weights, "weights", (batch, 1, d))
        usable_response(task.response, (batch, n + 1, d), dtype)
    shapes = [(batch, n, d), (batch, n), (batch, d), (batch,)]
    drawn = _usable_draw(task, "sample", Prompts, PROMPTS, shapes, batch, dtype)
    if not depends(drawn.program, [0]):  # leaves come in the order of Prompts
        raise _keyless("The task's sample gives covariates that", task)
    shapes = [(batch, d, d), (batch, d), (batch,), (batch, d), (batch,)]
    _usable_draw(task, "sample_moments", Moments, MOMENTS, shapes, batch, dtype)
    return task


def _usable_draw(
    task: Task, method: str, kind: type, check: str, sizes: list[Any], batch: int, dtype: Any
) -> Any:
    def draw(key: Any) -> Any:
        drawn = getattr(task, method)(key, batch, dtype=dtype)
        if not isinstance(drawn, kind):
            sentence = f"{method} gives {type(drawn).__name__}; it must give attnscape.prompts."
            raise BrokenError(check, placed(f"{sentence}{kind.__name__}.", task))
        require_arrays(check, f"What {method} gives", task, drawn)
        wanted = [jax.ShapeDtypeStruct(size, dtype) for size in sizes]
        if form(jax.tree.leaves(drawn)) != form(wanted):
            sentence = f"{method} gives {words(drawn)}; it must give {words(wanted)}"
            sentence += f" for {batch} prompts with n = {task.context} and d = {task.dim}."
            raise BrokenError(check, placed(sentence, getattr(type(task), method, task)))
        return drawn

    return trace(check, f"The task's {method}", task, jax.vmap(draw), _keys_of((_RUNS,)))


def usable_law(law: Any, name: str, shape: tuple[int, int, int]) -> None:
    """Whether a law of covariates or weights draws arrays of that shape. Raises as `usable` does.

    Args:
        law: `(key, batch, n, d)` to an array.
        name: What is said of it.
        shape: (batch, n, d).
    """

    def draw(key: Any) -> Any:
        drawn = law(key, *shape)
        _require_numbers(drawn, f"The {name}", law, shape)
        return drawn

    drawn = trace(STATE, f"The law of {name}", law, jax.vmap(draw), _keys_of((_RUNS,)))
    if name == "covariates" and not depends(drawn.program, [0]):
        raise _keyless("The law of covariates gives numbers that", law)


def usable_response(response: Any, shape: tuple[int, int, int], dtype: Any) -> None:
    """Whether a response gives one number a covariate vector. Raises as `usable` does."""
    batch, n, d = shape

    def respond(x: Any, w: Any) -> Any:
        y = response(x, w)
        _require_numbers(y, "The response", response, (batch, n))
        return y

    x, w = jax.ShapeDtypeStruct(shape, dtype), jax.ShapeDtypeStruct((batch, d), dtype)
    trace(STATE, "The response", response, respond, x, w)


def _require_numbers(array: Any, name: str, thing: Any, shape: tuple[int, ...]) -> None:
    if not isinstance(array, jax.Array | np.ndarray):
        sentence = f"{name} gave {short(array)}; it must give an array of shape {shape}."
    elif array.shape != shape:
        sentence = f"{name} gave shape {array.shape}; the task asks for {shape} here."
    elif not jnp.isdtype(array.dtype, ("real floating", "integral", "bool")):
        sentence = f"{name} gave {array.dtype}; it must give real numbers."
    else:
        return
    raise BrokenError(STATE, placed(sentence, thing))


def _keyless(subject: str, thing: Any) -> BrokenError:
    return BrokenError(
        DETERMINISTIC,
        placed(
            f"{subject} do not depend on the key, so that all steps would see the same; draw them "
            "with the key, by jax.random.",
            thing,
        ),
    )


# --- Models


@_remembered
def usable_model(
    factory: ModelFactory, task: Any, clip: float | None, batch: int, dtype: Any
) -> tuple[Problem, Any]:
    """The problem that runs of a model have, and the shapes of a step's data.

    Raises as `usable` does.
    """
    task = usable_task(task, batch, dtype)
    first = astype(dtype, _first(factory))
    parameters, static = eqx.partition(first, eqx.is_inexact_array)

    def initial(key: Any) -> Any:
        model = factory(key)
        try:
            same = jax.tree.structure(model) == jax.tree.structure(first)
        except ValueError as error:  # of arrays, which are not simply equal or not
            raise BrokenError(MAKES_MODEL, placed(_STATIC, factory)) from error
        if not same:
            sentence = "Another key gives a model of another structure; only arrays may differ."
            raise BrokenError(MAKES_MODEL, placed(sentence, factory))
        return eqx.filter(astype(dtype, model), eqx.is_inexact_array)

    trace(MAKES_MODEL, "The model's init", factory, jax.vmap(initial), _keys_of((_RUNS,)))
    models = _with_runs(parameters)
    if not objective.sees_moments_only(first):
        prompts = jax.eval_shape(lambda key: task.sample(key, batch, dtype=dtype), _keys_of(()))

        def predict(model: Any, prompts: Any) -> Any:
            predictions = eqx.combine(model, static)(prompts)
            _require_predictions(predictions, factory, batch, dtype)
            return predictions

        over_runs = jax.vmap(predict, (0, None))
        trace(PREDICTIONS, "The model", factory, over_runs, models, prompts)
    draw = Draw.what(first, task, dtype)
    data = jax.eval_shape(lambda key: draw(key, batch), _keys_of(()))
    problem = Problem(parameters, static, lambda keys, step: data, clip, dtype)
    over_runs = jax.vmap(problem.value_and_gradient, (0, None))
    trace(GRADIENT, "The model's loss", factory, over_runs, models, data)
    return problem, data


_STATIC = (
    "The model has a static field that JAX cannot compare, such as an array; make it a field "
    "without static=True."
)


def _first(factory: ModelFactory) -> Any:
    """The model of a key, which JAX can see into and train."""
    with telling(MAKES_MODEL, "The model", factory):
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


def _require_predictions(predictions: Any, factory: Any, batch: int, dtype: Any) -> None:
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


def _keys_of(shape: tuple[int, ...]) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jax.random.key(0).dtype)


def _with_runs(tree: Any) -> Any:
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct((_RUNS, *a.shape), a.dtype), tree)


# --- Optimizers


def usable_optimizer(group: Group, problem: Problem, data: Any) -> Group:
    """The group, with whether its rates may be traced by JAX; else each is compiled apart.

    Args:
        group: An optimizer with its learning rates.
        problem: What its runs are of; `first_model` is that of one seed.
        data: Shapes of a step's data.

    Raises:
        UsageError: As `usable`. Optimizers outside of JAX are not looked at.
    """
    if isinstance(group.factory, Outside):
        return group
    try:
        rates = jax.ShapeDtypeStruct((_RUNS,), problem.dtype)
        _usable_updates(group, problem, data, None, rates)
        return group
    except BrokenError as error:
        if error.check not in (MAKES_OPTIMIZER, UPDATE):
            raise
    for rate in group.learning_rates:
        _usable_updates(group, problem, data, rate)
    return dataclasses.replace(group, traced_rates=False)


def _usable_updates(
    group: Group, problem: Problem, data: Any, given_rate: float | None, *traced_rates: Any
) -> None:
    """Traces an update, over runs and, where rates are traced, over them."""
    name = f"The optimizer {group.name}"

    def updates(model: Any, loss: Any, gradient: Any, prompts: Any, *rates: Any) -> Any:
        transformation = _made(group, rates[0] if rates else given_rate)
        with telling(UPDATE, name, group.factory):
            state = transformation.init(model)
        _require_state(state, group, transformation.init)
        keywords = problem.keywords(model, prompts, loss, gradient)
        with telling(UPDATE, name, group.factory):
            given = accepting(transformation).update(gradient, state, model, **keywords)  # pyright: ignore[reportCallIssue]
        if not isinstance(given, tuple) or len(given) != 2:
            sentence = f"{name} gives {short(given)}; update must give (updates, state)."
            raise BrokenError(STATE, placed(sentence, transformation.update))
        steps, after = given
        require_arrays(STATE, f"{name} gives updates that", transformation.update, steps)
        _require_state(after, group, transformation.update)
        for what, wanted, found in (
            ("updates of another form than the parameters", model, steps),
            ("another form of state after an update", state, after),
        ):
            _require_form(f"{name} gives {what}", wanted, found, group.factory)
        if isinstance(transformation, EvaluatedElsewhere):
            with telling(UPDATE, name, group.factory):
                point = transformation.evaluation_point(after, model)
            what = "an evaluation point of another form than the parameters"
            _require_form(f"{name} gives {what}", model, point, group.factory)
        if isinstance(transformation, Preconditioned):
            with telling(UPDATE, name, group.factory):
                divisor = transformation.preconditioner(after)
            what = "a preconditioner of another form than the parameters"
            _require_form(f"{name} gives {what}", model, divisor, group.factory)
        return jax.tree.map(jnp.asarray, (steps, after))

    one = problem.first_model
    shapes = jax.eval_shape(lambda: one), jax.ShapeDtypeStruct((), problem.dtype)
    arguments = [_with_runs(each) for each in (shapes[0], shapes[1], shapes[0])]
    over_runs = jax.vmap(updates, (0, 0, 0, None, *(None for _ in traced_rates)))
    if traced_rates:
        over_runs = jax.vmap(over_runs, (None, None, None, None, 0))
    trace(UPDATE, name, group.factory, over_runs, *arguments, data, *traced_rates)


def _made(group: Group, rate: Any) -> Transformation:
    name = f"The optimizer {group.name}"
    with telling(MAKES_OPTIMIZER, name, group.factory):
        made = group.factory(rate)  # pyright: ignore[reportCallIssue]
    if not isinstance(made, optax.GradientTransformation | EvaluatedElsewhere):
        sentence = (
            f"The factory of {group.name} gave {short(made)}; it must give an "
            "optax.GradientTransformation."
        )
        raise BrokenError(MAKES_OPTIMIZER, placed(sentence, group.factory))
    return made


def _require_state(state: Any, group: Group, function: Any) -> None:
    require_arrays(STATE, f"The state of the optimizer {group.name}", function, state)


def _require_form(what: str, wanted: Any, found: Any, thing: Any) -> None:
    if form(wanted) == form(found):
        return
    sentence = f"{what}: {difference(wanted, found)}; keep structure, shapes and types."
    raise BrokenError(STATE, placed(sentence, thing))

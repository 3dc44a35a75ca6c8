"""Quick checks of an optimizer: its updates compile and have the form of the parameters."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree

from attnscape.optimizers import (
    ExternalOptimizer,
    Preconditioned,
    Transformation,
    WithEvalParams,
    accepting,
)
from attnscape.steppers import Group, Problem
from attnscape.validation._errors import BrokenError, placed, user_errors
from attnscape.validation._shapes import RUNS, with_runs
from attnscape.validation._tracing import STATE, difference, form, require_arrays, short, trace

# Names of the checks, as `attnscape check` lists them.
MAKES_OPTIMIZER, UPDATE = "makes a transformation", "update"


def require_optimizer(group: Group, problem: Problem, data: PyTree) -> Group:
    """Checks an optimizer, first with learning rates that JAX traces, then with plain numbers.

    Args:
        group: An optimizer with its learning rates.
        problem: The problem of its runs; `first_model` is the model of one seed.
        data: Shapes of a step's data.

    Returns:
        The group. `traced_rates` is False if each learning rate must be compiled separately.

    Raises:
        BrokenError: If both ways fail. External optimizers are not checked.
    """
    if isinstance(group.factory, ExternalOptimizer):
        return group
    try:
        rates = jax.ShapeDtypeStruct((RUNS,), problem.dtype)
        _require_updates(group, problem, data, None, rates)
        return group
    except BrokenError as error:
        if error.check not in (MAKES_OPTIMIZER, UPDATE):
            raise
    for rate in group.learning_rates:
        _require_updates(group, problem, data, rate)
    return dataclasses.replace(group, traced_rates=False)


def _require_updates(
    group: Group,
    problem: Problem,
    data: PyTree,
    given_rate: float | None,
    *traced_rates: jax.ShapeDtypeStruct,
) -> None:
    """Traces one update over several runs and, if rates are traced, over learning rates."""
    name = f"The optimizer {group.name}"

    def updates(
        model: PyTree, loss: Array, gradient: PyTree, prompts: PyTree, *rates: Array
    ) -> tuple[PyTree, PyTree]:
        transformation = _made(group, rates[0] if rates else given_rate)
        with user_errors(UPDATE, name, group.factory):
            state = transformation.init(model)
        _require_state(state, group, transformation.init)
        keywords = problem.keywords(model, prompts, loss, gradient)
        with user_errors(UPDATE, name, group.factory):
            given: Any = accepting(transformation).update(gradient, state, model, **keywords)  # pyright: ignore[reportCallIssue]
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
        _require_points(group, transformation, model, after)
        return jax.tree.map(jnp.asarray, (steps, after))

    one = problem.first_model
    shapes = jax.eval_shape(lambda: one), jax.ShapeDtypeStruct((), problem.dtype)
    arguments = [with_runs(each) for each in (shapes[0], shapes[1], shapes[0])]
    over_runs = jax.vmap(updates, (0, 0, 0, None, *(None for _ in traced_rates)))
    if traced_rates:
        over_runs = jax.vmap(over_runs, (None, None, None, None, 0))
    trace(UPDATE, name, group.factory, over_runs, *arguments, data, *traced_rates)


def _made(group: Group, rate: float | Array | None) -> Transformation:
    """The factory's transformation for a learning rate; raises if it is no optax transformation."""
    name = f"The optimizer {group.name}"
    with user_errors(MAKES_OPTIMIZER, name, group.factory):
        made = group.factory(rate)  # pyright: ignore[reportCallIssue]
    if not isinstance(made, optax.GradientTransformation | WithEvalParams):
        sentence = (
            f"The factory of {group.name} gave {short(made)}; it must give an "
            "optax.GradientTransformation, such as optax.GradientTransformation(init, update)."
        )
        raise BrokenError(MAKES_OPTIMIZER, placed(sentence, group.factory))
    return made


def _require_points(
    group: Group, transformation: Transformation, model: PyTree, state: PyTree
) -> None:
    """Checks the form of evaluation points and preconditioners, if the optimizer has them."""
    name = f"The optimizer {group.name}"
    if isinstance(transformation, WithEvalParams):
        with user_errors(UPDATE, name, group.factory):
            point = transformation.eval_params(state, model)
        what = "an evaluation point of another form than the parameters"
        _require_form(f"{name} gives {what}", model, point, group.factory)
    if isinstance(transformation, Preconditioned):
        with user_errors(UPDATE, name, group.factory):
            divisor = transformation.preconditioner(state)
        what = "a preconditioner of another form than the parameters"
        _require_form(f"{name} gives {what}", model, divisor, group.factory)


def _require_state(state: PyTree, group: Group, function: object) -> None:
    require_arrays(STATE, f"The state of the optimizer {group.name}", function, state)


def _require_form(what: str, wanted: PyTree, found: PyTree, thing: object) -> None:
    if form(wanted) == form(found):
        return
    sentence = f"{what}: {difference(wanted, found)}; keep structure, shapes and types."
    raise BrokenError(STATE, placed(sentence, thing))

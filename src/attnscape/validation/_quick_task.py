"""Quick checks of a task: prompts and moments of the right shapes can be drawn from it."""

from __future__ import annotations

import numbers
from typing import Any

import jax
from jaxtyping import Array, PyTree

from attnscape.tasks import (
    FixedPrompts,
    Moments,
    Prompts,
    RegressionTask,
    Task,
    as_task,
    innermost,
)
from attnscape.validation._errors import BrokenError, placed, user_errors
from attnscape.validation._quick_distribution import (
    keyless,
    require_distribution,
    require_response,
)
from attnscape.validation._quick_loss import require_loss
from attnscape.validation._remembered import remembered
from attnscape.validation._shapes import RUNS, keys_of
from attnscape.validation._tracing import depends, form, require_arrays, short, trace, words

# Names of the checks, as `attnscape check` lists them.
IS_TASK, PROMPTS, MOMENTS = "is a task", "prompts", "moments"


@remembered
def require_task(task: Any, batch: int, dtype: jax.typing.DTypeLike) -> Task:
    """Checks that prompts and moments can be drawn from a task.

    Returns:
        The task; if a function was given, the task that it makes.

    Raises:
        BrokenError: If they cannot.
    """
    with user_errors(IS_TASK, "The task", task):
        task = as_task(task)
        sizes = {name: getattr(task, name) for name in ("dim", "context")}
    for name, size in sizes.items():
        if not isinstance(size, numbers.Integral) or size < 1:
            sentence = f"The task's {name} is {short(size)}; it must be a whole number from 1 on."
            raise BrokenError(IS_TASK, placed(sentence, task))
    n, d = task.context, task.dim
    if (drawing := innermost(task)) is not task:
        require_task(drawing, batch, dtype)
    if isinstance(task, FixedPrompts):  # its batches may be the same; those that it holds may not
        require_task(task.task, batch, dtype)
    if isinstance(task, RegressionTask):
        require_distribution(task.covariates, "covariates", (batch, n + 1, d))
        require_distribution(task.weights, "weights", (batch, 1, d))
        require_response(task.response, (batch, n + 1, d), dtype)
    shapes = [(batch, n, d), (batch, n), (batch, d), (batch,)]
    drawn = _require_draw(task, "sample", Prompts, PROMPTS, shapes, batch, dtype)
    if not (
        isinstance(innermost(task), FixedPrompts) or depends(drawn.program, [0])
    ):  # leaves come in the order of Prompts
        raise keyless("The task's sample gives covariates that", task)
    shapes = [(batch, d, d), (batch, d), (batch,), (batch, d), (batch,)]
    moments = _require_draw(task, "sample_moments", Moments, MOMENTS, shapes, batch, dtype)
    loss, of_moments = drawn.shapes.loss, moments.shapes.loss
    if loss != of_moments:
        sentence = f"sample gives prompts with the loss {short(loss)}, but sample_moments moments "
        sentence += f"with {short(of_moments)}; give both the same."
        raise BrokenError(MOMENTS, placed(sentence, getattr(type(task), "sample_moments", task)))
    require_loss(loss, dtype)
    return task


def _require_draw(
    task: Task,
    method: str,
    kind: type,
    check: str,
    sizes: list[Any],
    batch: int,
    dtype: jax.typing.DTypeLike,
) -> PyTree:
    """Traces a method that draws, and checks class, shapes and types of its result."""

    def draw(key: Array) -> PyTree:
        drawn = getattr(task, method)(key, batch, dtype=dtype)
        if not isinstance(drawn, kind):
            sentence = f"{method} gives {type(drawn).__name__}; it must give attnscape.tasks."
            raise BrokenError(check, placed(f"{sentence}{kind.__name__}.", task))
        require_arrays(check, f"What {method} gives", task, drawn)
        wanted = [jax.ShapeDtypeStruct(size, dtype) for size in sizes]
        if form(jax.tree.leaves(drawn)) != form(wanted):
            sentence = f"{method} gives {words(drawn)}; it must give {words(wanted)}"
            sentence += f" for {batch} prompts with n = {task.context} and d = {task.dim}."
            raise BrokenError(check, placed(sentence, getattr(type(task), method, task)))
        return drawn

    return trace(check, f"The task's {method}", task, jax.vmap(draw), keys_of((RUNS,)))

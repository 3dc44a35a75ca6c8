"""The identity of a task, and the check that it draws from its key."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from attnscape.errors import UsageError
from attnscape.identity._built_in import is_built_in
from attnscape.identity._declared import declared
from attnscape.identity._identity import Identity, by_programs, place_of
from attnscape.identity._program import Program, program
from attnscape.identity._shapes import AXES, key, repeated
from attnscape.identity._stage import Stage
from attnscape.steppers import Sampler
from attnscape.tasks import FixedPrompts, RegressionTask, SquaredError, innermost
from attnscape.tasks.losses import Loss


def of_task(stage: Stage) -> Identity:
    """The identity of a task.

    A built-in task is identified by its fields. Any other task is identified by the programs that
    draw prompts for the model, in each precision that is used. A loss other than the squared error
    is identified by its programs, up to the second derivative.

    Raises:
        UsageError: If it cannot be traced, or draws without its key.

    Examples:
        >>> from functools import partial
        >>> from attnscape import LinearTransformer, RegressionTask
        >>> from attnscape.identity import Stage, of_task
        >>> model = partial(LinearTransformer.init, layers=1, dim=2)
        >>> stage = Stage(model, RegressionTask(dim=2), 8, 8, None, "float32", double=False)
        >>> of_task(stage).content["own"]["name"]
        'attnscape.RegressionTask'
    """
    drawn = _of_draws(stage)
    with stage.tracing():
        loss = stage.prompts(stage.batch).loss
        if loss == SquaredError():
            return drawn
        judged = by_programs("loss", loss, lambda: list(_loss_programs(loss, stage)))
    content = {"draws": drawn.content, "loss": judged.content}
    return Identity(content, drawn.reasons + judged.reasons)


def _of_draws(stage: Stage) -> Identity:
    if is_built_in(stage.task):
        return Identity(declared(stage.task))
    with stage.tracing():
        check_draws(stage.draw, stage.batch)
        return by_programs("task", stage.task, lambda: list(_programs(stage)))


def _programs(stage: Stage) -> Iterator[Program]:
    keys = repeated(key(), AXES[:1])
    draws = {stage.precision: stage.draw} | (
        {"float64": stage.draw.double()} if stage.double else {}
    )
    for dtype, draw in draws.items():
        with jax.enable_x64(True) if dtype == "float64" else contextlib.nullcontext():
            yield program(jax.vmap(lambda key, draw=draw: draw(key, stage.batch)), keys)
            yield program(lambda key, draw=draw: draw(key, stage.evaluation_batch), key())


def _loss_programs(loss: Loss, stage: Stage) -> Iterator[Program]:
    def derivatives(prediction: Array, target: Array) -> tuple[Array, ...]:
        slope = jax.grad(loss)
        return (*jax.value_and_grad(loss)(prediction, target), jax.grad(slope)(prediction, target))

    for dtype in dict.fromkeys((stage.precision, *(("float64",) if stage.double else ()))):
        with jax.enable_x64(True) if dtype == "float64" else contextlib.nullcontext():
            number = jax.ShapeDtypeStruct((), dtype)
            yield program(derivatives, number, number)


def check_draws(draw: Sampler, batch: int) -> None:
    """Raises UsageError if a task's prompts do not depend on its key, and so never change.

    Numbers drawn with numpy while JAX traces a distribution become constants of the program.

    Examples:
        >>> from attnscape import RegressionTask
        >>> from attnscape.identity import check_draws
        >>> from attnscape.steppers import Sampler
        >>> sampler = Sampler(RegressionTask(dim=2), moments=True, dtype="float32")
        >>> check_draws(sampler, 4)  # no error: other keys give other prompts
    """
    task = innermost(draw.task)
    if is_built_in(task):
        return
    if isinstance(task, FixedPrompts):  # its batches may be the same; those that it holds may not
        check_draws(dataclasses.replace(draw, task=task.task), batch)
        return
    distributions = []
    if isinstance(task, RegressionTask):
        sizes = {"covariates": task.context + 1, "weights": 1}
        distributions = [
            (n, distribution, size)
            for n, size in sizes.items()
            if not is_built_in(distribution := getattr(task, n))
        ]
    for name, distribution, size in distributions:
        frozen = _is_frozen(
            functools.partial(_call_distribution, distribution, size, task.dim), batch
        )
        if frozen:
            raise UsageError(
                f"The distribution of the {name} ({place_of(distribution)}) {frozen}; draw "
                "all of it with jax.random from the key that it is given."
            )
    if frozen := _is_frozen(draw, batch):
        raise UsageError(
            f"The task ({place_of(task)}) {frozen}; draw all of it with jax.random from the key "
            "that it is given."
        )


def _call_distribution(distribution: Any, size: int, dim: int, key: Any, batch: int) -> Any:
    return distribution(key, batch, size, dim)


def _is_frozen(draw: Callable[[Any, int], Any], batch: int) -> str:
    """In words, how it draws without its key; empty if it uses its key."""
    first, second = (program(lambda key: draw(key, batch), key()) for _ in range(2))
    if first.digest != second.digest:
        return (
            "draws numbers otherwise than from its key: JAX would take them as constants, the same "
            "at every step"
        )
    if any(first.used) or first.outside:
        return ""
    few = jax.device_get(draw(jax.random.key(0), 8))
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(few)]
    if isinstance(few, np.ndarray) and all((leaf == leaf[:1]).all() for leaf in leaves):
        return ""  # intentionally the same for every prompt
    return "does not depend on its key: every batch would be the same"

"""Where the time of a training step goes, by measuring steps that lack a part."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from attnscape import native
from attnscape.steppers import CompiledStepper, Group, Problem, Sampler
from benchmarks.clock import both_clocks, in_turns, summary
from benchmarks.effort import TASKS, Effort, grid, model
from benchmarks.steps import timed_training

RUNS = (1, 12, 120)
_LAYERS = 3
_FEW = 16  # prompts, whose drawing and gradients take next to nothing


class _WithoutGradient(Problem):
    """Takes the gradient to be the parameters times a number of the prompts."""

    def value_and_grad(self, model: Any, prompts: Any) -> Any:
        number = jnp.ravel(prompts.target)[0]  # keeps the prompts from being left out
        return number, jax.tree.map(lambda array: number * array, model)


def engine(effort: Effort, all_runs: Sequence[int] = RUNS) -> dict[str, Any]:
    """Processor seconds of the parts of a step of all runs, and what of two threads is idle.

    Parts are differences between steps on one thread: `drawing` and `kernel` grow with the prompts,
    `calls` is what their calls cost beside them, `updates` is the optimizers and the loop around
    all. `idle` is what the threads of the whole training spend besides.
    """
    threads = native.xla_threads()
    actions: dict[tuple[int, str], Callable[[], tuple[float, float]]] = {}
    for runs in all_runs:
        training = timed_training(effort, 1, _LAYERS, runs)
        actions[runs, "training"] = training.clocks_per_step
        for name, parts in _PARTS.items():
            actions[runs, name] = _steps(effort, runs, **parts)
    measured = in_turns(actions, effort.rounds)
    rows = []
    for runs in all_runs:
        seeds = len(grid(runs)["seeds"])
        one_thread = {
            name: seeds * np.array([processor for _, processor in measured[runs, name]])
            for name in _PARTS
        }
        wall = np.array([seconds for seconds, _ in measured[runs, "training"]])
        rows.append(
            {"runs": runs, "threads": threads, "step": summary(wall)}
            | {name: summary(part) for name, part in _shares(one_thread, effort.batch).items()}
            | {"idle": summary(threads * wall - one_thread["whole"])}
        )
    return {"batch": effort.batch, "rows": rows}


_PARTS: dict[str, dict[str, bool]] = {
    "whole": {},
    "undrawn": {"draw": False},
    "updates": {"draw": False, "gradient": False},
    "few": {"few": True},
    "few undrawn": {"draw": False, "few": True},
}


def _shares(seconds: dict[str, np.ndarray], batch: int) -> dict[str, np.ndarray]:
    # The line through two batch sizes: what grows with the prompts, and all of it.
    grows = batch / (batch - _FEW)
    undrawn = grows * (seconds["undrawn"] - seconds["few undrawn"])
    both = grows * (seconds["whole"] - seconds["few"])
    return {
        "processor": seconds["whole"],
        "drawing": both - undrawn,
        "kernel": undrawn,
        "calls": seconds["whole"] - both - seconds["updates"],
        "updates": seconds["updates"],
    }


def _steps(
    effort: Effort, runs: int, *, draw: bool = True, gradient: bool = True, few: bool = False
) -> Callable[[], tuple[float, float]]:
    """A measurement of steps of one seed of a grid, on one thread."""
    options, count = grid(runs), 20
    first = model(_LAYERS)(jax.random.key(0))
    parameters, static = eqx.partition(first, eqx.is_inexact_array)
    sampler = Sampler.for_model(first, TASKS[1], "float32")
    data = functools.partial(sampler.training_data, batch=_FEW if few else effort.batch)
    keys = jax.random.split(jax.random.key(0), 1)
    if not draw:
        drawn = jax.block_until_ready(jax.jit(data)(keys, 0))
        data = lambda keys, step: drawn  # noqa: E731
    make = Problem if gradient else _WithoutGradient
    problem = make(parameters, static, data, 1.0, jnp.dtype("float32"))
    rates = tuple(options["learning_rates"])
    groups = [Group(name, each, rates) for name, each in options["optimizers"].items()]
    stepper = CompiledStepper(problem, groups)
    start = stepper.start(jax.tree.map(lambda array: array[None], parameters), keys)

    def advance() -> None:
        with native.callers(native.xla_threads()):  # leaves one thread to each
            stepper.advance(start, 0, count)

    advance()
    return lambda: both_clocks(advance, effort.seconds, count)

"""What a step of one run costs, by how many runs there are: attnscape beside its peers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import jax_tokens
from benchmarks.clock import Training, both_clocks, in_turns, summary
from benchmarks.effort import Effort, grid
from benchmarks.steps import timed_training

try:
    import torch

    from benchmarks import eager_torch
except ImportError:
    torch = eager_torch = None

_LAYERS = 3
_Action = Callable[[], tuple[float, float]]


def peers(effort: Effort) -> dict[str, Any]:
    """What a run-step costs, by the number of runs: attnscape's, and how many times that of peers.

    PyTorch trains one run after another, so that its run-step does not depend on their number.
    """
    actions: dict[tuple[str, int], _Action] = {}
    if eager_torch:
        actions["PyTorch", 1] = _torch(effort, compiled=False)
        actions["torch.compile", 1] = _torch(effort, compiled=True)
    for runs in effort.widths:
        training = timed_training(effort, 1, _LAYERS, runs)
        actions["attnscape", runs] = functools.partial(_run_step, training, runs)
        if runs in effort.peer_widths:
            actions["JAX", runs] = _jax(effort, runs)
    measured = in_turns(actions, effort.rounds)
    rows = []
    for runs in effort.widths:
        mine = np.array(measured["attnscape", runs])
        row: dict[str, Any] = {"runs": runs, "attnscape": _clocks(mine)}
        for name in ("PyTorch", "torch.compile", "JAX"):
            theirs = measured.get((name, runs if name == "JAX" else 1))
            if theirs is not None:
                row[name] = _clocks(np.array(theirs) / mine)
        rows.append(row)
    return {"batch": effort.batch, "rows": rows}


def _clocks(pairs: np.ndarray) -> dict[str, Any]:
    return {"wall": summary(pairs[:, 0]), "processor": summary(pairs[:, 1])}


def _run_step(training: Training, runs: int) -> tuple[float, float]:
    training.seconds_per_step()  # not counted: a peer has left its memory and caches behind
    seconds, processor = training.clocks_per_step()
    return seconds / runs, processor / runs


def _jax(effort: Effort, runs: int) -> _Action:
    more = jax_tokens.training(**grid(runs), layers=_LAYERS, batch=effort.batch)
    more(1)
    return lambda: both_clocks(lambda: more(1), effort.seconds, runs)


def _torch(effort: Effort, *, compiled: bool) -> _Action:
    """A loop over one run by Adam, on as many threads as are fastest."""
    predict = torch.compile(eager_torch.tuned) if compiled else eager_torch.tuned
    step = eager_torch.training_step(
        predict,
        eager_torch.matrices(_LAYERS, size=5, scale=0.05),
        "adam",
        lambda: eager_torch.draw(1, effort.batch),
    )
    step()
    tried = eager_torch.try_threads(lambda: both_clocks(step, effort.seconds / 4)[0])
    threads = eager_torch.fastest(tried)

    def measure() -> tuple[float, float]:
        with eager_torch.threads(threads):
            return both_clocks(step, effort.seconds / 2)

    return measure

"""Training steps of the other models of the paper, beside an eager PyTorch loop of each."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from attnscape import AttentionTransformer, RegressionTask
from attnscape.models import WithMLP
from attnscape.tasks import ReluNetwork
from benchmarks.agreement import require_agreement
from benchmarks.clock import Training, in_turns, ratio, seconds_of, summary
from benchmarks.effort import Effort, grid

try:
    from benchmarks import eager_torch
except ImportError:
    eager_torch = None

_RUNS = 12
_OPTIMIZERS = ("sgdm", "adam")
_RUN_STEP = 3e-3  # seconds, roughly: sets the length of a segment


@dataclasses.dataclass(frozen=True)
class _Case:
    """A model and how it is trained.

    Attributes:
        make: Makes the model.
        task: Where its prompts come from.
        batches: How many times `Effort.batch` a step takes.
        predict: The function of `eager_torch` that predicts as the model does.
    """

    make: Callable[..., Callable]
    task: RegressionTask
    batches: int
    predict: str


CASES = {
    "softmax": _Case(
        functools.partial(AttentionTransformer.init, layers=3, dim=5),
        RegressionTask(),
        batches=1,
        predict="softmax",
    ),
    "mlp": _Case(
        functools.partial(WithMLP.init, layers=3, dim=5, hidden=15),
        RegressionTask(response=ReluNetwork()),
        batches=2,
        predict="with_mlp",
    ),
}


def models(effort: Effort) -> list[dict[str, Any]]:
    """Seconds a run-step of 12 runs at once, and of PyTorch's loop over one run."""
    threads, loops = {}, {}
    if eager_torch:
        for name in effort.models:
            case = CASES[name]
            require_agreement(name, getattr(eager_torch, case.predict), case.make, case.task)
            threads[name], timed = _eager_loops(name, effort)
            loops |= {(name, optimizer): loop for optimizer, loop in timed.items()}
    steps = {name: _training(name, effort).seconds_per_step for name in effort.models}
    seconds = in_turns({**steps, **loops}, effort.rounds)
    rows = []
    for name in effort.models:
        mine = np.array(seconds[name]) / _RUNS
        row = {
            "model": name,
            "batch": CASES[name].batches * effort.batch,
            "runs": _RUNS,
            "run_step": summary(mine),
        }
        if eager_torch:
            theirs = np.mean([seconds[name, optimizer] for optimizer in _OPTIMIZERS], axis=0)
            row["torch"] = {
                "threads": threads[name],
                "run_step": summary(theirs),
                "ratio": ratio(theirs, mine),
            }
        rows.append(row)
    return rows


def _training(name: str, effort: Effort) -> Training:
    case = CASES[name]
    return Training(
        max(1, round(effort.seconds / (_RUN_STEP * _RUNS))),
        task=case.task,
        model=case.make,
        batch=case.batches * effort.batch,
        **grid(_RUNS),
    )


def _eager_loops(name: str, effort: Effort):
    """The number of threads that is faster, and a timed loop of each optimizer."""
    case = CASES[name]
    batch = case.batches * effort.batch

    def loop(optimizer):
        if name == "softmax":
            parameters = eager_torch.matrices(3, size=5, scale=0.05)
            drawn = functools.partial(eager_torch.draw, 1, batch)
        else:
            mlp = eager_torch.relu_network(hidden=15)
            parameters = [*mlp.parameters(), *eager_torch.matrices(3, size=6, scale=0.1)]
            response = eager_torch.relu_network(hidden=5)
            drawn = functools.partial(eager_torch.draw_nonlinear, response, batch)
        predict = getattr(eager_torch, case.predict)
        step = eager_torch.training_step(predict, parameters, optimizer, drawn)
        step()
        return lambda: seconds_of(step, effort.seconds / 2)

    loops = {optimizer: loop(optimizer) for optimizer in _OPTIMIZERS}
    threads = eager_torch.fastest(eager_torch.try_threads(loops["adam"]))

    def with_threads(loop):
        with eager_torch.threads(threads):
            return loop()

    return threads, {
        optimizer: functools.partial(with_threads, loop) for optimizer, loop in loops.items()
    }

"""What a step costs whose optimizer is PyTorch's, beside the same step inside of JAX."""

from __future__ import annotations

import contextlib
import functools
from typing import Any

from benchmarks.clock import PausedTraining, in_turns, seconds_of, summary
from benchmarks.effort import TASKS, Effort, grid, model

try:
    import torch

    from attnscape.optimizers.pytorch import TorchOptimizer
except ImportError:
    torch = None

_STEP = 5e-4  # seconds, roughly: sets the length of a segment


def bridge(effort: Effort) -> list[dict[str, Any]]:
    """Seconds a step of one run of Adam: optax's, PyTorch's, and of PyTorch's `step` alone."""
    if torch is None:
        return []
    adam = functools.partial(torch.optim.Adam, betas=(0.9, 0.9), eps=1e-8)
    segment = max(1, min(500, round(effort.seconds / _STEP)))
    with contextlib.ExitStack() as stack:

        def paused(optimizer: Any) -> Any:
            options = grid(1) | {"optimizers": {"adam": optimizer}}
            training = PausedTraining(
                segment,
                effort.rounds,
                task=TASKS[1],
                model=model(3),
                batch=effort.batch,
                **options,
            )
            return stack.enter_context(training).seconds_per_step

        seconds = in_turns(
            {
                "inside": paused(grid(1)["optimizers"]["adam"]),
                "outside": paused(TorchOptimizer(adam)),
                "alone": _alone(adam, effort),
            },
            effort.rounds,
        )
    return [{"optimizer": "adam"} | {name: summary(times) for name, times in seconds.items()}]


def _alone(make: Any, effort: Effort) -> Any:
    """The optimizer on the same parameters, with gradients that are there already."""
    parameters = [torch.zeros(3, 5, 5, requires_grad=True) for _ in range(2)]
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer = make(parameters, lr=0.02)
    return lambda: seconds_of(optimizer.step, effort.seconds)

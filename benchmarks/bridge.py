"""What a step costs whose optimizer is PyTorch's, beside the same step inside of JAX."""

from __future__ import annotations

import functools
from typing import Any

from benchmarks.clock import Training, in_turns, seconds_of, summary
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
    seconds = in_turns(
        {
            "inside": _training(grid(1)["optimizers"]["adam"], effort),
            "outside": _training(TorchOptimizer(adam), effort),
            "alone": _alone(adam, effort),
        },
        effort.rounds,
    )
    return [{"optimizer": "adam"} | {name: summary(times) for name, times in seconds.items()}]


def _training(optimizer: Any, effort: Effort) -> Any:
    options = grid(1) | {"optimizers": {"adam": optimizer}}
    segment = max(1, round(effort.seconds / _STEP))
    training = Training(segment, task=TASKS[1], model=model(3), batch=effort.batch, **options)
    return training.seconds_per_step


def _alone(make: Any, effort: Effort) -> Any:
    """The optimizer on the same parameters, with gradients that are there already."""
    parameters = [torch.zeros(3, 5, 5, requires_grad=True) for _ in range(2)]
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer = make(parameters, lr=0.02)
    return lambda: seconds_of(optimizer.step, effort.seconds)

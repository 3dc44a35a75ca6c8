"""PyTorch optimizers as users' functions make them, and what they must be."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence

import torch

from attnscape import loading
from attnscape.errors import UsageError


def made(make: Callable[..., object], parameters: Sequence[torch.Tensor], rate: float) -> object:
    """The optimizer that a class or function makes from parameters and a learning rate."""
    try:
        inspect.signature(make).bind(parameters, lr=rate)
    except TypeError as error:
        raise UsageError(
            f"{name_of(make)} cannot be called with (parameters, lr=rate), {error}; write a "
            f"function (parameters, lr) that gives the optimizer{place_of(make)}."
        ) from None
    except ValueError:  # it has no signature
        pass
    return make(parameters, lr=rate)


def check_parameters(
    optimizer: torch.optim.Optimizer,
    parameters: Sequence[torch.Tensor],
    make: Callable[..., object],
) -> None:
    """Raises UsageError unless the optimizer's groups hold all parameters and no other."""
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    left_out = [index for index, p in enumerate(parameters) if id(p) not in held]
    others = len(held) + len(left_out) - len(parameters)
    if left_out or others:
        given = f"leave out parameters number {left_out}" if left_out else "hold other tensors"
        raise UsageError(
            f"The param groups of {name_of(make)} {given}; give it each of the {len(parameters)} "
            f"parameters, in one group or several, and no other{place_of(make)}."
        )


def checked_scheduler(
    scheduler: object, optimizer: torch.optim.Optimizer, make: Callable[..., object]
) -> torch.optim.lr_scheduler.LRScheduler:
    """Raises UsageError unless it is a scheduler of this optimizer that needs no metric."""
    schedulers = torch.optim.lr_scheduler
    if (
        not isinstance(scheduler, schedulers.LRScheduler)
        or isinstance(scheduler, schedulers.ReduceLROnPlateau)
        or scheduler.optimizer is not optimizer
    ):
        raise UsageError(
            f"{name_of(make)} gave {type(scheduler).__name__} beside its optimizer; it must be a "
            "scheduler of torch.optim.lr_scheduler for this optimizer that needs no "
            f"metric{place_of(make)}."
        )
    return scheduler


def name_of(make: Callable[..., object]) -> str:
    """The name for messages."""
    return getattr(make, "__qualname__", repr(make))


def place_of(make: Callable[..., object]) -> str:
    """The place of its definition, in brackets; empty if unknown."""
    place = loading.source_of(make)
    return f" ({place})" if place else ""

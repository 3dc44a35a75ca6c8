"""A schedule of attnscape for a PyTorch optimizer, by PyTorch's `LambdaLR`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from attnscape.errors import UsageError
from attnscape.optimizers.binding import Wrapped, unwrapped
from attnscape.optimizers.schedules import Shape, factors


@dataclasses.dataclass(frozen=True)
class WithSchedule(Wrapped):
    """A function that makes an optimizer and a scheduler beside it.

    Attributes:
        factory: Function `(parameters, lr=rate)` that makes the optimizer.
        shape: The schedule, which multiplies the rates of all its groups.
    """

    shape: Shape

    def __call__(self, parameters: Sequence[torch.Tensor], lr: float, steps: int) -> object:
        """The optimizer and its scheduler for a run with `steps` updates."""
        made: object = self.factory(parameters, lr=lr)
        if isinstance(made, tuple):
            name = getattr(unwrapped(self.factory), "__qualname__", "The function")
            raise UsageError(
                f"{name} gives a scheduler beside its optimizer, but is to have another schedule "
                "too; leave one of them out."
            )
        if not isinstance(made, torch.optim.Optimizer):
            return made  # which is refused by its name
        table = factors(self.shape, steps)
        # After the last update the scheduler makes one more step.
        last = len(table) - 1
        return made, torch.optim.lr_scheduler.LambdaLR(
            made, lambda step: float(table[min(step, last)])
        )

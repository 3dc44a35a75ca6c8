"""What a measure is: a schedule, and named numbers of an iterate."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import equinox as eqx
import numpy as np
from jaxtyping import Array

from attnscape.errors import UsageError
from attnscape.prompts import Moments, Prompts


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The steps at which something is measured; step t is the iterate after t updates.

    Attributes:
        every: A multiple of this many steps; 0 for none.
        steps: These steps.
        log_spaced: So many steps, evenly spaced on a log axis, from 1 to the last.

    Raises:
        UsageError: If a number is negative, or nothing is scheduled.
    """

    every: int = 0
    steps: tuple[int, ...] = ()
    log_spaced: int = 0

    def __post_init__(self) -> None:
        if min(self.every, self.log_spaced, *self.steps, 0) < 0:
            raise UsageError(f"{self} has a negative number of steps.")
        if not (self.every or self.steps or self.log_spaced):
            raise UsageError("The schedule is empty: give every, steps or log_spaced.")

    def within(self, last: int) -> tuple[int, ...]:
        """The scheduled steps from 0 to `last`, in order."""
        steps = {s for s in self.steps if s <= last}
        if self.every:
            steps.update(range(0, last + 1, self.every))
        if self.log_spaced and last > 0:
            steps.update(np.geomspace(1, last, self.log_spaced).round().astype(int).tolist())
        return tuple(sorted(steps))


def every(steps: int) -> Schedule:
    """Step 0 and every multiple of `steps`."""
    return Schedule(every=steps)


def log_spaced(count: int) -> Schedule:
    """`count` steps, evenly spaced on a log axis."""
    return Schedule(log_spaced=count)


class Iterate(eqx.Module):
    """What a measure may look at: one run at one step.

    Attributes:
        model: The model after `step` updates.
        training: The batch that the next update will use.
        evaluation: A batch that stays the same along the run.
    """

    model: Callable
    training: Prompts | Moments
    evaluation: Prompts | Moments


class Measure(Protocol):
    """The contract of a measure; any frozen dataclass that keeps it may be given to `train`.

    Attributes:
        schedule: When it is taken.
    """

    @property
    def schedule(self) -> Schedule:
        """When it is taken."""
        ...

    def __call__(self, iterate: Iterate) -> Mapping[str, Array]:
        """Named numbers (scalars, or arrays of a fixed shape) of one run, in JAX."""
        ...

    def attributes(self) -> Mapping[str, Mapping[str, Any]]:
        """Of each name: xarray attributes (`long_name`), and `dims` beyond the run's."""
        ...

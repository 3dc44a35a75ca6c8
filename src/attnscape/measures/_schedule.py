"""Schedules: the steps of a run at which a measure is evaluated."""

from __future__ import annotations

import dataclasses

import numpy as np

from attnscape.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The steps at which a quantity is measured; step t is the iterate after t updates.

    Attributes:
        every: Measure at step 0, every multiple of this number, and the last step; 0 for none.
        steps: Further steps.
        log_spaced: Number of steps from 1 to the last, evenly spaced on a log axis; 0 for none.

    Raises:
        UsageError: If a number is negative, or nothing is scheduled.

    Examples:
        >>> from attnscape.measures import Schedule
        >>> Schedule(every=10, steps=(3,)).within(25)
        (0, 3, 10, 20, 25)
    """

    every: int = 0
    steps: tuple[int, ...] = ()
    log_spaced: int = 0

    def __post_init__(self) -> None:
        if min(self.every, self.log_spaced, *self.steps, 0) < 0:
            raise UsageError(f"{self} has a negative number of steps; give 0 or more.")
        if not (self.every or self.steps or self.log_spaced):
            raise UsageError("The schedule is empty; give every, steps or log_spaced.")

    def most(self, last: int) -> int:
        """An upper bound on the number of scheduled steps from 0 to `last`."""
        multiples = last // self.every + 2 if self.every else 0
        return multiples + len(self.steps) + self.log_spaced

    def within(self, last: int) -> tuple[int, ...]:
        """The scheduled steps from 0 to `last`, in order; with `every`, `last` is one of them."""
        steps = {s for s in self.steps if s <= last}
        if self.every:
            steps.update(range(0, last + 1, self.every), (last,))
        if self.log_spaced and last > 0:
            steps.update(np.geomspace(1, last, self.log_spaced).round().astype(int).tolist())
        return tuple(sorted(steps))


def every(steps: int) -> Schedule:
    """A schedule of step 0, every multiple of `steps`, and the last step.

    Examples:
        >>> from attnscape.measures import every
        >>> every(10).within(25)
        (0, 10, 20, 25)
    """
    return Schedule(every=steps)


def at(*steps: int) -> Schedule:
    """A schedule of these steps.

    Examples:
        >>> from attnscape.measures import at
        >>> at(0, 5, 100).within(25)
        (0, 5)
    """
    return Schedule(steps=steps)


def log_spaced(count: int) -> Schedule:
    """A schedule of `count` steps, evenly spaced on a log axis.

    Examples:
        >>> from attnscape.measures import log_spaced
        >>> log_spaced(4).within(1000)
        (1, 10, 100, 1000)
    """
    return Schedule(log_spaced=count)

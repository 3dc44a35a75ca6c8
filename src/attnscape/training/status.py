"""How a run ended, and the contract of progress callbacks."""

from __future__ import annotations

import enum
from typing import Protocol, runtime_checkable


class Status(enum.IntEnum):
    """How a run ended; the Dataset's `status` holds these numbers.

    Examples:
        >>> from attnscape.training import Status
        >>> [Status(number).name for number in (0, 1, 2)]
        ['finished', 'diverged', 'not_run']
        >>> Status.diverged == 1
        True
    """

    finished = 0
    diverged = 1
    not_run = 2
    under_way = 3  # only of results that are not finished, `attnscape.load(..., partial=True)`


@runtime_checkable
class Progress(Protocol):
    """A callback for the progress of a computation.

    Examples:
        >>> from attnscape.training import Progress
        >>> def percent(done, total):
        ...     print(f"{100 * done // total} %")
        >>> isinstance(percent, Progress)  # `attnscape.train` takes it as `progress`
        True
        >>> percent(50, 200)
        25 %
    """

    def __call__(self, done: int, total: int) -> None:
        """`done` of `total` run-steps are done."""
        ...


def silent(done: int, total: int) -> None:
    """Reports no progress.

    Examples:
        >>> from attnscape.training import silent
        >>> silent(50, 200)
    """

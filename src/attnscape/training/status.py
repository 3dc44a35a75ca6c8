"""How a run ended, and the contract of progress callbacks."""

from __future__ import annotations

import enum
from typing import Protocol, runtime_checkable


class Status(enum.IntEnum):
    """How a run ended; the Dataset's `status` holds these numbers."""

    finished = 0
    diverged = 1
    not_run = 2


@runtime_checkable
class Progress(Protocol):
    """A callback for the progress of a computation."""

    def __call__(self, done: int, total: int) -> None:
        """`done` of `total` run-steps are done."""
        ...


def silent(done: int, total: int) -> None:
    """Reports no progress."""

"""The contract of checkpoints: what a computation leaves while it is under way, and finds again.

A computation consists of parts that do not depend on each other, such as the runs of a seed. Each
part offers its present state again and again; the checkpoints decide when it is written. What is
found belongs to the same computation, made by the same versions: the checkpoints see to that.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from attnscape.trees import Plain


class UnusedCheckpointWarning(RuntimeWarning):
    """A checkpoint cannot be written or used, so work may have to be done again."""


def say_unused(part: str, error: Exception) -> None:
    """Warns that the checkpoint of a part cannot be used, and why."""
    warnings.warn(
        f"The checkpoint of {part} cannot be used ({error}); it starts again.",
        UnusedCheckpointWarning,
        stacklevel=3,
    )


@runtime_checkable
class Checkpoints(Protocol):
    """Where the parts of one computation are kept until its result is.

    Its methods may be called on several threads, those of a part on one.

    Examples:
        >>> from attnscape.training import Checkpoints
        >>> class InMemory:  # writes whatever is offered
        ...     def __init__(self):
        ...         self.states = {}
        ...     def describe(self, parts, steps, outline): ...
        ...     def read(self, part):
        ...         return self.states.get(part)
        ...     def offer(self, part, step, state):
        ...         self.states[part] = state()
        ...     finish = offer
        >>> isinstance(InMemory(), Checkpoints)  # `attnscape.train` takes it as `checkpoints`
        True
    """

    def describe(self, parts: Sequence[str], steps: int, outline: Plain) -> None:
        """Says what there is to do, before all else.

        Args:
            parts: The names of the parts; letters, digits and hyphens.
            steps: The steps of each part.
            outline: What, beside the states, says how the measures so far are shown; None if they
                are not.
        """
        ...

    def read(self, part: str) -> Plain | None:
        """The state that a part had when it was written last; None if it begins."""
        ...

    def offer(self, part: str, step: int, state: Callable[[], Plain]) -> None:
        """Writes the state of a part under way, if that is due.

        Args:
            part: The part.
            step: The steps that it has done.
            state: Returns the state as plain values (`attnscape.trees.Plain`). It is called only if
                it is due, and raises `attnscape.trees.NotSavableError` if there is none.
        """
        ...

    def finish(self, part: str, step: int, state: Callable[[], Plain]) -> None:
        """As `offer`, of a part that is finished: its state does not change any more."""
        ...


class NoCheckpoints:
    """Keeps nothing.

    Examples:
        >>> from attnscape.training.checkpoints import NoCheckpoints
        >>> NoCheckpoints().read("seed-0") is None
        True
    """

    def describe(self, parts: Sequence[str], steps: int, outline: Plain) -> None: ...

    def read(self, part: str) -> Plain | None: ...

    def offer(self, part: str, step: int, state: Callable[[], Plain]) -> None: ...

    def finish(self, part: str, step: int, state: Callable[[], Plain]) -> None: ...

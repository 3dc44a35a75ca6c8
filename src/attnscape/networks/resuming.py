"""Checkpoints of computations in PyTorch, whose sums depend on its number of threads."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence
from typing import Protocol, TypeVar, runtime_checkable

import torch

from attnscape.training import Checkpoints
from attnscape.training.checkpoints import NoCheckpoints, say_unused
from attnscape.trees import Plain


@runtime_checkable
class Savable(Protocol):
    """What can be saved, and restored where it was made anew in the same way."""

    def save(self) -> Plain: ...

    def restore(self, saved: Plain) -> None: ...


_SavableT = TypeVar("_SavableT", bound=Savable)


class Resuming:
    """The checkpoints of a computation, and where it goes on.

    Args:
        checkpoints: Where they are kept, if anywhere.
        parts: The names of the parts.
        steps: The steps of each part.
        outline: What says how the measures so far are shown; None if they are not.
    """

    def __init__(
        self,
        checkpoints: Checkpoints | None,
        parts: Sequence[str],
        steps: int,
        outline: Plain = None,
    ) -> None:
        self._checkpoints = checkpoints or NoCheckpoints()
        self._checkpoints.describe(parts, steps, outline)
        self._found = {part: self._checkpoints.read(part) for part in parts}

    @contextlib.contextmanager
    def threads(self) -> Generator[None]:
        """Context manager: PyTorch has as many threads as when the computation was begun."""
        before = torch.get_num_threads()
        begun_with = {each["threads"] for each in self._found.values() if each is not None}
        threads = begun_with.pop() if begun_with else before
        if threads == before:
            yield
            return
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def begun(self, part: str, make: Callable[[], _SavableT]) -> _SavableT:
        """What `make` makes, in the state that it was left in; warns if that cannot be used."""
        made, found = make(), self._found.pop(part)
        if found is None:
            return made
        try:
            made.restore(found["state"])
        except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
            say_unused(part, error)
            return make()
        return made

    def offer(self, part: str, step: int, state: Callable[[], Plain]) -> None:
        """Keeps a state, if that is due."""
        self._checkpoints.offer(part, step, lambda: _with_threads(step, state))

    def finish(self, part: str, step: int, state: Callable[[], Plain]) -> None:
        """Keeps the state of a part that is finished, while others are under way."""
        self._checkpoints.finish(part, step, lambda: _with_threads(step, state))


def _with_threads(step: int, state: Callable[[], Plain]) -> Plain:
    return {"step": step, "threads": torch.get_num_threads(), "state": state()}

"""Checkpoints of a training that is made in several pieces, each of some of its seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attnscape.training._layout import part_of
from attnscape.training.checkpoints import Checkpoints
from attnscape.trees import Plain


class WholeTraining:
    """Checkpoints for a training of some seeds, which are kept as parts of the one with all seeds.

    As a seed's numbers are the same bits for any set of seeds, the training with all seeds finds
    them there as if it had made them itself.

    Args:
        checkpoints: Those of the training with all seeds.
        seeds: All seeds.

    Examples:
        >>> from attnscape.training import WholeTraining
        >>> from attnscape.training.checkpoints import NoCheckpoints
        >>> WholeTraining(NoCheckpoints(), (0, 1)).read("seed-1") is None
        True
    """

    def __init__(self, checkpoints: Checkpoints, seeds: Sequence[int]) -> None:
        self._checkpoints, self._seeds = checkpoints, seeds

    def describe(self, parts: Sequence[str], steps: int, outline: Plain) -> None:
        """Says what there is to do for all seeds."""
        del parts
        layout = {**outline["layout"], "seeds": [int(seed) for seed in self._seeds]}
        every = [part_of(seed) for seed in self._seeds]
        self._checkpoints.describe(every, steps, {**outline, "layout": layout})

    def read(self, part: str) -> Plain | None:
        """The state of a part; None if it begins."""
        return self._checkpoints.read(part)

    def offer(self, part: str, step: int, state: Callable[[], Plain]) -> None:
        """Keeps the state of a part under way, if that is due."""
        self._checkpoints.offer(part, step, state)

    def finish(self, part: str, step: int, state: Callable[[], Plain]) -> None:
        """Keeps the outcome of a part."""
        self._checkpoints.finish(part, step, state)

"""From intervals to verdicts: a claim joins parts, each an interval and a threshold."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from attnscape.estimators import Interval
from attnscape.paper.verdict import Word


@dataclasses.dataclass(frozen=True)
class Part:
    """One comparison that the claim makes.

    Attributes:
        label: Where it is made, in a few words.
        interval: The statistic.
        threshold: What the statistic is held against.
        above: Whether the claim puts it above the threshold, or below.
        note: What else must be known of the numbers, such as runs that diverged.
    """

    label: str
    interval: Interval
    threshold: float = 1.0
    above: bool = True
    note: str = ""

    @property
    def verdict(self) -> Word:
        """Whether the whole interval lies on the claimed side, on the other, or on both."""
        if self.interval.above(self.threshold):
            return "holds" if self.above else "does not hold"
        if self.interval.below(self.threshold):
            return "does not hold" if self.above else "holds"
        return "undecided"

    def __str__(self) -> str:
        mark = {"holds": "", "undecided": " (undecided)"}.get(self.verdict, " (does not hold)")
        note = f", {self.note}" if self.note else ""
        return f"{self.label}: {self.interval}{note}{mark}"


def together(parts: Sequence[Part]) -> Word:
    """The verdict of all parts: in part, where some hold and others do not or are undecided."""
    words = {part.verdict for part in parts}
    if words == {"holds"}:
        return "holds"
    if "holds" in words:
        return "holds in part"
    return "does not hold" if "does not hold" in words else "undecided"


def in_words(parts: Sequence[Part]) -> str:
    """All parts, one after the other."""
    return "; ".join(str(part) for part in parts)

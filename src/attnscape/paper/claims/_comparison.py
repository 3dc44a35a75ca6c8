"""Comparisons, on which claims are based: each compares an interval with a region."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

from attnscape.statistics import FEWEST, Interval

Outcome = Literal["holds", "reversed", "undecided"]
Kind = Literal["beyond", "alike", "not beyond"]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One comparison that the claim makes.

    Attributes:
        label: The comparison in a few words.
        interval: The statistic with its interval.
        threshold: The value that the statistic is compared with. If only effects of some size
            count, it is this size, such as 1.5 for a tail excess.
        above: Whether the claim says that the statistic is above the threshold; otherwise below.
        note: Further facts about the numbers, such as diverged runs.
        kind: The claim about the statistic. "beyond": it is on the claimed side of the threshold;
            "alike": it is within the margin of the threshold (two one-sided tests); "not beyond":
            it is at most the margin beyond the threshold on the side that is *not* claimed
            (non-inferiority), for claims that something "does not shrink".
        margin: A factor if the statistic is a ratio, a distance if it is a difference.
        ratio: Whether the statistic is a ratio; by default, whether the threshold is not 0.
        unit: The name of the interval's values, in the plural.
    """

    label: str
    interval: Interval
    threshold: float = 1.0
    above: bool = True
    note: str = ""
    _: dataclasses.KW_ONLY
    kind: Kind = "beyond"
    margin: float | None = None
    ratio: bool | None = None
    unit: str = "seeds"

    def __post_init__(self) -> None:
        if (self.margin is None) != (self.kind == "beyond"):
            raise ValueError(
                f"Comparison {self.label!r}: a margin goes with 'alike' and 'not beyond'."
            )
        neutral = 1.0 if self._is_ratio else 0.0
        if self.margin is not None and self.margin <= neutral:
            raise ValueError(
                f"Comparison {self.label!r} has margin {self.margin}, not above {neutral}."
            )

    @property
    def _is_ratio(self) -> bool:
        return self.threshold != 0 if self.ratio is None else self.ratio

    @property
    def region(self) -> tuple[float, float]:
        """The ends of the region that contains the true value if the claim is true."""
        margin = self.margin
        if margin is None:
            low = high = self.threshold
        elif self._is_ratio:
            low, high = self.threshold / margin, self.threshold * margin
        else:
            low, high = self.threshold - margin, self.threshold + margin
        if self.kind == "alike":
            return low, high
        return (low, np.inf) if self.above else (-np.inf, high)

    @property
    def p_values(self) -> tuple[float, float]:
        """Two-sided p-values of "the truth is outside the region" and "the truth is inside"."""
        low, high = self.region
        at_most, at_least = self.interval.p_at_most, self.interval.p_at_least
        ends = []
        if low > -np.inf:
            ends.append((at_most(low), at_least(low)))
        if high < np.inf:
            ends.append((at_least(high), at_most(high)))
        outside, inside = zip(*ends, strict=True)
        return min(1.0, 2 * max(outside)), min(1.0, 2 * min(inside))

    def describe(self, outcome: Outcome) -> str:
        """The comparison's numbers, with its outcome if it does not hold."""
        low, high = self.region
        within = ""
        if self.kind == "alike":
            within = f", within {low:.3g} to {high:.3g}"
        elif self.kind == "not beyond":
            within = f", no less than {low:.3g}" if self.above else f", no more than {high:.3g}"
        elif self.threshold not in (0.0, 1.0):
            within = f", {'above' if self.above else 'below'} {self.threshold:.3g}"
        marks = {"holds": "", "reversed": " (reversed)", "undecided": " (undecided)"}
        mark = marks[outcome]
        if outcome == "undecided" and self.interval.n < FEWEST:
            mark = f" (undecided: {self.interval.n} {self.unit})"
        note = f", {self.note}" if self.note else ""
        return f"{self.label}: {self.interval}{within}{note}{mark}"

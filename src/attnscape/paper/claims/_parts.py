"""From intervals to verdicts: a claim joins parts, each an interval held against a region.

A part claims that its statistic's truth lies in a region. Its two p-values are those of the
interval's own method, doubled, so that one below 5 % means that the 95 % interval lies wholly
within the region (the part holds) or wholly outside of it (the part is reversed).

A claim holds where every part holds at 5 %: as all must reject, each can be tested at the full
level (intersection-union test; Berger, Technometrics 24, 1982). Else words pick some of the parts,
and which of them hold or are reversed follows Holm's procedure over all parts (Scandinavian Journal
of Statistics 6, 1979), whatever their dependence: then with 95 % probability no part that lies on
the border of its region is decided at all. The intervals that are printed cover 95 % each.

===============  =======================================================
word             parts
===============  =======================================================
holds            all hold
holds in part    some hold, none is reversed, the others are undecided
mixed            some hold, some are reversed
does not hold    none holds, at least one is reversed
undecided        none is decided
===============  =======================================================

Where nothing is there to find (two equal optimizers), each word but the last comes up in at most
5 % of cases: "holds" by the first test, the others by Holm's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from attnscape.estimators import Interval
from attnscape.estimators.intervals import FEWEST
from attnscape.paper.verdict import Choice, Word

Outcome = Literal["holds", "reversed", "undecided"]
Kind = Literal["beyond", "alike", "not beyond"]
ERROR = 0.05


@dataclasses.dataclass(frozen=True)
class Part:
    """One comparison that the claim makes.

    Attributes:
        label: Where it is made, in a few words.
        interval: The statistic.
        threshold: What the statistic is held against. An effect that counts only from some size
            on has that size as its threshold: a tail excess above 1.5.
        above: Whether the claim puts it above the threshold, or below.
        note: What else must be known of the numbers, such as runs that diverged.
        kind: "beyond": on the claimed side of the threshold; "alike": no further than the margin
            from it (two one-sided tests); "not beyond": not further than the margin on the side
            that is *not* claimed (non-inferiority), as of what "does not shrink".
        margin: A factor for a statistic that is a ratio, a distance for a difference.
        ratio: Whether it is a ratio; by default, if the threshold is not 0.
        unit: What the interval's values are, in the plural.
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
            raise ValueError(f"Part {self.label!r}: a margin goes with 'alike' and 'not beyond'.")
        neutral = 1.0 if self._is_ratio else 0.0
        if self.margin is not None and self.margin <= neutral:
            raise ValueError(f"Part {self.label!r} has margin {self.margin}, not above {neutral}.")

    @property
    def _is_ratio(self) -> bool:
        return self.threshold != 0 if self.ratio is None else self.ratio

    @property
    def region(self) -> tuple[float, float]:
        """Between what the claim puts the truth."""
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
    def p_for(self) -> float:
        """p-value of "the truth is not in the region", both sides' errors counted (at most 1)."""
        low, high = self.region
        sides = []
        if low > -np.inf:
            sides.append(self.interval.p_at_most(low))
        if high < np.inf:
            sides.append(self.interval.p_at_least(high))
        return min(1.0, 2 * max(sides))

    @property
    def p_against(self) -> float:
        """p-value of "the truth is in the region", both sides' errors counted (at most 1)."""
        low, high = self.region
        sides = []
        if low > -np.inf:
            sides.append(self.interval.p_at_least(low))
        if high < np.inf:
            sides.append(self.interval.p_at_most(high))
        return min(1.0, 2 * min(sides))

    def describe(self, outcome: Outcome) -> str:
        """The part's numbers, and its outcome unless it holds."""
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


def outcomes(parts: Sequence[Part]) -> list[Outcome]:
    """What each part comes to beside the others."""
    if not parts:
        return []
    p_for, p_against = (
        np.array(p) for p in zip(*((part.p_for, part.p_against) for part in parts), strict=True)
    )
    return decided(p_for, p_against)


def decided(p_for: np.ndarray, p_against: np.ndarray) -> list[Outcome]:
    """Outcomes from the p-values (parts,) of both sides: all at once, or by Holm's procedure."""
    if (p_for <= ERROR).all():
        return ["holds"] * len(p_for)
    kept = holm(np.minimum(p_for, p_against)) <= ERROR
    return [
        "undecided" if not decisive else "holds" if yes < no else "reversed"
        for decisive, yes, no in zip(kept, p_for, p_against, strict=True)
    ]


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's adjusted p-values: rejecting those up to 5 % errs anywhere in at most 5 % of cases."""
    order = np.argsort(p_values)
    count = len(p_values)
    stepwise = np.maximum.accumulate(p_values[order] * (count - np.arange(count)))
    adjusted = np.empty(count)
    adjusted[order] = np.minimum(stepwise, 1.0)
    return adjusted


def word(found: Sequence[Outcome]) -> Word:
    """The verdict that the outcomes of all parts come to."""
    if found and set(found) == {"holds"}:
        return "holds"
    if "holds" in found:
        return "mixed" if "reversed" in found else "holds in part"
    return "does not hold" if "reversed" in found else "undecided"


def together(parts: Sequence[Part]) -> Word:
    """The verdict of all parts."""
    return word(outcomes(parts))


def in_words(parts: Sequence[Part]) -> str:
    """All parts, one after the other."""
    found = outcomes(parts)
    return "; ".join(part.describe(each) for part, each in zip(parts, found, strict=True))


def by_choice(choices: Mapping[str, Sequence[Part]]) -> tuple[Choice, ...]:
    """The table "verdict by choice": the parts under each choice, judged apart from the others.

    It shows how far a verdict depends on a choice. It is no way to pick one: the words hold their
    errors for a choice that was made before the numbers were seen.
    """
    return tuple(
        Choice(choice, together(parts), in_words(parts)) for choice, parts in choices.items()
    )

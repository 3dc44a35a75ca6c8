"""Verdicts from comparisons: which comparisons hold, and the label that follows for the claim.

A comparison claims that the true value of its statistic lies in a region. Its two p-values are the
one-sided p-values of the interval's method, doubled. The first is below 5 % if the 95 % interval
lies wholly inside the region (the comparison holds), the second if it lies wholly outside (it is
reversed).

A claim holds if every comparison holds at 5 %. Because all of them must hold, each can be tested at
the full level (intersection-union test; Berger, Technometrics 24, 1982). Otherwise the verdict
selects some of the comparisons, and Holm's procedure over all of them decides which hold or are
reversed (Scandinavian Journal of Statistics 6, 1979). Then, for any dependence between comparisons,
the probability is at most 5 % that some comparison is decided although its true value lies on the
border of its region. Each printed interval covers 95 %.

===============  =========================================================
verdict          comparisons
===============  =========================================================
holds            all hold
holds in part    some hold, none is reversed, the others are undecided
mixed            some hold, some are reversed
does not hold    none holds, at least one is reversed
undecided        none is decided
===============  =========================================================

Without an effect (two equal optimizers), each verdict except the last occurs in at most 5 % of
cases: "holds" because of the first test, the others because of Holm's procedure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from attnscape.paper.claims._comparison import Comparison, Outcome
from attnscape.paper.verdict import Choice, VerdictLabel

ERROR = 0.05


def outcomes(comparisons: Sequence[Comparison]) -> list[Outcome]:
    """The outcome of each comparison, judged together with the others."""
    if not comparisons:
        return []
    outside, inside = np.array([comparison.p_values for comparison in comparisons]).T
    return decided(outside, inside)


def decided(outside: np.ndarray, inside: np.ndarray) -> list[Outcome]:
    """Outcomes from p-values: all hold at the full level, or Holm's procedure decides.

    Args:
        outside: (comparisons,) p-values of "the truth lies outside the region".
        inside: (comparisons,) p-values of "the truth lies inside the region".
    """
    if (outside <= ERROR).all():
        return ["holds"] * len(outside)
    rejected = holm(np.minimum(outside, inside)) <= ERROR
    return [
        "undecided" if not decisive else "holds" if p_outside < p_inside else "reversed"
        for decisive, p_outside, p_inside in zip(rejected, outside, inside, strict=True)
    ]


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's adjusted p-values.

    If p-values up to 5 % are rejected, the probability of any error is at most 5 %.
    """
    order = np.argsort(p_values)
    count = len(p_values)
    stepwise = np.maximum.accumulate(p_values[order] * (count - np.arange(count)))
    adjusted = np.empty(count)
    adjusted[order] = np.minimum(stepwise, 1.0)
    return adjusted


def verdict_label(found: Sequence[Outcome]) -> VerdictLabel:
    """The verdict from the outcomes of all comparisons."""
    if found and set(found) == {"holds"}:
        return "holds"
    if "holds" in found:
        return "mixed" if "reversed" in found else "holds in part"
    return "does not hold" if "reversed" in found else "undecided"


def verdict_of_comparisons(comparisons: Sequence[Comparison]) -> VerdictLabel:
    """The verdict from all comparisons."""
    return verdict_label(outcomes(comparisons))


def in_words(comparisons: Sequence[Comparison]) -> str:
    """All comparisons with their outcomes, one after the other."""
    return "; ".join(
        comparison.describe(outcome)
        for comparison, outcome in zip(comparisons, outcomes(comparisons), strict=True)
    )


def in_counts(comparisons: Sequence[Comparison]) -> str:
    """How many of the comparisons hold, are reversed and are undecided."""
    found = outcomes(comparisons)
    counts = [
        f"{found.count(outcome)} {words}"
        for outcome, words in (
            ("holds", "hold"),
            ("reversed", "are reversed"),
            ("undecided", "are undecided"),
        )
        if outcome in found
    ]
    return f"of {len(found)} comparisons {', '.join(counts)}"


def by_choice(choices: Mapping[str, Sequence[Comparison]]) -> tuple[Choice, ...]:
    """The table "verdict by choice": the comparisons of each choice are judged separately.

    The table shows how a verdict depends on a choice. Do not use it to make the choice: the error
    rates of the verdicts hold only for a choice made before seeing the numbers.
    """
    return tuple(
        Choice(choice, verdict_of_comparisons(comparisons), in_words(comparisons))
        for choice, comparisons in choices.items()
    )

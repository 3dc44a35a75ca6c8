"""Claims from sentences of the paper that have no figure."""

from __future__ import annotations

from collections.abc import Mapping

from attnscape.experiments.artifact import Results
from attnscape.paper.claims import _per_run as per_run
from attnscape.paper.claims._comparison import Comparison
from attnscape.paper.claims._from_tables import ratio_comparison
from attnscape.paper.claims._outcomes import in_words, verdict_of_comparisons
from attnscape.paper.verdict import Verdict

LINEAR, ONE_HEAD, TWO_HEADS = "linear-1-head", "softmax-1-head", "softmax-2-heads"
_HEADS_NUMBER = 11
_MATCH = 1.25  # losses match within this factor; one head must be worse by more


def head_comparisons(results: Results) -> list[Comparison]:
    """Final losses of softmax attention over linear attention: two heads alike, one above."""
    comparisons = []
    for optimizer in ("sgdm", "adam"):
        two, one, linear = (
            per_run.final_loss(results[name], optimizer) for name in (TWO_HEADS, ONE_HEAD, LINEAR)
        )
        comparisons += [
            ratio_comparison(f"two heads, {optimizer}", two, linear, kind="alike", margin=_MATCH),
            ratio_comparison(f"one head, {optimizer}", one, linear, threshold=_MATCH),
        ]
    return comparisons


def two_softmax_heads_match_a_linear_one(made: Mapping[str, Results]) -> Verdict:
    """Section 3.1, after von Oswald et al. (2023, App. A.9)."""
    comparisons = head_comparisons(made["softmax-heads"])
    return Verdict(
        _HEADS_NUMBER,
        "Two softmax heads match one linear head, and one softmax head does not.",
        verdict_of_comparisons(comparisons),
        "Final loss of softmax attention over that of linear attention, geometric mean over seeds "
        f"and evaluation batches: {in_words(comparisons)}.",
        f"Match means within a factor of {_MATCH:g}, by two one-sided tests. One layer, 2,000 "
        "steps; rates of all models come from the same search. Runs of one softmax model end on "
        "different plateaus, by seed: the verdict is about training from small random values, not "
        "about what heads can express.",
        ("softmax-heads",),
    )

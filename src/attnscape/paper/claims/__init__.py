"""The ten claims of the paper as code: each reads results and gives a verdict.

A verdict is about the numbers at hand. Each part of a claim holds, is reversed or stays undecided
by its 95 % interval and, where parts are picked from many, by Holm's procedure: `_parts` says how,
and what each word means. Claims are judged one by one; of ten, some may err.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attnscape.paper.artifact import Results
from attnscape.paper.claims import _comparisons as comparisons
from attnscape.paper.claims import _effects as effects
from attnscape.paper.verdict import Verdict

CLAIMS: Mapping[Callable[[Mapping[str, Results]], Verdict], tuple[str, ...]] = {
    comparisons.adam_reaches_lower_loss: ("fig2",),
    comparisons.gradient_noise_is_heavy_tailed: ("fig3",),
    comparisons.adam_sees_better_condition: ("tab-condition",),
    comparisons.adam_moves_along_smoother_directions: ("fig5",),
    comparisons.smoothness_grows_with_the_gradient: ("fig16",),
    effects.linear_attention_learns_faster: ("fig7",),
    effects.variants_behave_alike: ("fig8-left", "fig8-right"),
    effects.heavier_tails_make_it_harder: ("fig9", "fig10", "fig11"),
    effects.deeper_means_harder: ("fig12", "fig13", "fig14"),
    comparisons.nonlinear_regression_looks_the_same: ("fig15",),
}


def all_verdicts(made: Mapping[str, Results]) -> list[Verdict]:
    """Judges every claim whose artifacts are there, in the order of the claims.

    Args:
        made: The results of each artifact that was made, by its name.
    """
    return [claim(made) for claim, needed in CLAIMS.items() if all(a in made for a in needed)]

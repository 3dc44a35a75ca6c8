"""The claims of the paper as code: each reads results and gives a verdict.

Claims 1 to 10 are those of its figures, the others sentences of the paper that have no figure.

A claim consists of comparisons. Each comparison holds, is reversed, or is undecided, according to
its 95 % interval and, if the verdict selects some of several comparisons, to Holm's procedure.
`_outcomes` describes the rules and the meaning of each verdict. A verdict is about the given
results. Error rates hold for each claim separately, so some of the verdicts may be wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attnscape.experiments.artifact import Results
from attnscape.paper.claims import _extended_claims as extended_claims
from attnscape.paper.claims import _optimizer_claims as optimizer_claims
from attnscape.paper.claims import _variation_claims as variation_claims
from attnscape.paper.verdict import Verdict

CLAIMS: Mapping[Callable[[Mapping[str, Results]], Verdict], tuple[str, ...]] = {
    optimizer_claims.adam_reaches_lower_loss: ("fig2",),
    optimizer_claims.gradient_noise_is_heavy_tailed: ("fig3",),
    optimizer_claims.adam_sees_better_condition: ("tab-condition",),
    optimizer_claims.adam_moves_along_smoother_directions: ("fig5",),
    optimizer_claims.smoothness_grows_with_the_gradient: ("fig16",),
    variation_claims.linear_attention_learns_faster: ("fig7",),
    variation_claims.variants_behave_alike: ("fig8-left", "fig8-right"),
    variation_claims.heavier_tails_make_it_harder: ("fig9", "fig10", "fig11"),
    variation_claims.deeper_means_harder: ("fig12", "fig13", "fig14"),
    optimizer_claims.nonlinear_regression_looks_the_same: ("fig15",),
    extended_claims.momentum_helps_in_all_cases: ("without-momentum",),
    extended_claims.spectral_norm_grows_with_the_gradient: ("fig16-spectral",),
    extended_claims.smoothness_goes_with_the_speed_up: ("smoothness-speed",),
    extended_claims.two_softmax_heads_match_a_linear_one: ("softmax-heads",),
    extended_claims.orthonormal_covariates_make_attention_sparser: ("attention-scores",),
}


def all_verdicts(made: Mapping[str, Results]) -> list[Verdict]:
    """Judges every claim whose artifacts were made, in the order of the claims.

    Args:
        made: The results of each artifact that was made, by the artifact's name.
    """
    return [claim(made) for claim, needed in CLAIMS.items() if all(a in made for a in needed)]

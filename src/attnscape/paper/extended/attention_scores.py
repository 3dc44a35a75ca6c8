"""How sparse attention scores become for orthonormal and for other covariates.

The paper says in section 3.1 that orthogonal covariates, as in Huang et al. (2023), lead to sparser
attention scores for both linear and softmax Transformers. It has no figure of it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import pandas as pd

from attnscape.experiments.artifact import Analysis, Results, SettingCurves
from attnscape.experiments.captions import batches_in_words, ends, seeds_in_words
from attnscape.experiments.runs import tidy
from attnscape.experiments.setting import Setting, rates_of
from attnscape.measures import AttentionScores, EvaluationLoss, every
from attnscape.models import AttentionTransformer
from attnscape.models.attention import Activation
from attnscape.paper.claims._comparison import Comparison
from attnscape.paper.claims._extended_claims import (
    GAUSSIAN,
    ORTHONORMAL,
    SPHERE,
    sparsity_comparisons,
)
from attnscape.paper.claims._per_run import SHARE, first_attention
from attnscape.paper.extended.base import WithoutOwnParts
from attnscape.tasks import Gaussian, OneHot, RegressionTask, Sphere
from attnscape.tasks.covariates import Distribution

_DIM = 5
# All three have E x x^T = I/d.
_LAWS: Mapping[str, Distribution] = {
    GAUSSIAN: Gaussian(np.eye(_DIM) / _DIM),
    SPHERE: Sphere(),
    ORTHONORMAL: OneHot(),
}
# Of SGDM and Adam, from `attnscape.experiments.tuning.search` with its grid and tuning seeds, on
# one evaluation batch. Median losses there, at the rate and at its neighbours:
_RATES: Mapping[tuple[Activation, str], tuple[float, float]] = {
    # SGDM 0.243 at 0.002, 0.242 at 0.005, 0.244 at 0.01; Adam 0.265, 0.241, 0.242 (0.001 to 0.005)
    ("linear", GAUSSIAN): (0.005, 0.002),
    # SGDM 0.182 at 0.002, 0.182 at 0.005, 0.182 at 0.01; Adam 0.232, 0.181, 0.181 (0.001 to 0.005)
    ("linear", SPHERE): (0.005, 0.002),
    # SGDM 0.174 at 0.002, 0.171 at 0.005, 0.172 at 0.01; Adam 0.242, 0.171, 0.172 (0.001 to 0.005)
    ("linear", ORTHONORMAL): (0.005, 0.002),
    # SGDM 0.731 at 0.05, 0.531 at 0.1, 0.606 at 0.2; Adam 0.430, 0.399, 0.403 (0.01 to 0.05)
    ("softmax", GAUSSIAN): (0.1, 0.02),
    # SGDM 0.291 at 0.5, 0.280 at 1, 0.302 at 2; Adam 0.267, 0.240, 0.263 (0.01 to 0.05)
    ("softmax", SPHERE): (1.0, 0.02),
    # SGDM 0.0219 at 0.2, 0.0217 at 0.5, 0.0220 at 1; Adam 0.0891, 0.0212, 0.0214 (0.01 to 0.05)
    ("softmax", ORTHONORMAL): (0.5, 0.02),
}


@dataclasses.dataclass(frozen=True)
class SparsityAnalysis(Analysis):
    """Shares of context tokens that have the query's attention.

    Attributes:
        trained: The share for orthonormal covariates over that for the others, after training.
        initial: The same at step 0.
    """

    trained: Sequence[Comparison]
    initial: Sequence[Comparison]


class AttentionSparsity(WithoutOwnParts, SettingCurves[SparsityAnalysis]):
    """Shares along training for each model, and the ratios of orthonormal covariates to others."""

    about = "has tasks and models of its own"

    def analyse(self, results: Results) -> SparsityAnalysis:
        """The frame has one row for each measured share; for diverged runs it is empty.

        The columns are setting, optimizer, learning_rate, seed, step, evaluation and the share, the
        mean over layers.
        """
        shares = {
            name: dataset.assign({SHARE: dataset[SHARE].mean("layer", skipna=False)})
            for name, dataset in results.items()
        }
        return SparsityAnalysis(
            results,
            tidy(shares, [SHARE]),
            sparsity_comparisons(results),
            sparsity_comparisons(results, first_attention),
        )

    def sentence(self, analysis: SparsityAnalysis) -> str:
        below = sum(each.interval.below(1.0) for each in analysis.trained)
        above = sum(each.interval.above(1.0) for each in analysis.trained)
        words = "; ".join(
            f"{each.label} {ends(each.interval)}{f', {each.note}' if each.note else ''}"
            for each in analysis.trained
        )
        return (
            "After training, orthonormal covariates have sparser attention scores in "
            f"{below} of {len(analysis.trained)} comparisons and denser ones in {above}, each by "
            "the 95 % interval; effective share of tokens with the query's attention over that "
            f"for other covariates: {words}."
        )

    def shown(self, analysis: SparsityAnalysis) -> str:
        dataset = next(iter(analysis.results.values()))
        initial = "; ".join(f"{each.label} {ends(each.interval)}" for each in analysis.initial)
        return (
            "With p the query's absolute scores for the n context tokens, normalised to sum 1, the "
            "effective share is exp(H(p)) / n, with the entropy H: 1 if all scores have one size, "
            "1/n if one token has all. Left and middle: its mean over the first of "
            f"{batches_in_words(dataset)}, median over {seeds_in_words(analysis.results)} (lines), "
            "smallest to largest (bands). Right: orthonormal over other covariates, geometric mean "
            "with 95 % intervals over seeds and batches, after training (filled; the median of the "
            f"last 20 measurements) and at step 0 (open), where the ratios are: {initial}."
        )

    def comparison(self, analysis: SparsityAnalysis) -> pd.DataFrame:
        when = {"after training": analysis.trained, "at step 0": analysis.initial}
        return pd.DataFrame(
            {
                "quantity": f"effective share {words}, {each.label}",
                "ours": each.interval.estimate,
                "low": each.interval.low,
                "high": each.interval.high,
            }
            for words, comparisons in when.items()
            for each in comparisons
        )


def _setting(activation: Activation, law: str) -> Setting:
    return Setting(
        f"{activation}-{law}",
        f"{activation.capitalize()} attention, {law} covariates",
        RegressionTask(_DIM, context=20, covariates=_LAWS[law]),
        rates_of(*_RATES[activation, law]),
        published=False,
        init=functools.partial(AttentionTransformer.init, activation=activation),
        layers=1,
        form=MappingProxyType({"code": "full", "paper": "full"}),
        batch=250,
        steps=2_000,
        all_steps=2_000,
        measures=(EvaluationLoss(every(50)), AttentionScores(every(50))),
    )


ATTENTION_SCORES = AttentionSparsity(
    "attention-scores",
    "Sparsity of attention scores for orthonormal and other covariates (section 3.1)",
    "Orthogonal covariates (as in Huang et al., 2023) lead to sparser attention scores for both "
    "linear and softmax Transformers.",
    tuple(_setting(*key) for key in _RATES),
    "Covariates, the query included, are uniform on d = 5 unit vectors (orthonormal), uniform on "
    "the unit sphere, or N(0, I/5): all have E x x^T = I/5 and n = 20. About a fifth of the tokens "
    "of an orthonormal prompt equal the query, and a share of 1/5 means that they alone have "
    "attention. Products of one vector with covariates whose law no rotation changes (the other "
    "two) have the same law up to a factor for every vector, so that training cannot change the "
    "share of linear attention there. One layer; all entries of P and Q are trained, because "
    "softmax needs the sign of P to be free. The learning rates come from one search for all six "
    "settings, by their loss.",
)

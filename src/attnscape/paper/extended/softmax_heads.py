"""Softmax attention with one and two heads beside linear attention with one head.

The paper says in section 3.1, after von Oswald et al. (2023, App. A.9), that softmax Transformers
with twice as many heads match linear ones. It has no figure of it.
"""

from __future__ import annotations

import dataclasses
import functools
from types import MappingProxyType

import pandas as pd

from attnscape.experiments.artifact import Analysis
from attnscape.experiments.captions import ends, seeds_in_words
from attnscape.experiments.setting import Setting, rates_of
from attnscape.measures import EvaluationLoss, every
from attnscape.models import AttentionTransformer, MultiHeadTransformer
from attnscape.paper.claims._extended_claims import LINEAR, ONE_HEAD, TWO_HEADS, head_comparisons
from attnscape.paper.extended.base import WithoutOwnParts
from attnscape.paper.loss_curves import LossCurves
from attnscape.tasks import RegressionTask

# The rates come from `attnscape.experiments.tuning.search` with its grid and tuning seeds, on one
# evaluation batch. Median losses there, at the rate and at its neighbours: linear, SGDM 1.213 at
# 0.001, 1.213 at 0.002, 1.230 at 0.005; Adam 1.232 at 0.0005, 1.204 at 0.001, 1.207 at 0.002.
_LINEAR = Setting(
    LINEAR,
    "Linear attention, one head",
    RegressionTask(context=20),
    rates_of(0.002, 0.001),
    published=False,
    layers=1,
    form=MappingProxyType({"code": "full", "paper": "full"}),
    batch=250,
    steps=2_000,
    all_steps=2_000,
    measures=(EvaluationLoss(every(25)),),
)
# SGDM 3.227 at 0.005, 2.937 at 0.01, 3.434 at 0.02; Adam 2.728 at 0.01, 2.541 at 0.02, 2.648 at
# 0.05.
_ONE_HEAD = dataclasses.replace(
    _LINEAR,
    name=ONE_HEAD,
    title="Softmax attention, one head",
    rates=rates_of(0.01, 0.02),
    init=AttentionTransformer.init,
)
# SGDM 1.889 at 0.01, 1.790 at 0.02, 1.894 at 0.05; Adam 1.554 at 0.01, 1.477 at 0.02, 1.675 at
# 0.05.
_TWO_HEADS = dataclasses.replace(
    _LINEAR,
    name=TWO_HEADS,
    title="Softmax attention, two heads",
    rates=rates_of(0.02, 0.02),
    init=functools.partial(MultiHeadTransformer.init, heads=2),
)


class SoftmaxHeads(WithoutOwnParts, LossCurves):
    """Loss curves of the three models, and the ratios of their final losses."""

    about = "compares models of its own"

    def sentence(self, analysis: Analysis) -> str:
        words = "; ".join(
            f"{each.label} {ends(each.interval)}{f', {each.note}' if each.note else ''}"
            for each in head_comparisons(analysis.results)
        )
        return (
            "Final loss over that of linear attention, with 95 % intervals over seeds and "
            f"evaluation batches: {words}; {seeds_in_words(analysis.results)}."
        )

    def shown(self, analysis: Analysis) -> str:
        return (
            "Lines: mean over seeds on the first of the fixed batches of 1000 prompts; bands: "
            "smallest to largest seed; thin dotted lines: the other batches. The loss is taken "
            "every 25 steps, and a final loss is the median of the last 20. One layer, in which "
            "linear attention takes one preconditioned step of gradient descent."
        )

    def comparison(self, analysis: Analysis) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "quantity": f"final loss over linear attention's, {each.label}",
                "ours": each.interval.estimate,
                "low": each.interval.low,
                "high": each.interval.high,
            }
            for each in head_comparisons(analysis.results)
        )


SOFTMAX_HEADS = SoftmaxHeads(
    "softmax-heads",
    "Softmax attention with one and two heads beside linear attention (section 3.1)",
    "Softmax Transformers with twice as many heads match linear Transformers.",
    (_LINEAR, _ONE_HEAD, _TWO_HEADS),
    "All entries of P and Q are trained, so that heads can have opposite signs. Softmax is divided "
    "by n as in the public code; P can make up for it. The learning rates come from one search for "
    "all three models, with the same budget.",
    one_scale=True,
    with_references=False,  # one layer of softmax attention takes no step of gradient descent
)

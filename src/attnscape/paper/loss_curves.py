"""Loss curves of SGDM and Adam (Fig. 2, 7, 8, 9, 12)."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from attnscape.experiments.artifact import Analysis, Results, SettingCurves
from attnscape.experiments.captions import batches_in_words, seeds_in_words
from attnscape.experiments.experiment import Experiment
from attnscape.experiments.reference_losses import ReferenceLoss, reference_losses
from attnscape.experiments.runs import tidy
from attnscape.experiments.setting import LOSSES, Plan, Setting
from attnscape.paper.settings import DEPTHS, HEAVY_TAILED, MAIN, SETTING_1, SPHERE
from attnscape.paper.variants import FACTORED, LINEAR, SEARCHED, SOFTMAX, WIDE, WIDE_SEARCHED


@dataclasses.dataclass(frozen=True)
class LossAnalysis(Analysis):
    """Losses along training, and those of predictors that are not trained.

    Attributes:
        references: By setting, the largest loss first.
    """

    references: Mapping[str, tuple[ReferenceLoss, ...]]


@dataclasses.dataclass(frozen=True)
class LossCurves(SettingCurves[LossAnalysis]):
    """One panel for each setting, one line for each optimizer.

    Attributes:
        one_scale: Whether the panels share the loss axis.
        losses_only: Whether the runs record only losses. Such runs take half the time, but cannot
            be shared with other artifacts.
        most_seeds: Largest number of seeds.
        searched: Whether the learning rates come from a search instead of the paper.
        with_references: Whether losses of untrained predictors are shown.
    """

    one_scale: bool = False
    losses_only: bool = False
    most_seeds: int | None = None
    searched: bool = False
    with_references: bool = True

    def obstacle(self, plan: Plan) -> str:
        if plan.own and self.searched:
            return (
                f"{self.name} has the rates found for the paper's settings; leave --task and "
                "--model out, or give fig2 --tune."
            )
        return ""

    def experiments(self, plan: Plan) -> Mapping[str, Experiment]:
        return {setting.name: self._experiment(setting, plan) for setting in self.settings}

    def _experiment(self, setting: Setting, plan: Plan) -> Experiment:
        experiment = setting.experiment(plan)
        changes: dict[str, Any] = {"seeds": experiment.seeds[: self.most_seeds]}
        if self.losses_only:
            changes["measures"] = LOSSES
        if self.searched and setting.name not in plan.searches:
            changes["name"] = f"{experiment.name}-searched"
            changes["learning_rates"] = {name: (rate,) for name, rate in setting.found.items()}
        return dataclasses.replace(experiment, **changes)

    def analyse(self, results: Results) -> LossAnalysis:
        """The frame has one row for each measured loss; for diverged runs the loss is empty.

        The columns are setting, optimizer, learning_rate, seed, step, evaluation, loss.
        """
        return LossAnalysis(results, tidy(results, ["loss"]), self._references)

    def prepare(self) -> None:
        _ = self._references

    @functools.cached_property
    def _references(self) -> Mapping[str, tuple[ReferenceLoss, ...]]:
        settings = self.settings if self.with_references else ()
        once: dict[tuple[int, int | None], tuple[ReferenceLoss, ...]] = {}  # tasks have no hash
        for setting in settings:
            if (key := (id(setting.task), setting.layers)) not in once:
                once[key] = reference_losses(setting.task, setting.layers)
        return {each.name: once[id(each.task), each.layers] for each in settings}

    def sentence(self, analysis: LossAnalysis) -> str:
        dataset = next(iter(analysis.results.values()))
        last = int(dataset["step"][-1])
        return (
            f"Loss of SGDM and Adam along {last:,} steps, on a log axis: mean over seeds (lines), "
            f"smallest to largest seed (bands); {seeds_in_words(analysis.results)}."
        )

    def shown(self, analysis: LossAnalysis) -> str:
        dataset = next(iter(analysis.results.values()))
        words = (
            f"The loss is taken every 50 steps on {batches_in_words(dataset)}; lines and bands are "
            "of the first batch, as in the paper"
        )
        if dataset.sizes.get("evaluation", 1) > 1:
            words += (
                "; thin dotted lines: the mean over seeds on every other batch, whose rare prompts "
                "differ, cut off at ten times the largest loss drawn of the first batch"
            )
        return f"{words}. Both end where a run diverges. {_in_words(analysis.references)}".strip()


def _in_words(references: Mapping[str, tuple[ReferenceLoss, ...]]) -> str:
    """The reference lines in a sentence; empty if there are none."""
    parts = [
        f"{name} " + ", ".join(map(_one_in_words, of_setting))
        for name, of_setting in references.items()
        if of_setting
    ]
    if not parts:
        return ""
    shown = [each for of_setting in references.values() for each in of_setting]
    words = ["Grey lines: losses of untrained predictors on the first batch"]
    if any("descent" in each.name for each in shown):
        words.append(
            "gradient descent goes over the examples in the prompt, with the step sizes that are "
            "best on average over prompts, as many steps as there are layers"
        )
    if any("preconditioned" in each.name for each in shown):
        words.append("preconditioned: by the best matrix that all steps share")
    if any(each.name.startswith("ridge") for each in shown):
        words.append("ridge regression on these examples has no intercept and the best penalty")
    if any("Bayes" in each.name for each in shown):
        words.append("Bayes is the posterior mean, without noise the least-squares solution")
    if any(each.loss == 0 for each in shown):
        words.append("a loss of 0 is not drawn")
    if any(each.prompts for each in shown):
        words.append(
            "in brackets, of predictors whose numbers were fitted to a large fixed sample of "
            "prompts: the mean loss on another such sample, with its standard error"
        )
    return f"{'; '.join(words)}: {'; '.join(parts)}."


def _one_in_words(reference: ReferenceLoss) -> str:
    words = f"{reference.name}: {reference.loss:.3g}"
    if not reference.prompts:
        return words
    return (
        f"{words} ({reference.expected:.4g} +- {reference.standard_error:.1g} on "
        f"{reference.prompts:,} prompts)"
    )


_VARIANCE = (
    "E|x|^2 is 1 for spherical and heavy-tailed covariates and 5 for Gaussian ones, so their "
    "losses are not on one scale."
)
FIG2 = LossCurves(
    "fig2",
    "Adam and SGD with momentum on shallow linear Transformers (Fig. 2, right half)",
    "Adaptive methods like Adam are strictly better than SGD in all three settings.",
    MAIN,
    "In Setting 3 the covariates have one fifth of Setting 1's covariance.",
    losses_only=True,  # the first picture should not take long
    most_seeds=6,
)
FIG2_SEARCHED = LossCurves(
    "fig2-searched",
    "Adam and SGD with momentum at searched learning rates (beside Fig. 2)",
    "Adaptive methods like Adam are strictly better than SGD in all three settings.",
    MAIN,
    "Learning rates: found by a search with the recipe `code` at full length (or, with `--tune`, "
    "with this plan): the smallest median final loss over tuning seeds of their own.",
    losses_only=True,
    most_seeds=12,
    searched=True,
)
FIG9 = LossCurves(
    "fig9",
    "Loss for covariates with light and heavy tails (Fig. 9)",
    "Heavier-tailed covariates slow down both optimizers; the relative gap between them does not "
    "shrink for lighter tails.",
    (SPHERE, SETTING_1, HEAVY_TAILED),
    _VARIANCE,
)
FIG12 = LossCurves(
    "fig12",
    "Loss for different numbers of layers (Fig. 12)",
    "The gap between Adam and SGD grows with depth, while the loss falls for both.",
    DEPTHS,
    one_scale=True,
)
FIG7 = LossCurves(
    "fig7",
    "Linear attention and softmax attention, three layers (Fig. 7)",
    "The loss of linear attention decreases much faster than that of softmax attention.",
    (LINEAR, SOFTMAX),
    "Softmax runs over the keys of all n + 1 tokens before the mask takes the query out, and is "
    "divided by n as the scores of linear attention are, both as in the public code. " + SEARCHED,
    one_scale=True,
)
FIG8_LEFT = LossCurves(
    "fig8-left",
    "Separate query and key matrices (Fig. 8, left)",
    "The loss with separate query and key matrices is largely the same as with one matrix Q.",
    (FACTORED, SETTING_1),
    "Q = W_Q^T W_K. The factors' initial entries are drawn so that those of Q have the standard "
    "deviation that they have without factors. The paper gives no learning rates of its own for "
    "the left panel: they are Setting 1's.",
    one_scale=True,
)
FIG8_RIGHT = LossCurves(
    "fig8-right",
    "A larger Transformer: L = 8, d = 20, n = 60 (Fig. 8, right)",
    "With 8 layers and covariates of dimension 20 the loss plot is similar.",
    (WIDE,),
    WIDE_SEARCHED,
)

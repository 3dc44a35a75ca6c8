"""Loss curves of SGDM and Adam (Fig. 2, 9, 12, and every other picture of losses)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pandas as pd

from attnscape.experiment import Experiment
from attnscape.paper.artifact import Artifact, Results, conventions, rates_in_words, tidy
from attnscape.paper.settings import DEPTHS, HEAVY_TAILED, MAIN, SETTING_1, SPHERE, Plan, Setting


@dataclasses.dataclass(frozen=True)
class LossCurves(Artifact):
    """A panel a setting, a line an optimizer.

    Attributes:
        settings: The panels.
        remark: A sentence for the caption.
    """

    settings: tuple[Setting, ...] = ()
    remark: str = ""

    def experiments(self, plan: Plan) -> Mapping[str, Experiment]:
        return {setting.name: setting.experiment(plan) for setting in self.settings}

    def frame(self, results: Results) -> pd.DataFrame:
        """The columns setting, optimizer, learning_rate, seed, step, loss.

        A row a measured loss; those of diverged runs keep their row, with an empty loss.
        """
        return tidy(results, ["loss"])

    def caption(self, results: Results, plan: Plan) -> str:
        dataset = next(iter(results.values()))
        seeds, last = dataset.sizes["seed"], int(dataset["step"][-1])
        return " ".join(
            [
                f"Loss along {last:,} steps, {seeds} seeds, on a log axis. Lines: mean over seeds; "
                "bands: smallest to largest of the seeds; both end where a run diverges. The loss "
                "is taken every 50 steps on one fixed batch of 1000 prompts that all runs share.",
                conventions(plan),
                rates_in_words(results),
                self.remark,
            ]
        ).strip()


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
)

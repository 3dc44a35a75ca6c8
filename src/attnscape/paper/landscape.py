"""All four features of one setting in one figure (Fig. 15)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

import pandas as pd

from attnscape.experiments.artifact import Analysis, Artifact, Results
from attnscape.experiments.experiment import Experiment
from attnscape.experiments.setting import Plan, Setting
from attnscape.paper.condition_curves import ConditionCurves
from attnscape.paper.loss_curves import LossAnalysis, LossCurves
from attnscape.paper.noise import NoiseAnalysis, NoiseHistograms
from attnscape.paper.smoothness import SmoothnessCurves
from attnscape.paper.variants import NONLINEAR

Member = TypeVar("Member", bound=Artifact[Any])
PANELS = ("loss", "noise", "condition", "smoothness")  # in reading order
_PLACES = ("Upper left: ", "Upper right: ", "Lower left: ", "Lower right: ")


def _noise(setting: Setting) -> str:
    """The key of the result at initialisation."""
    return f"{setting.name}-noise"


@dataclasses.dataclass(frozen=True)
class LandscapeAnalysis(Analysis):
    """The analyses of the artifacts of the single panels; the frame has the rows of all panels."""

    loss: LossAnalysis
    noise: NoiseAnalysis
    condition: Analysis
    smoothness: Analysis


class Landscape(Artifact[LandscapeAnalysis]):
    """Loss, gradient noise, robust condition number, directional smoothness of one setting."""

    def experiments(self, plan: Plan) -> Mapping[str, Experiment]:
        (setting,) = self.settings
        return {
            setting.name: setting.experiment(plan),
            _noise(setting): setting.noise_experiment(plan),
        }

    def analyse(self, results: Results) -> LandscapeAnalysis:
        """The frame has the rows of all panels, named by `panel`; other columns may be empty."""
        (setting,) = self.settings
        runs, noise = ({setting.name: results[key]} for key in (setting.name, _noise(setting)))
        analyses = (
            self._member(LossCurves).analyse(runs),
            self._member(NoiseHistograms).analyse(noise),
            self._member(ConditionCurves).analyse(runs),
            self._member(SmoothnessCurves).analyse(runs),
        )
        frames = [
            analysis.frame.assign(panel=panel)
            for panel, analysis in zip(PANELS, analyses, strict=True)
        ]
        frame = pd.concat(frames, ignore_index=True)
        frame = frame[["panel", *frame.columns.drop("panel")]]
        return LandscapeAnalysis(results, frame, *analyses)

    def comparison(self, analysis: LandscapeAnalysis) -> pd.DataFrame:
        """Tail statistics of the noise, as in `NoiseHistograms`."""
        return self._member(NoiseHistograms).comparison(analysis.noise)

    def caption(self, analysis: LandscapeAnalysis, plan: Plan) -> str:
        shown = (
            self._member(LossCurves).shown(analysis.loss),
            self._member(NoiseHistograms).shown(analysis.noise),
            self._member(ConditionCurves).shown(analysis.condition),
            self._member(SmoothnessCurves).shown(analysis.smoothness),
        )
        panels = [place + words for place, words in zip(_PLACES, shown, strict=True)]
        (setting,) = self.settings
        runs = {setting.name: analysis.results[setting.name]}
        seeds = runs[setting.name].sizes["seed"]
        sentence = (
            "Loss, gradient noise at initialisation, robust condition number and directional "
            f"smoothness of SGDM and Adam, {seeds} seeds."
        )
        return f"{sentence}\n\n{' '.join([*panels, self.how_run(runs, plan)])}"

    def _member(self, kind: type[Member]) -> Member:
        """The artifact of a single panel."""
        return kind(self.name, self.title, self.statement, self.settings)


FIG15 = Landscape(
    "fig15",
    "Nonlinear regression (Fig. 15)",
    "Nonlinear regression with a ReLU network shows the same features: Adam is faster, the noise "
    "is heavy-tailed, SGD has the larger robust condition number and directional smoothness.",
    (NONLINEAR,),
    "y = <w, MLP(x)> with one fixed random network (5 hidden units); the model has a trained MLP "
    "with 15 hidden units in front of linear attention, and all their parameters count.",
)

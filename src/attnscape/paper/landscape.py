"""All four features of one setting in one picture (Fig. 15)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from attnscape.experiment import Experiment
from attnscape.paper.artifact import Artifact, Results, how_run
from attnscape.paper.condition import ConditionCurves
from attnscape.paper.loss_curves import LossCurves
from attnscape.paper.noise import NoiseHistograms
from attnscape.paper.settings import Plan
from attnscape.paper.smoothness import SmoothnessCurves
from attnscape.paper.variants import NONLINEAR

# The panels in reading order: what each is called in the table, and what makes it.
PANELS: Mapping[str, type[Any]] = {
    "loss": LossCurves,
    "noise": NoiseHistograms,
    "condition": ConditionCurves,
    "smoothness": SmoothnessCurves,
}
_PLACES = ("Upper left: ", "Upper right: ", "Lower left: ", "Lower right: ")
_NOISE = "-noise"  # ends the key of the runs at initialisation


class Landscape(Artifact):
    """Loss, gradient noise, robust condition number, directional smoothness of one setting."""

    def experiments(self, plan: Plan) -> Mapping[str, Experiment]:
        (setting,) = self.settings
        return {
            setting.name: setting.experiment(plan),
            setting.name + _NOISE: setting.noise_experiment(plan),
        }

    def frame(self, results: Results) -> pd.DataFrame:
        """The rows of all panels, which the column panel names; columns of others stay empty."""
        frames = [
            part.frame(of_part).assign(panel=panel)
            for panel, (part, of_part) in self._parts(results).items()
        ]
        frame = pd.concat(frames, ignore_index=True)
        return frame[["panel", *frame.columns.drop("panel")]]

    def comparison(self, results: Results) -> pd.DataFrame:
        """Tail statistics of the noise, as of `NoiseHistograms`."""
        part, of_part = self._parts(results)["noise"]
        return part.comparison(of_part)

    def caption(self, results: Results, plan: Plan) -> str:
        runs = {key: dataset for key, dataset in results.items() if not key.endswith(_NOISE)}
        shown = [part.shown(of_part) for part, of_part in self._parts(results).values()]
        panels = [place + words for place, words in zip(_PLACES, shown, strict=True)]
        seeds = next(iter(runs.values())).sizes["seed"]
        sentence = (
            "Loss, gradient noise at initialisation, robust condition number and directional "
            f"smoothness of SGDM and Adam, {seeds} seeds."
        )
        return f"{sentence}\n\n{' '.join([*panels, how_run(self, runs, plan)])}"

    def _parts(self, results: Results) -> dict[str, tuple[Any, Results]]:
        """Of each panel: the artifact that has it alone, and its results."""
        (setting,) = self.settings
        parts = {}
        for panel, kind in PANELS.items():
            key = setting.name + (_NOISE if panel == "noise" else "")
            artifact = kind(self.name, self.title, self.statement, self.settings)
            parts[panel] = artifact, {setting.name: results[key]}
        return parts


FIG15 = Landscape(
    "fig15",
    "Nonlinear regression (Fig. 15)",
    "Nonlinear regression with a ReLU network shows the same features: Adam is faster, the noise "
    "is heavy-tailed, SGD has the larger robust condition number and directional smoothness.",
    (NONLINEAR,),
    "y = <w, MLP(x)> with one fixed random network (5 hidden units); the model has a trained MLP "
    "with 15 hidden units in front of linear attention, and all their parameters count.",
)

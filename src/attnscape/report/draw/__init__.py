"""Drawing: one function for every kind of artifact."""

from __future__ import annotations

import functools

import pandas as pd
from matplotlib.figure import Figure

from attnscape.bench import Bench
from attnscape.estimators import PUBLIC_CODE
from attnscape.paper.ablation import Ablation
from attnscape.paper.artifact import Artifact
from attnscape.paper.condition import ConditionCurves, ConditionTable
from attnscape.paper.exact import ExactTable
from attnscape.paper.landscape import Landscape
from attnscape.paper.loss_curves import LossCurves
from attnscape.paper.noise import NoiseHistograms
from attnscape.paper.settings import Setting
from attnscape.paper.smoothness import SmoothnessCurves, SmoothnessScatter
from attnscape.paper.tables import TableOfRates
from attnscape.report.draw import (
    ablation,
    bench,
    condition_curves,
    condition_ratios,
    exact,
    landscape,
    loss_curves,
    noise,
    rates,
    smoothness,
)


@functools.singledispatch
def draw(artifact: Artifact, frame: pd.DataFrame) -> Figure | None:
    """The picture of an artifact's numbers; None for one that is only a table."""
    return None


@draw.register
def _(artifact: LossCurves, frame: pd.DataFrame) -> Figure:
    return loss_curves.figure(frame, _titles(artifact.settings), one_scale=artifact.one_scale)


@draw.register
def _(artifact: ConditionTable, frame: pd.DataFrame) -> Figure:
    titles = _titles(artifact.settings)
    chosen = frame[frame["convention"] == PUBLIC_CODE]
    return condition_ratios.figure(chosen, titles, artifact.printed, artifact.seeds)


@draw.register
def _(artifact: ExactTable, frame: pd.DataFrame) -> Figure:
    return exact.figure(frame, _titles(artifact.settings), artifact.distribution.printed)


@draw.register
def _(artifact: ConditionCurves, frame: pd.DataFrame) -> Figure:
    titles = _titles(artifact.settings)
    return condition_curves.figure(frame, titles, artifact.conventions)


@draw.register
def _(artifact: Ablation, frame: pd.DataFrame) -> Figure:
    return ablation.figure(frame, _titles(artifact.settings))


@draw.register
def _(artifact: NoiseHistograms, frame: pd.DataFrame) -> Figure:
    return noise.figure(frame, _titles(artifact.settings))


@draw.register
def _(artifact: SmoothnessCurves, frame: pd.DataFrame) -> Figure:
    return smoothness.curves(frame, _titles(artifact.settings))


@draw.register
def _(artifact: SmoothnessScatter, frame: pd.DataFrame) -> Figure:
    return smoothness.scatter(frame, _titles(artifact.settings))


@draw.register
def _(artifact: Landscape, frame: pd.DataFrame) -> Figure:
    (setting,) = artifact.settings
    return landscape.figure(frame, setting.title)


@draw.register
def _(artifact: TableOfRates, frame: pd.DataFrame) -> Figure | None:
    if "loss" not in frame:  # nothing was searched for
        return None
    recipe = {setting.name: setting.rates["code"] for setting in artifact.settings}
    return rates.figure(frame, _titles(artifact.settings), recipe)


@draw.register
def _(artifact: Bench, frame: pd.DataFrame) -> Figure:
    return bench.figure(artifact, frame)


def _titles(settings: tuple[Setting, ...]) -> dict[str, str]:
    return {setting.name: setting.title for setting in settings}

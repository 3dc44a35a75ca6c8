"""Drawing: one function for every kind of artifact."""

from __future__ import annotations

import functools

from matplotlib.figure import Figure

from attnscape.bench import Bench, BenchAnalysis
from attnscape.experiments.artifact import Analysis, AnalysisT, Artifact
from attnscape.experiments.setting import Setting
from attnscape.paper.ablation import Ablation
from attnscape.paper.condition_curves import ConditionCurves
from attnscape.paper.condition_table import ConditionAnalysis, ConditionTable
from attnscape.paper.exact import ExactAnalysis, ExactTable
from attnscape.paper.landscape import Landscape, LandscapeAnalysis
from attnscape.paper.loss_curves import LossCurves
from attnscape.paper.noise import NoiseAnalysis, NoiseHistograms
from attnscape.paper.smoothness import ScatterAnalysis, SmoothnessCurves, SmoothnessScatter
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
from attnscape.statistics import PUBLIC_CODE


@functools.singledispatch
def draw(artifact: Artifact[AnalysisT], analysis: AnalysisT) -> Figure | None:
    """The figure of an artifact; None if the artifact is only a table."""
    return None


@draw.register
def _(artifact: LossCurves, analysis: Analysis) -> Figure:
    return loss_curves.figure(
        analysis.frame, _titles(artifact.settings), one_scale=artifact.one_scale
    )


@draw.register
def _(artifact: ConditionTable, analysis: ConditionAnalysis) -> Figure:
    titles = _titles(artifact.settings)
    chosen = analysis.frame[analysis.frame["convention"] == PUBLIC_CODE]
    return condition_ratios.figure(chosen, titles, artifact.printed, artifact.seeds)


@draw.register
def _(artifact: ExactTable, analysis: ExactAnalysis) -> Figure:
    return exact.figure(analysis.frame, _titles(artifact.settings), artifact.distribution.printed)


@draw.register
def _(artifact: ConditionCurves, analysis: Analysis) -> Figure:
    titles = _titles(artifact.settings)
    return condition_curves.figure(analysis.frame, titles, artifact.conventions)


@draw.register
def _(artifact: Ablation, analysis: Analysis) -> Figure:
    return ablation.figure(analysis.frame, _titles(artifact.settings))


@draw.register
def _(artifact: NoiseHistograms, analysis: NoiseAnalysis) -> Figure:
    return noise.figure(analysis.frame, _titles(artifact.settings))


@draw.register
def _(artifact: SmoothnessCurves, analysis: Analysis) -> Figure:
    return smoothness.curves(analysis.frame, _titles(artifact.settings))


@draw.register
def _(artifact: SmoothnessScatter, analysis: ScatterAnalysis) -> Figure:
    return smoothness.scatter(analysis, _titles(artifact.settings))


@draw.register
def _(artifact: Landscape, analysis: LandscapeAnalysis) -> Figure:
    (setting,) = artifact.settings
    return landscape.figure(analysis.frame, setting.title)


@draw.register
def _(artifact: TableOfRates, analysis: Analysis) -> Figure | None:
    if "loss" not in analysis.frame:  # no rates were searched
        return None
    recipe = {setting.name: setting.rates["code"] for setting in artifact.settings}
    return rates.figure(analysis.frame, _titles(artifact.settings), recipe)


@draw.register
def _(artifact: Bench, analysis: BenchAnalysis) -> Figure:
    return bench.figure(artifact, analysis)


def _titles(settings: tuple[Setting, ...]) -> dict[str, str]:
    return {setting.name: setting.title for setting in settings}

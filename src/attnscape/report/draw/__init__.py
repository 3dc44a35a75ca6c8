"""Drawing: one function for every kind of artifact."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from matplotlib.figure import Figure

from attnscape.bench import Bench, BenchAnalysis
from attnscape.experiments.artifact import Analysis, AnalysisT, Artifact
from attnscape.experiments.setting import Setting
from attnscape.paper.ablation import Ablation
from attnscape.paper.condition_curves import ConditionCurves
from attnscape.paper.condition_table import ConditionAnalysis, ConditionTable
from attnscape.paper.exact import ExactAnalysis, ExactTable
from attnscape.paper.extended.along_training import AlongAnalysis, AlongTraining
from attnscape.paper.extended.attention_scores import AttentionSparsity, SparsityAnalysis
from attnscape.paper.extended.batch_size import BatchSize, BatchSizeAnalysis
from attnscape.paper.extended.budgets import Budgeted
from attnscape.paper.extended.edge_of_stability import EdgeAnalysis, EdgeOfStability
from attnscape.paper.extended.momentum import MomentumRatios, WithoutMomentum
from attnscape.paper.extended.plateaus import PlateauAnalysis, Plateaus
from attnscape.paper.extended.population import Population, PopulationAnalysis
from attnscape.paper.extended.rotation import Rotation, RotationAnalysis
from attnscape.paper.extended.schedules import Schedules, SchedulesAnalysis
from attnscape.paper.extended.second_order import SecondOrder, SecondOrderAnalysis
from attnscape.paper.extended.spectral import SpectralAnalysis, SpectralScatter
from attnscape.paper.extended.speed import SmoothnessSpeed, SpeedAnalysis
from attnscape.paper.landscape import Landscape, LandscapeAnalysis
from attnscape.paper.loss_curves import LossAnalysis, LossCurves
from attnscape.paper.networks.base import titles as network_titles
from attnscape.paper.networks.curvature import NetworkConditions, NetworkConditionTable
from attnscape.paper.networks.losses import NetworkCurves, NetworkLosses
from attnscape.paper.networks.momentum import Momentum, MomentumAnalysis
from attnscape.paper.networks.noise import NetworkNoiseAnalysis, NetworkNoiseHistograms
from attnscape.paper.networks.side_by_side import SideBySide, SideBySideAnalysis
from attnscape.paper.networks.smoothness import NetworkGrowth, NetworkSmoothness
from attnscape.paper.networks.transfer import Transfer, TransferAnalysis
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
    networks,
    noise,
    rates,
    side_by_side,
    smoothness,
    transfer,
)
from attnscape.report.draw.extended import (
    along_training,
    attention_scores,
    batch_size,
    edge_of_stability,
    momentum,
    plateaus,
    population,
    rotation,
    schedules,
    second_order,
    spectral,
    speed,
)
from attnscape.report.style import folded
from attnscape.statistics import PUBLIC_CODE


@functools.singledispatch
def draw(artifact: Artifact[AnalysisT], analysis: AnalysisT) -> Figure | None:
    """The figure of an artifact; None if the artifact is only a table."""
    return None


@draw.register
def _(artifact: LossCurves, analysis: LossAnalysis) -> Figure:
    return loss_curves.figure(
        analysis.frame,
        _titles(artifact.settings),
        one_scale=artifact.one_scale,
        references=analysis.references,
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
    references = analysis.loss.references[setting.name]
    return landscape.figure(analysis.frame, setting.title, references)


@draw.register
def _(artifact: TableOfRates, analysis: Analysis) -> Figure | None:
    if "loss" not in analysis.frame:  # no rates were searched
        return None
    recipe = {setting.name: setting.rates["code"] for setting in artifact.settings}
    return rates.figure(analysis.frame, _titles(artifact.settings), recipe)


@draw.register
def _(artifact: WithoutMomentum, analysis: MomentumRatios) -> Figure:
    return momentum.figure(analysis, _titles(artifact.settings))


@draw.register
def _(artifact: SpectralScatter, analysis: SpectralAnalysis) -> Figure:
    return spectral.figure(analysis, _titles(artifact.settings))


@draw.register
def _(artifact: SmoothnessSpeed, analysis: SpeedAnalysis) -> Figure:
    return speed.figure(analysis, _titles(artifact.settings))


@draw.register
def _(artifact: Rotation, analysis: RotationAnalysis) -> Figure:
    return rotation.figure(analysis.frame, _titles(artifact.settings))


@draw.register
def _(artifact: BatchSize, analysis: BatchSizeAnalysis) -> Figure:
    titles = {each.base: each.title for each in artifact.settings if isinstance(each, Budgeted)}
    return batch_size.figure(analysis.frame, analysis.gaps, titles)


@draw.register
def _(artifact: EdgeOfStability, analysis: EdgeAnalysis) -> Figure:
    return edge_of_stability.figure(analysis.frame)


@draw.register
def _(artifact: AttentionSparsity, analysis: SparsityAnalysis) -> Figure:
    return attention_scores.figure(analysis)


@draw.register
def _(artifact: Plateaus, analysis: PlateauAnalysis) -> Figure:
    return plateaus.figure(analysis, {each.name: each.title for each in artifact.settings})


@draw.register
def _(artifact: Population, analysis: PopulationAnalysis) -> Figure:
    return population.figure(analysis, _titles(artifact.settings))


@draw.register
def _(artifact: SecondOrder, analysis: SecondOrderAnalysis) -> Figure:
    return second_order.figure(analysis, _titles(artifact.settings))


@draw.register
def _(artifact: AlongTraining, analysis: AlongAnalysis) -> Figure:
    return along_training.figure(analysis, _titles(artifact.settings))


@draw.register
def _(artifact: Schedules, analysis: SchedulesAnalysis) -> Figure:
    return schedules.figure(analysis.frame, _titles(artifact.settings))


@draw.register
def _(artifact: NetworkLosses, analysis: NetworkCurves) -> Figure:
    return networks.losses(analysis.frame, _folded(network_titles(analysis.made)))


@draw.register
def _(artifact: Momentum, analysis: MomentumAnalysis) -> Figure:
    return networks.losses(analysis.frame, _folded(analysis.titles))


@draw.register
def _(artifact: NetworkNoiseHistograms, analysis: NetworkNoiseAnalysis) -> Figure:
    return networks.noise_histograms(analysis.frame, _folded(network_titles(analysis.made)))


@draw.register
def _(artifact: NetworkConditionTable, analysis: NetworkConditions) -> Figure:
    return networks.conditions(analysis.frame, _folded(network_titles(analysis.made)))


@draw.register
def _(artifact: NetworkSmoothness, analysis: NetworkGrowth) -> Figure:
    (title,) = network_titles(analysis.made).values()
    return networks.growth(analysis, title)


@draw.register
def _(artifact: SideBySide, analysis: SideBySideAnalysis) -> Figure:
    return side_by_side.figure(analysis)


@draw.register
def _(artifact: Transfer, analysis: TransferAnalysis) -> Figure:
    return transfer.figure(artifact, analysis)


@draw.register
def _(artifact: Bench, analysis: BenchAnalysis) -> Figure:
    return bench.figure(artifact, analysis)


def _titles(settings: tuple[Setting, ...]) -> dict[str, str]:
    return {setting.name: setting.title for setting in settings}


def _folded(titles: Mapping[str, str]) -> dict[str, str]:
    """Titles that name a network's data are longer than a panel is wide."""
    return {name: folded(title) for name, title in titles.items()}

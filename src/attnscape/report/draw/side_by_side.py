"""The linear model beside real networks: features as rows, systems as columns."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from attnscape.paper.networks.side_by_side import SideBySideAnalysis
from attnscape.paper.networks.similarity import ROWS
from attnscape.report.draw.networks import growth_panel, loss_panel
from attnscape.report.style import folded, of_networks_optimizer, style

_NETWORK, _LINEAR = "#CC79A7", "#009E73"
_LABELS = {
    "loss": "loss",
    "noise": "noise norm",
    "condition": "R_SGD / R_Adam",
    "smoothness": "directional smoothness",
    "growth": "ln smoothness",
}
_STATISTICS = {
    "loss": "log10 loss ratio\nSGDM / Adam",
    "noise": "log10 excess of the\n99 % quantile",
    "condition": "log10 R_SGD / R_Adam",
    "smoothness": "log10 smoothness ratio\nSGDM / Adam",
    "growth": "log-log slope",
}


def figure(analysis: SideBySideAnalysis) -> Figure:
    """Rows: features; columns: systems, and the statistic of each row for all systems."""
    titles = analysis.titles
    rows, columns = len(ROWS), len(titles) + 1
    with style():
        result = Figure(figsize=(2.5 * columns + 0.8, 2.4 * rows), layout="constrained")
        axes = result.subplots(rows, columns, squeeze=False)
        for row, feature in enumerate(ROWS):
            for column, name in enumerate(titles):
                _panel(axes[row, column], analysis, feature, name)
            axes[row, 0].set_ylabel(_LABELS[feature])
            _statistics(axes[row, -1], analysis, feature)
        for column, title in enumerate(titles.values()):
            axes[0, column].set_title(folded(title, 26), fontsize=9)
        axes[0, -1].set_title("statistic, mean over seeds", fontsize=9)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        result.legend(handles, labels, loc="outside lower left", ncols=2)
        return result


def _panel(axis: Axes, analysis: SideBySideAnalysis, feature: str, name: str) -> None:
    panels = analysis.panels
    axis.tick_params(which="both", labelsize=7)
    if feature == "loss":
        loss_panel(axis, panels.losses[panels.losses["system"] == name], legend=False)
        axis.set_xlabel("")
    elif feature == "noise":
        points = panels.noise[panels.noise["system"] == name]
        if points.empty:
            _say(axis, "full batches: no noise")
            return
        _qq(axis, points["gaussian_norm_quantile"].to_numpy(), points["noise_norm"].to_numpy())
    elif feature == "condition":
        _ratios(axis, analysis, name)
    elif feature == "smoothness":
        _smoothness(axis, analysis, name)
    else:
        points = panels.growth[panels.growth["system"] == name]
        points = points[points["directional_smoothness"] > 0]
        growth_panel(axis, points.rename(columns={"directional_smoothness": "smoothness"}))
    axis.set_xlabel(axis.get_xlabel(), fontsize=8)


def _say(axis: Axes, words: str) -> None:
    axis.text(0.5, 0.5, words, ha="center", va="center", transform=axis.transAxes, fontsize=8)
    axis.set_axis_off()


def _qq(axis: Axes, reference: np.ndarray, norms: np.ndarray) -> None:
    ends = [min(reference[0], norms[0]), max(reference[-1], norms[-1])]
    axis.plot(ends, ends, color="#999999", linewidth=0.8)
    axis.plot(reference, norms, "o", markersize=2, markeredgewidth=0, color="#222222")
    axis.set_xlabel("Gaussian norm's quantile")


def _ratios(axis: Axes, analysis: SideBySideAnalysis, name: str) -> None:
    """The seeds' ratios of robust condition numbers."""
    frame = analysis.frame
    values = frame[(frame["row"] == "condition") & (frame["system"] == name)]["value"].dropna()
    axis.plot(np.arange(len(values)), 10**values, "o", markersize=4, color="#009E73")
    axis.axhline(1, color="#222222", linewidth=0.8)
    axis.set(yscale="log", xlabel="seed")
    axis.set_xticks(range(len(values)))


def _smoothness(axis: Axes, analysis: SideBySideAnalysis, name: str) -> None:
    frame = analysis.panels.smoothness
    for optimizer, runs in frame[frame["system"] == name].groupby("optimizer", sort=False):
        middle = runs.groupby("step")["directional_smoothness"].median()
        look: dict[str, Any] = {**of_networks_optimizer(str(optimizer)), "linewidth": 1.0}
        axis.plot(middle.index, middle.where(middle > 0), **look)
    axis.set(yscale="log", xlabel="step")


def _statistics(axis: Axes, analysis: SideBySideAnalysis, feature: str) -> None:
    """One interval per system, networks above the linear model's settings."""
    for place, name in enumerate(analysis.titles):
        interval = analysis.intervals[feature, name]
        colour = _NETWORK if name in analysis.made else _LINEAR
        axis.plot(interval.estimate, -place, "o", color=colour, markersize=4)
        if np.isfinite(interval.low):
            axis.plot([interval.low, interval.high], [-place, -place], color=colour, linewidth=1.6)
    labels = [title.partition("\n")[0] for title in analysis.titles.values()]
    axis.set_yticks([-place for place in range(len(labels))], labels, fontsize=7)
    axis.axvline(0, color="#222222", linewidth=0.8)
    axis.set_xlabel(_STATISTICS[feature], fontsize=8)
    axis.tick_params(axis="x", labelsize=7)
    axis.margins(y=0.15)

"""Rank correlations of optimizers between the linear model and real networks."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from attnscape.paper.networks.transfer import Transfer, TransferAnalysis
from attnscape.report.style import folded, style

_INK = "#222222"
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")


def figure(artifact: Transfer, analysis: TransferAnalysis) -> Figure:
    """Left: correlations of every setting with every network; right: losses, a point an optimizer.

    The right panels show, for each network, the setting whose ranking is closest.
    """
    networks = analysis.networks
    with style():
        result = Figure(figsize=(4.6 + 3.9 * len(networks), 4.4), layout="constrained")
        axes = result.subplots(
            1, 1 + len(networks), squeeze=False, width_ratios=[1.25, *[1] * len(networks)]
        )[0]
        _correlations(axes[0], artifact, analysis)
        for axis, (network, (one, _)) in zip(
            axes[1:], artifact.best(analysis).items(), strict=True
        ):
            _scatter(axis, analysis, one, network)
        return result


def _correlations(axis: Axes, artifact: Transfer, analysis: TransferAnalysis) -> None:
    settings = artifact.linear_settings
    for index, network in enumerate(analysis.networks):
        shift = 0.22 * (index - (len(analysis.networks) - 1) / 2)
        colour = _COLOURS[index % len(_COLOURS)]
        for place, setting in enumerate(settings):
            interval = analysis.correlations["spearman", setting.name, network].over_seeds
            y = -place - shift
            label = analysis.titles[network].partition("\n")[0] if place == 0 else None
            axis.plot(interval.estimate, y, "o", color=colour, markersize=4, label=label)
            if np.isfinite(interval.low):
                axis.plot([interval.low, interval.high], [y, y], color=colour, linewidth=1.4)
    names = [analysis.titles[each.name].replace("\n", ": ") for each in settings]
    axis.set_yticks([-place for place in range(len(names))], names, fontsize=8)
    axis.axvline(0, color=_INK, linewidth=0.8)
    axis.set(xlim=(-1.05, 1.05), xlabel="Spearman's rank correlation with")
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, fontsize=8)


def _scatter(axis: Axes, analysis: TransferAnalysis, one: str, network: str) -> None:
    ranks = {name: _ranks(analysis.frame, name) for name in (one, network)}
    count = len(ranks[one])
    axis.plot([1, count], [1, count], color="#999999", linewidth=0.8)
    axis.plot(ranks[one], ranks[network], "o", color=_INK, markersize=4)
    for optimizer in ranks[one].index:
        on_the_right = ranks[one][optimizer] > 0.75 * count  # its name would leave the panel
        axis.annotate(
            optimizer,
            (ranks[one][optimizer], ranks[network][optimizer]),
            xytext=(-4 if on_the_right else 4, 3),
            textcoords="offset points",
            fontsize=7,
            ha="right" if on_the_right else "left",
        )
    title = analysis.titles[network]
    axis.set(
        xlabel=f"rank on {analysis.titles[one].replace(chr(10), ': ')}",
        ylabel=f"rank on {title.partition(chr(10))[0]}",
        title=folded(title),
    )
    axis.margins(0.12)


def _ranks(frame: pd.DataFrame, system: str) -> pd.Series[float]:
    """Rank of each optimizer by its median loss; 1 is the best."""
    of_system = frame[frame["system"] == system]
    return of_system.groupby("optimizer", sort=False)["loss"].median().rank(method="average")

"""A bench: sensitivity to the learning rate on every setting, mean ranks, performance profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from attnscape.bench import Bench, BenchAnalysis
from attnscape.bench.statistics import profile
from attnscape.report.draw import rates
from attnscape.report.style import of_optimizers, style
from attnscape.statistics import Interval

_COLUMNS = 4
_FACTORS = np.geomspace(1, 100, 201)


def figure(artifact: Bench, analysis: BenchAnalysis) -> Figure:
    """One panel per setting, then ranks and profile, with a shared legend.

    Args:
        artifact: The bench.
        analysis: Its numbers.
    """
    looks = of_optimizers(artifact.optimizers)
    titles = {setting.name: setting.title for setting in artifact.settings}
    count = len(titles) + 2
    columns = min(_COLUMNS, -(-count // -(-count // _COLUMNS)))
    rows = -(-count // columns)
    tuning = analysis.frame[analysis.frame["phase"] == "tuning"]
    with style():
        width = 3.4 * columns
        legend_columns = max(1, min(len(looks), int(width / 1.9)))
        legend = 0.25 * -(-len(looks) // legend_columns)
        height = max(3.0, 0.22 * len(looks))  # the panel of ranks has one line per optimizer
        result = Figure(figsize=(width, height * rows + legend + 0.2), layout="constrained")
        axes = list(result.subplots(rows, columns, squeeze=False).flat)
        for axis, (setting, title) in zip(axes, titles.items(), strict=False):
            rates.panel(axis, tuning[tuning["setting"] == setting], looks)
            axis.set(title=title, ylabel="final loss")
        _ranks(axes[len(titles)], analysis.ranks, looks)
        _profile(axes[len(titles) + 1], analysis.losses, looks)
        for axis in axes[count:]:
            axis.set_axis_off()
        handles, labels = axes[0].get_legend_handles_labels()
        result.legend(handles, labels, loc="outside lower center", ncols=legend_columns)
        return result


def _ranks(axis: Axes, ranks: Sequence[Interval], looks: Mapping[str, Mapping[str, Any]]) -> None:
    """One dot with an interval per optimizer, the best on top."""
    order = np.argsort([rank.estimate for rank in ranks], kind="stable")[::-1]
    names = list(looks)
    for height, index in enumerate(order):
        rank, look = ranks[index], looks[names[index]]
        axis.plot([rank.low, rank.high], [height, height], color=look["color"], linewidth=2)
        axis.plot(rank.estimate, height, marker="o", color=look["color"])
    axis.set_yticks(range(len(order)), [looks[names[index]]["label"] for index in order])
    level = ", 95 %" if any(rank.low < rank.high for rank in ranks) else ""
    axis.set(title=f"Mean rank{level}", xlabel="rank of the loss at the budget (1 is best)")


def _profile(axis: Axes, losses: np.ndarray, looks: Mapping[str, Mapping[str, Any]]) -> None:
    for look, shares in zip(looks.values(), profile(losses, _FACTORS), strict=True):
        axis.plot(_FACTORS, shares, **look)
    axis.set(
        xscale="log",
        ylim=(0, 1.03),
        title="Performance profile",
        xlabel="loss over the best one's: at most",
        ylabel="share of runs",
    )

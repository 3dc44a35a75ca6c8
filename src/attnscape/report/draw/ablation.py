"""Ratios SGDM / Adam under changed conventions: one panel per statistic, one line per change."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from attnscape.report.style import style

_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = "osD^vP"
_FARTHEST = 1e3


def figure(frame: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """A panel for each statistic, a line for each change, a colour for each setting.

    Args:
        frame: Columns setting, change, statistic, geometric_mean, low, high.
        titles: The settings' titles in the legend.
    """
    statistics, changes = (list(dict.fromkeys(frame[c])) for c in ("statistic", "change"))
    with style():
        size = (2.5 * len(statistics) + 1.5, 0.42 * len(changes) + 1.2)
        result = Figure(figsize=size, layout="constrained")
        axes = result.subplots(1, len(statistics), squeeze=False, sharey=True)[0]
        for axis, statistic in zip(axes, statistics, strict=True):
            panel(axis, frame[frame["statistic"] == statistic], list(titles), changes)
            axis.set(title=statistic, xlabel="SGDM / Adam")
        looks = zip(titles.values(), _COLORS, _MARKERS, strict=False)
        result.legend(
            handles=[
                Line2D([], [], color=color, marker=marker, linestyle="", label=title)
                for title, color, marker in looks
            ],
            loc="outside lower center",
            ncols=len(titles),
        )
        return result


def panel(axis: Axes, frame: pd.DataFrame, settings: list[str], changes: list[str]) -> None:
    """Geometric means with intervals; arrows mark values off the axis, crosses missing ratios."""
    axis.axvline(1, color="#222222", linewidth=0.8, linestyle=":")
    finite = frame[["low", "high", "geometric_mean"]].to_numpy()
    finite = finite[np.isfinite(finite)]
    right = min(_FARTHEST, max([2.0, *finite])) * 1.3
    left = max(1 / _FARTHEST, min([0.5, *finite])) / 1.3
    for index, setting in enumerate(settings):
        look = {"color": _COLORS[index], "marker": _MARKERS[index], "markersize": 4.5}
        offset = 0.2 * (index - (len(settings) - 1) / 2)
        for _, row in frame[frame["setting"] == setting].iterrows():
            y, ratio = changes.index(row["change"]) + offset, row["geometric_mean"]
            if np.isnan(ratio):
                axis.plot(1, y, color=look["color"], marker="x", markersize=6)
            elif ratio > right or ratio < left:  # infinite if a run diverged
                edge, marker = (right / 1.1, ">") if ratio > right else (left * 1.1, "<")
                axis.plot(edge, y, **look | {"marker": marker, "markersize": 6})
            else:
                ends = np.clip([row["low"], row["high"]], left / 10, right * 10)
                axis.plot(ends, [y, y], color=look["color"], linewidth=1.4)
                axis.plot(ratio, y, **look)
    axis.set(xscale="log", xlim=(left, right), ylim=(len(changes) - 0.5, -0.5))
    axis.set_yticks(range(len(changes)), changes)

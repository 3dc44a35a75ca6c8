"""Losses of optimizers with exact curvature beside SGDM and Adam, and their final losses."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from attnscape.paper.extended.second_order import COMPARED, SecondOrderAnalysis
from attnscape.report.style import of_optimizers, style

_TALLEST = 10.0  # times the first loss; what lies above is cut off


def figure(analysis: SecondOrderAnalysis, titles: Mapping[str, str]) -> Figure:
    """A column for each setting; upper row: loss; lower row: final loss over Adam's.

    Args:
        analysis: What is drawn.
        titles: Titles of the columns, by setting.
    """
    looks = of_optimizers(("sgdm", "adam", *COMPARED[1:]))
    with style():
        result = Figure(figsize=(3.6 * len(titles), 6.2), layout="constrained")
        axes = result.subplots(2, len(titles), squeeze=False)
        for (upper, lower), (setting, title) in zip(axes.T, titles.items(), strict=True):
            loss_panel(upper, analysis.frame[analysis.frame["setting"] == setting], looks)
            ratio_panel(lower, analysis, setting, looks)
            upper.set_title(title)
        axes[0, 0].set_ylabel("loss (mean squared error)")
        axes[1, 0].set_ylabel("final loss / Adam's")
        handles = axes[0, 0].get_legend_handles_labels()
        result.legend(*handles, loc="outside lower center", ncols=len(looks))
        return result


def loss_panel(axis: Axes, frame: pd.DataFrame, looks: Mapping[str, Mapping[str, object]]) -> None:
    """Lines: median over seeds; bands: smallest to largest; log axis."""
    for optimizer, look in looks.items():
        runs = frame[frame["optimizer"] == optimizer]
        table = runs.pivot(index="step", columns="seed", values="loss")
        axis.plot(table.median(axis=1, skipna=False), **look)  # pyright: ignore[reportArgumentType]
        low, high = (getattr(table, end)(axis=1, skipna=False) for end in ("min", "max"))
        axis.fill_between(table.index, low, high, color=str(look["color"]), alpha=0.1, linewidth=0)
    axis.set(yscale="log", xlabel="step")
    first = frame.loc[frame["step"] == 0, "loss"]
    if first.notna().any():
        axis.set_ylim(top=min(axis.get_ylim()[1], _TALLEST * first.max()))


def ratio_panel(
    axis: Axes,
    analysis: SecondOrderAnalysis,
    setting: str,
    looks: Mapping[str, Mapping[str, object]],
) -> None:
    """A mark with its interval for each optimizer, and a dot for each seed that did not diverge."""
    for place, optimizer in enumerate(COMPARED):
        colour = str(looks[optimizer]["color"])
        seeds = analysis.of_seeds[setting, optimizer]
        seeds = seeds[np.isfinite(seeds) & (seeds > 0)]
        axis.plot(np.full(seeds.size, place + 0.18), seeds, ".", color=colour, alpha=0.5)
        ratio = analysis.ratios[setting, optimizer]
        axis.plot(place, ratio.estimate, "o", color=colour)
        axis.plot([place, place], [ratio.low, ratio.high], color=colour)
    axis.axhline(1, color="#222222", linewidth=0.8, linestyle=":")
    axis.set_xticks(range(len(COMPARED)), ["SGDM", "newton", "gauss-\nnewton", "newton-\ncg"])
    axis.set(yscale="log", xlim=(-0.5, len(COMPARED) - 0.3))
    axis.grid(visible=False, axis="x")

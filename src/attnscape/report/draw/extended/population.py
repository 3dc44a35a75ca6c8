"""Losses, gaps and noise with queries and weights integrated out, one column a setting."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from attnscape.paper.extended.population import PROMPTS, PopulationAnalysis
from attnscape.report.style import OPTIMIZERS, style
from attnscape.statistics import Interval

_LINES = ("-", (0, (4, 1.5)), (0, (1, 1.2)))  # of the kinds of prompts, less and less random
_MARKS = ("o", "s", "D")
_NAMES = ("fresh\nprompts", "integrated\nout", "fixed set")


def figure(analysis: PopulationAnalysis, titles: Mapping[str, str]) -> Figure:
    """Rows: loss, log10 of the gap, squared noise integrated out over fresh.

    Args:
        analysis: What is drawn.
        titles: Titles of the columns, by setting.
    """
    with style():
        result = Figure(figsize=(3.5 * len(titles), 8.2), layout="constrained")
        axes = result.subplots(3, len(titles), squeeze=False, height_ratios=(1.25, 1, 1))
        for (losses, gaps, shares), (setting, title) in zip(axes.T, titles.items(), strict=True):
            frame = analysis.frame[analysis.frame["setting"] == setting]
            loss_panel(losses, frame)
            losses.set_title(title)
            marked = [analysis.gaps[setting, prompts] for prompts in PROMPTS]
            gap_panel(gaps, marked, analysis.beyond[setting])
            share_panel(shares, {k[1:]: v for k, v in analysis.shares.items() if k[0] == setting})
        axes[0, 0].set_ylabel("loss")
        axes[1, 0].set_ylabel("log10 (SGDM's loss / Adam's)")
        axes[2, 0].set_ylabel("squared noise,\nintegrated out / fresh")
        axes[2, 0].legend(fontsize=8)
        handles = axes[0, 0].get_legend_handles_labels()
        result.legend(*handles, loc="outside lower center", ncols=3, fontsize=8)
        return result


def loss_panel(axis: Axes, frame: pd.DataFrame) -> None:
    """Colour: optimizer; line: kind of prompts; band: smallest to largest."""
    for optimizer, look in OPTIMIZERS.items():
        for (prompts, words), line in zip(PROMPTS.items(), _LINES, strict=True):
            runs = frame[(frame["optimizer"] == optimizer) & (frame["prompts"] == prompts)]
            table = runs.pivot(index="step", columns="seed", values="loss").dropna(how="all")
            middle = table.median(axis=1, skipna=False)
            label = f"{look['label']}, {words}"
            axis.plot(middle, color=look["color"], linestyle=line, linewidth=1.4, label=label)
            axis.fill_between(
                table.index,
                table.min(axis=1, skipna=False),
                table.max(axis=1, skipna=False),
                color=look["color"],
                alpha=0.08,
                linewidth=0,
            )
    axis.set(yscale="log", xlabel="step")


def gap_panel(axis: Axes, gaps: list[Interval], beyond: Interval) -> None:
    """A mark with its interval for each kind of prompts; none where a run diverged.

    Args:
        axis: The axes to draw on.
        gaps: The gap with each kind of prompts.
        beyond: The gap in the population loss after the fixed set, hollow.
    """
    marks = [(place, gap, _MARKS[place], "black") for place, gap in enumerate(gaps)]
    for place, gap, mark, fill in [*marks, (len(gaps) - 0.75, beyond, _MARKS[-1], "white")]:
        ends = np.nan_to_num([[gap.estimate - gap.low], [gap.high - gap.estimate]])
        look = {"color": "black", "marker": mark, "markerfacecolor": fill, "capsize": 4}
        axis.errorbar([place], [gap.estimate], ends, linestyle="none", **look)
    axis.axhline(0, color="grey", linewidth=0.8)
    axis.set_xticks(range(len(gaps)), _NAMES, fontsize=9)
    axis.set_xlim(-0.5, len(gaps) - 0.5)
    axis.grid(visible=False, axis="x")


def share_panel(axis: Axes, shares: Mapping[tuple[str, int], Interval]) -> None:
    """A line for each optimizer, with intervals."""
    for optimizer, look in OPTIMIZERS.items():
        mine = {step: share for (of, step), share in shares.items() if of == optimizer}
        middle = np.array([share.estimate for share in mine.values()])
        low, high = (
            np.nan_to_num([abs(getattr(share, end) - share.estimate) for share in mine.values()])
            for end in ("low", "high")
        )
        axis.errorbar(list(mine), middle, [low, high], **look, marker="o", markersize=4, capsize=3)
    axis.axhline(1, color="grey", linewidth=0.8)
    axis.set(yscale="log", xlabel="step")

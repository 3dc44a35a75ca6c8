"""The gap between Adam and SGDM, and their final losses, against the batch size."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from attnscape.report.style import of_optimizer, style

_BUDGETS = {"steps": ("o", "#000000", 0.94), "samples": ("s", "#CC79A7", 1.06)}


def figure(frame: pd.DataFrame, gaps: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """One column for each setting in `titles`; upper row: log10 of the gap; lower row: losses.

    Args:
        frame: Columns setting, budget, batch, optimizer, seed, loss.
        gaps: Columns setting, budget, batch, log_gap, low, high.
        titles: Titles of the columns, by setting.
    """
    with style():
        result = Figure(figsize=(4.4 * len(titles), 6), layout="constrained")
        axes = result.subplots(2, len(titles), squeeze=False, sharex=True)
        for (upper, lower), (setting, title) in zip(axes.T, titles.items(), strict=True):
            gap_panel(upper, gaps[gaps["setting"] == setting])
            loss_panel(lower, frame[frame["setting"] == setting])
            upper.set_title(title)
            lower.set_xlabel("batch size")
            lower.set_xticks(batches := sorted(frame["batch"].unique()), map(str, batches))
            lower.minorticks_off()
        axes[0, 0].set_ylabel("log10 (SGDM's loss / Adam's)")
        axes[1, 0].set_ylabel("final loss, median over seeds")
        axes[0, 0].legend(fontsize=8)
        axes[1, 0].legend(fontsize=8)
        return result


def gap_panel(axis: Axes, gaps: pd.DataFrame) -> None:
    """One line a budget, with 95 % intervals; dotted without one, or with one that has no end.

    An infinite gap has no place and breaks the line.
    """
    for budget, (marker, colour, shift) in _BUDGETS.items():
        mine = gaps[gaps["budget"] == budget].sort_values("batch")
        finite = mine[["log_gap", "low", "high"]].replace([np.inf, -np.inf], np.nan)
        errors = [finite["log_gap"] - finite["low"], finite["high"] - finite["log_gap"]]
        axis.errorbar(
            mine["batch"] * shift,  # apart, so that the intervals do not hide each other
            finite["log_gap"],
            np.nan_to_num(np.array(errors)),
            color=colour,
            marker=marker,
            capsize=3,
            linewidth=1.2,
            label=f"fixed {budget}",
        )
        unbounded = finite[["low", "high"]].isna().any(axis=1) & finite["log_gap"].notna()
        for batch, gap in zip(mine["batch"][unbounded], finite["log_gap"][unbounded], strict=True):
            axis.axvline(batch * shift, color=colour, linestyle=":", linewidth=1)
            axis.plot(batch * shift, gap, marker=marker, color=colour, markerfacecolor="white")
    axis.axhline(0, color="grey", linewidth=0.8)
    axis.set_xscale("log")


def loss_panel(axis: Axes, frame: pd.DataFrame) -> None:
    """Median over seeds; the marker is the budget's, the colour the optimizer's."""
    medians = frame.groupby(["budget", "optimizer", "batch"])["loss"].median()
    for budget, (marker, _, _) in _BUDGETS.items():
        for optimizer in ("sgdm", "adam"):
            losses = medians[budget, optimizer].replace(np.inf, np.nan)
            look = dict(of_optimizer(optimizer))
            look["markerfacecolor"] = "none" if budget == "samples" else look["color"]
            look["label"] = f"{look['label']}, fixed {budget}"
            axis.plot(losses.index, losses, marker=marker, **look)
    axis.set(xscale="log", yscale="log")

"""R_SGD / R_Adam on the public code's prompts, from two starts, beside the printed numbers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from attnscape.report.style import style

_INK, _OTHERS, _PRINTED = "#222222", "#56B4E9", "#999999"


def figure(
    frame: pd.DataFrame,
    titles: Mapping[str, str],
    printed: Mapping[str, tuple[tuple[float, float], ...]],
) -> Figure:
    """One panel per setting named in `titles`, with one column per step.

    Args:
        frame: Columns setting, start (`drawn`, `changed`, `other`), step, seed, ratio.
        titles: Titles of the panels, by setting.
        printed: The paper's mean and standard deviation at each step, by setting.
    """
    with style():
        result = Figure(figsize=(3.6 * len(titles), 3.8), layout="constrained")
        axes = result.subplots(1, len(titles), squeeze=False, sharey=True)[0]
        for axis, (setting, title) in zip(axes, titles.items(), strict=True):
            _panel(axis, frame[frame["setting"] == setting], printed[setting])
            axis.set_title(title)
        # Room for all runs and the printed means; bands may reach below.
        shown = [ratio for ratio in frame["ratio"] if 0 < ratio < np.inf]
        shown += [mean + std for steps in printed.values() for mean, std in steps]
        axes[0].set_ylim(min(1.0, *shown) / 1.3, max(shown) * 1.3)
        axes[0].set_ylabel("robust condition number, SGDM / Adam")
        result.legend(
            handles=[
                Patch(color=_PRINTED, alpha=0.35, label="printed mean ± std (6 seeds)"),
                _dot("#FFFFFF", _OTHERS, "other seeds and batches", marker="."),
                _dot(_INK, _INK, "the code's prompts, each seed"),
                _dot("#FFFFFF", _INK, "the same, start changed by 1e-7"),
                Line2D([], [], color=_INK, marker="_", markersize=14, label="their mean"),
            ],
            loc="outside lower center",
            ncols=3,
        )
        return result


def _dot(face: str, edge: str, label: str, marker: str = "o") -> Line2D:
    return Line2D([], [], ls="", marker=marker, mfc=face, mec=edge, label=label)


def _panel(axis: Axes, frame: pd.DataFrame, printed: tuple[tuple[float, float], ...]) -> None:
    steps = sorted(frame["step"].unique())
    frame = frame[np.isfinite(frame["ratio"]) & (frame["ratio"] > 0)]
    axis.axhline(1, color=_INK, linewidth=0.8, linestyle=":")
    for position, (step, (mean, std)) in enumerate(zip(steps, printed, strict=True)):
        left, right = position - 0.42, position + 0.42
        # A band that reaches below zero has no lower end on a log axis.
        axis.fill_between(
            [left, right], max(mean - std, 1e-6), mean + std, color=_PRINTED, alpha=0.35, lw=0
        )
        axis.plot([left, right], [mean, mean], color=_PRINTED)
        ratios = frame[frame["step"] == step]
        other = ratios.loc[ratios["start"] == "other", "ratio"].to_numpy()
        # Spread evenly, in an order unrelated to the ratios.
        spread = 0.3 * ((np.arange(other.size) * 0.618034) % 1)
        axis.plot(left + 0.04 + spread, other, ".", color=_OTHERS, markersize=2.5)
        own = ratios[ratios["start"] != "other"]
        own = own.pivot(index="seed", columns="start", values="ratio")
        own = own.reindex(columns=["drawn", "changed"])
        columns = np.linspace(position, right - 0.06, max(2, len(own)))[: len(own)]
        for column, (drawn, changed) in zip(columns, own.to_numpy(), strict=True):
            axis.plot([column, column], [drawn, changed], color=_INK, linewidth=0.8)
            axis.plot(column, changed, "o", mfc="#FFFFFF", mec=_INK, markersize=6.5)
            axis.plot(column, drawn, "o", color=_INK, markersize=3.5)
        axis.hlines(own["drawn"].mean(), position - 0.05, right, color=_INK)
    axis.set(yscale="log", xticks=range(len(steps)), xlim=(-0.5, len(steps) - 0.5))
    axis.set_xticklabels([f"step {step:,}" for step in steps])
    axis.grid(False, axis="x")

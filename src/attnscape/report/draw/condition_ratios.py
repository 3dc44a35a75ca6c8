"""The distribution of R_SGD / R_Adam over seeds and batches, beside the printed numbers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from attnscape.report.style import style

_INK, _SEEDS, _OTHERS, _PRINTED = "#222222", "#009E73", "#56B4E9", "#999999"


def figure(
    frame: pd.DataFrame,
    titles: Mapping[str, str],
    printed: Mapping[str, tuple[tuple[float, float], ...]],
    seeds: int,
) -> Figure:
    """One panel per setting named in `titles`, with one column per step.

    Args:
        frame: Columns setting, step, seed, evaluation, ratio.
        titles: Titles of the panels, by setting.
        printed: The paper's mean and standard deviation at each step, by setting.
        seeds: How many seeds, from the first on, are compared with the printed numbers.
    """
    each = f"each of {frame['seed'].nunique()} seeds"
    with style():
        result = Figure(figsize=(3.6 * len(titles), 3.6), layout="constrained")
        axes = result.subplots(1, len(titles), squeeze=False, sharey=True)[0]
        for axis, (setting, title) in zip(axes, titles.items(), strict=True):
            panel(axis, frame[frame["setting"] == setting], printed[setting], seeds)
            axis.set_title(title)
        axes[0].set_ylim(*_limits(frame, printed))
        axes[0].set_ylabel("robust condition number, SGDM / Adam")
        result.legend(
            handles=[
                Patch(color=_PRINTED, alpha=0.35, label="printed mean ± std (6 seeds)"),
                Line2D([], [], color=_INK, marker="D", label=f"ours, first {seeds} seeds, batch 0"),
                Line2D([], [], color=_SEEDS, marker="o", linestyle="", label=f"{each}, batch 0"),
                Line2D([], [], color=_OTHERS, marker="o", linestyle="", label="other batches"),
            ],
            loc="outside lower center",
            ncols=4,
        )
        return result


def _limits(
    frame: pd.DataFrame, printed: Mapping[str, tuple[tuple[float, float], ...]]
) -> tuple[float, float]:
    """Room for all seeds and the printed means; bands may reach below."""
    shown = [ratio for ratio in frame["ratio"] if 0 < ratio < np.inf]
    shown += [mean + std for steps in printed.values() for mean, std in steps]
    return min(1.0, *shown) / 1.3, max(shown) * 1.3


def panel(
    axis: Axes, frame: pd.DataFrame, printed: tuple[tuple[float, float], ...], seeds: int
) -> None:
    """One column of dots per batch, a bar for the first seeds, and the printed band behind."""
    steps = sorted(frame["step"].unique())
    batches = sorted(frame["evaluation"].unique())
    width = 0.78 / len(batches)  # of a column, in steps of the axis
    axis.axhline(1, color=_INK, linewidth=0.8, linestyle=":")
    for position, (step, (mean, std)) in enumerate(zip(steps, printed, strict=True)):
        runs = frame[frame["step"] == step]
        runs = runs[np.isfinite(runs["ratio"]) & (runs["ratio"] > 0)]
        left, right = position - 0.46, position + 0.42
        # A band that reaches below zero has no lower end on a log axis.
        low = max(mean - std, 1e-6)
        axis.fill_between([left, right], low, mean + std, color=_PRINTED, alpha=0.35, linewidth=0)
        axis.plot([left, right], [mean, mean], color=_PRINTED, linewidth=1.6)
        for column, batch in enumerate(batches):
            of_batch = runs[runs["evaluation"] == batch]
            start = position - 0.38 + column * width
            color = _SEEDS if column == 0 else _OTHERS
            _dots(axis, start, 0.85 * width, of_batch["ratio"].to_numpy(), color)
            first = of_batch.loc[of_batch["seed"] < seeds, "ratio"]
            if column == 0 and len(first):
                ours, spread = first.mean(), first.std() if len(first) > 1 else 0.0
                axis.vlines(start - 0.03, max(ours - spread, 1e-6), ours + spread, color=_INK)
                axis.plot(start - 0.03, ours, color=_INK, marker="D", markersize=5)
    axis.set(yscale="log", xticks=range(len(steps)), xlim=(-0.5, len(steps) - 0.5))
    axis.set_xticklabels([f"step {step:,}" for step in steps])
    axis.grid(False, axis="x")


def _dots(axis: Axes, left: float, width: float, ratios: np.ndarray, color: str) -> None:
    """One dot per seed, spread over the width of the shaded density of all dots."""
    logs = np.log(ratios)
    if ratios.size < 3 or np.ptp(logs) == 0:
        axis.plot(np.full(ratios.size, left), ratios, "o", color=color, markersize=3)
        return
    from scipy.stats import gaussian_kde

    density = gaussian_kde(logs)
    grid = np.linspace(logs.min(), logs.max(), 200)
    scale = width / density(grid).max()
    axis.fill_betweenx(
        np.exp(grid), left, left + scale * density(grid), color=color, alpha=0.25, linewidth=0
    )
    # Spread evenly over the density's width, in an order unrelated to the ratios.
    golden = (np.arange(ratios.size) * 0.618034) % 1
    axis.plot(left + golden * scale * density(logs), ratios, "o", color=color, markersize=1.5)

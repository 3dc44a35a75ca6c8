"""Sharpness and loss along full-batch training: one column an optimizer, one line a rate."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from attnscape.report.style import say_diverged, style

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000")  # Okabe and Ito's palette
_TITLES = {"sgd": "Gradient descent", "adam": "Adam"}


def figure(frame: pd.DataFrame) -> Figure:
    """Upper row: sharpness, with the edge of stability of each rate; lower row: loss.

    Args:
        frame: Columns optimizer, learning_rate, seed, step, loss, sharpness, edge.
    """
    optimizers = list(dict.fromkeys(frame["optimizer"]))
    optimizers.sort(key=list(_TITLES).index)
    with style():
        result = Figure(figsize=(4.4 * len(optimizers), 5.6), layout="constrained")
        axes = result.subplots(2, len(optimizers), squeeze=False, sharex=True)
        for (upper, lower), optimizer in zip(axes.T, optimizers, strict=True):
            runs = frame[frame["optimizer"] == optimizer]
            panel(upper, runs, "sharpness")
            panel(lower, runs, "loss")
            for (rate, edge), colour in zip(_edges(runs), _COLOURS, strict=False):
                upper.axhline(edge, color=colour, linestyle=(0, (5, 1.5)), linewidth=1)
                upper.annotate(
                    f"edge, {edge * rate:g} / {rate:g}",
                    (1, edge),
                    xycoords=("axes fraction", "data"),
                    color=colour,
                    fontsize=7,
                    ha="right",
                    va="bottom",
                    path_effects=[withStroke(linewidth=2, foreground="white")],
                )
            upper.set_title(_TITLES[optimizer])
            lower.set_xlabel("step")
            upper.set_ylabel("preconditioned sharpness" if optimizer == "adam" else "sharpness")
        axes[1, 0].set_ylabel("loss on the full batch")
        return result


def panel(axis: Axes, frame: pd.DataFrame, variable: str) -> None:
    """Lines: median over seeds; bands: smallest to largest; log axis."""
    for (rate, runs), colour in zip(
        frame.groupby("learning_rate", sort=True), _COLOURS, strict=False
    ):
        table = runs.pivot(index="step", columns="seed", values=variable)
        middle = table.median(axis=1, skipna=False)
        axis.plot(middle.index, middle, color=colour, linewidth=1.2, label=f"rate {rate:g}")
        axis.fill_between(
            table.index,
            table.min(axis=1, skipna=False),
            table.max(axis=1, skipna=False),
            color=colour,
            alpha=0.18,
            linewidth=0,
        )
    axis.set_yscale("log")
    if frame[variable].notna().any():
        axis.legend(fontsize=8)
    else:
        say_diverged(axis)


def _edges(frame: pd.DataFrame) -> list[tuple[float, float]]:
    return sorted(frame.groupby("learning_rate")["edge"].first().items())  # pyright: ignore[reportReturnType]

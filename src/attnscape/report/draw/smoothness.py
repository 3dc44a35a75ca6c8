"""Directional smoothness: curves along runs, and points against the gradient norm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from attnscape.experiments.runs import first_evaluation
from attnscape.paper.smoothness import DIRECTIONAL, ScatterAnalysis, first_run
from attnscape.report.style import of_optimizer, say_diverged, style
from attnscape.statistics import Line, SmoothnessFit

_BELOW: dict[str, Any] = {"fontsize": 8, "loc": "upper center", "bbox_to_anchor": (0.5, -0.16)}
_HALO = withStroke(linewidth=3, foreground="white")  # keeps lines apart from points


def curves(frame: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """One panel per setting named in `titles`, in that order: smoothness against step.

    Args:
        frame: Columns setting, optimizer, learning_rate, seed, step, directional_smoothness.
        titles: Titles of the panels, by setting.
    """
    with style():
        result = Figure(figsize=(3.9 * len(titles), 3.7), layout="constrained")
        axes = result.subplots(1, len(titles), squeeze=False)[0]
        for axis, (setting, title) in zip(axes, titles.items(), strict=True):
            curves_panel(axis, frame[frame["setting"] == setting])
            axis.set_title(title)
        axes[0].set_ylabel("directional smoothness")
        return result


def curves_panel(axis: Axes, frame: pd.DataFrame) -> None:
    """Lines: median over seeds; bands: smallest to largest; ticks: steps with a negative seed.

    All values are from the first evaluation batch.
    """
    frame = first_evaluation(frame)
    rows = frame.groupby(["optimizer", "learning_rate"], sort=False)
    for row, ((optimizer, rate), runs) in enumerate(rows):
        values = runs.groupby("step")["directional_smoothness"]
        positive = runs[runs["directional_smoothness"] > 0].groupby("step")[
            "directional_smoothness"
        ]
        # If diverged runs were skipped, the optimizer would look smoother than it is.
        median = values.agg(lambda each: each.median(skipna=False))
        look = of_optimizer(str(optimizer))
        (line,) = axis.plot(median.index, median.where(median > 0), linewidth=1.1, **look)
        line.set_label(f"{look['label']}, rate {rate:g}")
        low, high = positive.min(), positive.max()
        axis.fill_between(low.index, low, high, color=line.get_color(), alpha=0.18, linewidth=0)
        smallest = values.min()
        negative = smallest.index[smallest < 0]
        axis.plot(
            negative,
            np.full(len(negative), 0.06 - 0.04 * row),
            linestyle="none",
            marker="|",
            markersize=4,
            markeredgewidth=0.6,
            color=line.get_color(),
            transform=axis.get_xaxis_transform(),
        )
    axis.set(yscale="log", xlabel="step")
    axis.margins(y=0.12)  # room for the ticks
    if frame["directional_smoothness"].notna().any():
        axis.legend(**_BELOW, ncols=2)
    else:
        say_diverged(axis)


def scatter(analysis: ScatterAnalysis, titles: Mapping[str, str]) -> Figure:
    """One panel per setting named in `titles`, in that order: smoothness against gradient norm.

    Args:
        analysis: The points and the lines fitted to them.
        titles: Titles of the panels, by setting.
    """
    with style():
        result = Figure(figsize=(4.1 * len(titles), 4.3), layout="constrained")
        axes = result.subplots(1, len(titles), squeeze=False)[0]
        frame, points = analysis.frame, None
        for axis, (setting, title) in zip(axes, titles.items(), strict=True):
            growth = analysis.growth.get(setting)
            points = scatter_panel(
                axis,
                frame[frame["setting"] == setting],
                None if growth is None else growth.fit,
                frame["step"].max(),
            )
            axis.set_title(title)
        axes[0].set_ylabel("ln directional smoothness")
        if points is not None:
            result.colorbar(points, ax=axes, label="step", pad=0.01)
        return result


def scatter_panel(
    axis: Axes,
    frame: pd.DataFrame,
    fit: SmoothnessFit | None,
    last: int,
    smoothness: str = DIRECTIONAL,
) -> PathCollection:
    """Points of the first seed, coloured by step, and the fitted lines; ticks: negative values.

    Args:
        axis: Where to draw.
        frame: Columns seed, step, evaluation, evaluation_gradient_norm, and `smoothness`.
        fit: The lines; None if there are none.
        last: The step with the last colour.
        smoothness: The column on the vertical axis.
    """
    run = first_run(frame).dropna()
    colours = {"cmap": "viridis", "vmin": 0, "vmax": last}
    positive = run[run[smoothness] > 0]
    points = axis.scatter(
        np.log(positive["evaluation_gradient_norm"]),
        np.log(positive[smoothness]),
        c=positive["step"],
        s=5,
        linewidths=0,
        rasterized=True,
        **colours,
    )
    negative = run[run[smoothness] <= 0]
    axis.scatter(
        np.log(negative["evaluation_gradient_norm"]),
        np.full(len(negative), 0.02),
        c=negative["step"],
        marker="|",
        s=20,
        linewidths=0.8,
        transform=axis.get_xaxis_transform(),
        **colours,
    )
    axis.set_xlabel("ln gradient norm")
    if fit is None:
        return points
    measured = run["evaluation_gradient_norm"]
    norms = np.geomspace(measured.min(), measured.max(), 200)
    for name, line, dashes in (
        ("least squares", fit.least_squares, "-"),
        ("least absolute", fit.least_absolute, ":"),
        ("95 % envelope", fit.envelope, (0, (5, 1.5))),
    ):
        label = f"{name}: {_numbers(line)}"
        with np.errstate(divide="ignore"):
            height = np.log(line(norms))
        axis.plot(np.log(norms), height, color="#D55E00", linestyle=dashes, label=label)
    if fit.misfit or fit.L0_at_bound:
        axis.text(0.02, 0.97, "no line fits", transform=axis.transAxes, va="top", fontsize=8)
    axis.legend(**_BELOW)
    return points


def _numbers(line: Line) -> str:
    return ", ".join(
        f"{name} = {end.estimate:.2g} [{end.low:.2g}, {end.high:.2g}]"
        for name, end in (("$L_0$", line.L0), ("$L_1$", line.L1))
    )

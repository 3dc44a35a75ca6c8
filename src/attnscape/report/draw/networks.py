"""Figures on real networks: losses, gradient noise, condition numbers, smoothness."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from attnscape.paper.networks.smoothness import NetworkGrowth
from attnscape.report.draw import noise
from attnscape.report.style import of_networks_optimizer, say_diverged, style


def losses(frame: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """One panel per system named in `titles`, in that order: loss against step.

    Args:
        frame: Columns workload, optimizer, learning_rate, seed, step, loss.
        titles: Titles of the panels, by workload.
    """
    with style():
        columns = min(len(titles), 3)
        rows = -(-len(titles) // columns)
        result = Figure(figsize=(3.7 * columns, 3.4 * rows), layout="constrained")
        axes = result.subplots(rows, columns, squeeze=False).ravel()
        for axis, (name, title) in zip(axes, titles.items(), strict=False):
            loss_panel(axis, frame[frame["workload"] == name])
            axis.set_title(title)
        for axis in axes[len(titles) :]:
            axis.remove()
        axes[0].set_ylabel("training loss")
        return result


def loss_panel(axis: Axes, frame: pd.DataFrame, *, legend: bool = True) -> None:
    """Lines: median over seeds; bands: smallest to largest; both end where a run diverges."""
    for optimizer, runs in frame.groupby("optimizer", sort=False):
        table = runs.pivot(index="step", columns="seed", values="loss")
        middle, low, high = (
            table.agg(function, axis=1, skipna=False) for function in ("median", "min", "max")
        )
        look = of_networks_optimizer(str(optimizer))
        if legend and "learning_rate" in runs:
            look["label"] += f", rate {runs['learning_rate'].iloc[0]:g}"
        (line,) = axis.plot(middle.index, middle, **look)
        axis.fill_between(middle.index, low, high, color=line.get_color(), alpha=0.18, linewidth=0)
    axis.set(yscale="log", xlabel="step")
    if not frame["loss"].notna().any():
        say_diverged(axis)
    elif legend:
        axis.legend(fontsize=8)


def noise_histograms(frame: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """One panel per workload: histogram of the norms of fresh batches' noise, with a q-q plot.

    Args:
        frame: Columns workload, convention, seed, noise_norm, normal_quantile,
            gaussian_norm_quantile.
        titles: Titles of the panels, by workload.
    """
    shown = frame[frame["convention"] == "fresh"].rename(columns={"workload": "setting"})
    return noise.figure(shown, titles)


def conditions(frame: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """One panel per workload, one column of points per step: R_SGD / R_Adam of each seed.

    Args:
        frame: Columns workload, step, seed, ratio, low, high.
        titles: Titles of the panels, by workload.
    """
    with style():
        result = Figure(figsize=(3.4 * len(titles), 3.6), layout="constrained")
        axes = result.subplots(1, len(titles), squeeze=False, sharey=True)[0]
        for axis, (name, title) in zip(axes, titles.items(), strict=True):
            condition_panel(axis, frame[frame["workload"] == name])
            axis.set_title(title)
        axes[0].set_ylabel("robust condition number, SGDM / Adam")
        return result


def condition_panel(axis: Axes, frame: pd.DataFrame) -> None:
    """Points: seeds, with what the errors of the estimates allow; a line marks equality."""
    steps = sorted(frame["step"].unique())
    for place, step in enumerate(steps):
        runs = frame[(frame["step"] == step) & (frame["ratio"] > 0)]
        x = place + np.linspace(-0.2, 0.2, len(runs))
        ratio = runs["ratio"].to_numpy()
        high = np.where(np.isfinite(runs["high"]), runs["high"], ratio)
        below = np.maximum(ratio - runs["low"].clip(lower=1e-3).to_numpy(), 0)
        axis.errorbar(
            x,
            ratio,
            yerr=[below, np.maximum(high - ratio, 0)],
            fmt="o",
            color="#009E73",
            markersize=4,
            linewidth=0.8,
        )
    axis.axhline(1, color="#222222", linewidth=0.8)
    axis.set(yscale="log", xlim=(-0.6, len(steps) - 0.4))
    axis.set_xticks(range(len(steps)), [f"step {step:,}" for step in steps])


def growth(analysis: NetworkGrowth, title: str) -> Figure:
    """One panel per kind of smoothness: points against the gradient norm, and the fitted line."""
    columns = {
        "directional": "directional_smoothness",
        "gradient difference": "gradient_difference_smoothness",
    }
    first = analysis.frame[analysis.frame["seed"] == analysis.frame["seed"].min()]
    with style():
        result = Figure(figsize=(8.2, 3.8), layout="constrained")
        axes = result.subplots(1, 2, sharex=True)
        result.suptitle(title.replace("\n", ", "), x=0.01, ha="left", fontsize="medium")
        for axis, (kind, column) in zip(axes, columns.items(), strict=True):
            positive = first[first[column] > 0]
            points = growth_panel(axis, positive.rename(columns={column: "smoothness"}))
            line = analysis.fits[kind].least_squares
            norms = np.geomspace(
                positive["evaluation_gradient_norm"].min(),
                positive["evaluation_gradient_norm"].max(),
                200,
            )
            label = f"$L_0$ = {line.L0.estimate:.2g}, $L_1$ = {line.L1.estimate:.2g}"
            with np.errstate(divide="ignore"):
                axis.plot(np.log(norms), np.log(line(norms)), color="#D55E00", label=label)
            axis.legend()
            axis.set_title(f"{kind} smoothness")
            if kind == "gradient difference":
                result.colorbar(points, ax=axes, label="step", pad=0.01)
        axes[0].set_ylabel("ln smoothness")
        return result


def growth_panel(axis: Axes, frame: pd.DataFrame) -> PathCollection:
    """Points of one run, coloured by step; columns evaluation_gradient_norm, smoothness, step."""
    points = axis.scatter(
        np.log(frame["evaluation_gradient_norm"]),
        np.log(frame["smoothness"]),
        c=frame["step"],
        cmap="viridis",
        s=9,
        linewidths=0,
    )
    axis.set_xlabel("ln gradient norm")
    return points

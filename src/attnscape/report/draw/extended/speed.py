"""Speed-up of Adam against its gap in directional smoothness, and their rank correlations."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from attnscape.paper.extended.speed import SpeedAnalysis
from attnscape.report.style import style
from attnscape.statistics import Interval

# Okabe and Ito's palette, and one darker tone; markers tell the settings apart without colour.
_COLORS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#222222",
    "#8C564B",
)
_MARKERS = "osD^vP<X"
_INK = "#222222"


def figure(analysis: SpeedAnalysis, titles: Mapping[str, str]) -> Figure:
    """Points on the left, correlations on the right.

    Args:
        analysis: Pairs of rates, and the correlations.
        titles: Titles of the settings, in the legend's order.
    """
    with style():
        result = Figure(figsize=(10.5, 4.9), layout="constrained")
        left, right = result.subplots(1, 2, width_ratios=(1.35, 1))
        short = {name: title.partition(":")[0] for name, title in titles.items()}
        points_panel(left, analysis.frame, short)
        correlations_panel(right, analysis, short)
        result.legend(loc="outside lower center", ncols=4)
        return result


def points_panel(axis: Axes, frame: pd.DataFrame, titles: Mapping[str, str]) -> None:
    """Large points: settings' own rates; small ones: pairs around them.

    A circle marks points off the axis, where one smoothness is negative and no ratio exists.
    """
    ratio = _ratio(frame["gap"].to_numpy())
    y = frame["speed_up"].to_numpy(np.float64)
    x, *ends = _inside(ratio)
    axis.axhline(1, color=_INK, linewidth=0.8, linestyle=":")
    axis.axvline(1, color=_INK, linewidth=0.8, linestyle=":")
    for (name, title), color, marker in zip(titles.items(), _COLORS, _MARKERS, strict=False):
        mine = (frame["setting"] == name).to_numpy()
        large = mine & frame["own"].to_numpy(bool)
        axis.plot(x[mine], y[mine], marker, color=color, markersize=4, alpha=0.45, mew=0)
        axis.plot(x[large], y[large], marker, color=color, markersize=9, mec="white", label=title)
        moved = mine & (x != ratio)
        axis.plot(x[moved], y[moved], "o", mfc="none", mec=color, markersize=8, mew=0.8)
    axis.set(xscale="log", yscale="log", xlim=ends)
    axis.set_xlabel("directional smoothness, SGDM / Adam\n(right of 1: Adam's is better)")
    axis.set_ylabel("steps to the same loss, SGDM / Adam\n(above 1: Adam is faster)")
    axis.set_title("Large: a setting's own rates; small: around them")


def _ratio(gap: np.ndarray) -> np.ndarray:
    """The ratio s/a of a gap (s - a)/(|s| + |a|): infinite at 1, and 0 at -1."""
    with np.errstate(divide="ignore"):
        return (1 + gap) / (1 - gap)


def _inside(values: np.ndarray) -> tuple[np.ndarray, float, float]:
    """The values moved onto an axis that has room for all finite ones, and its ends."""
    finite = values[np.isfinite(values) & (values > 0)]
    low, high = min([1.0, *finite]), max([1.0, *finite])
    room = max(1.3, (high / low) ** 0.08)
    return np.clip(values, low / room**0.5, high * room**0.5), low / room, high * room


def correlations_panel(axis: Axes, analysis: SpeedAnalysis, titles: Mapping[str, str]) -> None:
    """One row for each correlation: within each setting, their mean, and across settings."""
    axis.axvline(0, color=_INK, linewidth=0.8, linestyle=":")
    rows: list[tuple[str, float, Interval | None, str]] = [
        (titles[name].replace(" query and key matrices", " Q and K"), value, None, color)
        for (name, value), color in zip(analysis.within.items(), _COLORS, strict=False)
    ]
    across = analysis.across
    for label, interval in (
        ("mean of these", analysis.mean_within),
        ("across settings", across.over_optimizers),
        ("across, for other seeds", across.over_seeds),
    ):
        rows.append((label, interval.estimate, interval, _INK))
    for row, (_, value, interval, color) in enumerate(rows):
        axis.plot(value, row, "o", color=color, markersize=5)
        if interval is not None:
            axis.plot([interval.low, interval.high], [row, row], color=color)
    axis.axhline(len(analysis.within) - 0.5, color=_INK, linewidth=0.5)
    axis.set_yticks(range(len(rows)), [label for label, *_ in rows])
    axis.set(xlim=(-1.05, 1.05), ylim=(len(rows) - 0.5, -0.5), xlabel="rank correlation")
    axis.set_title("Within settings (above), across them (below)")
    axis.grid(False, axis="y")

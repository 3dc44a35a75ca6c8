"""The landscape along training: six panels for each setting, a colour for each optimizer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from attnscape.paper.extended.along_training import (
    GAUSS_NEWTON,
    HETEROGENEITY,
    LOCALISATION,
    OVERLAP,
    QUANTITIES,
    SHARPNESS,
    AlongAnalysis,
)
from attnscape.report.style import OPTIMIZERS, folded, style
from attnscape.statistics import Interval

_LOG = (LOCALISATION, SHARPNESS)
_SHARES = (HETEROGENEITY, OVERLAP)  # from 0 to 1
_ABOVE = 30.0  # times the highest median; what lies above is cut off
_MOST = 1.6  # a Gauss-Newton share above is cut off


def figure(analysis: AlongAnalysis, titles: Mapping[str, str]) -> Figure:
    """Two rows of three panels for each setting named in `titles`.

    Args:
        analysis: What is drawn.
        titles: Titles of the settings, by name.
    """
    with style():
        result = Figure(figsize=(10.2, 5.2 * len(titles)), layout="constrained")
        parts = result.subfigures(len(titles), 1, squeeze=False)
        for part, (setting, title) in zip(parts.flat, titles.items(), strict=True):
            part.suptitle(title, x=0.01, ha="left", fontweight="bold")
            axes = part.subplots(2, 3)
            frame = analysis.frame[analysis.frame["setting"] == setting]
            for axis, quantity in zip(axes.flat, QUANTITIES, strict=False):
                curves(axis, frame[frame["quantity"] == quantity], quantity)
                if quantity == LOCALISATION:
                    _mark(axis, analysis.random[setting], "random direction")
                if quantity == SHARPNESS:
                    for optimizer, look in OPTIMIZERS.items():
                        edge = 2 / analysis.rates[setting, optimizer]
                        _mark(axis, edge, f"2 / {2 / edge:g}", look["color"])
            slopes = {k[1:]: v for k, v in analysis.slopes.items() if k[0] == setting}
            slope_panel(axes[1, 2], slopes)
            axes[0, 0].legend(fontsize=8)
        return result


def curves(axis: Axes, frame: pd.DataFrame, quantity: str) -> None:
    """Lines: median over seeds; bands: smallest to largest."""
    for optimizer, look in OPTIMIZERS.items():
        runs = frame[frame["optimizer"] == optimizer]
        table = runs.pivot(index="step", columns="seed", values="value")
        axis.plot(table.median(axis=1, skipna=False), **look)
        low, high = (getattr(table, end)(axis=1, skipna=False) for end in ("min", "max"))
        axis.fill_between(table.index, low, high, color=look["color"], alpha=0.15, linewidth=0)
    axis.set_title(folded(QUANTITIES[quantity], 42), fontsize=9)
    axis.set_xlabel("step")
    if quantity in _LOG:
        axis.set_yscale("log")
        if frame["value"].notna().any():  # a run about to diverge would squeeze the rest
            highest = frame.groupby(["optimizer", "step"])["value"].median().max()
            axis.set_ylim(top=min(axis.get_ylim()[1], _ABOVE * highest))
    elif quantity in _SHARES:
        axis.set_ylim(0, 1.02)
    elif quantity == GAUSS_NEWTON:
        axis.axhline(1, color="#222222", linewidth=0.8, linestyle=":")
        axis.set_ylim(max(-0.1, axis.get_ylim()[0]), min(_MOST, axis.get_ylim()[1]))


def slope_panel(axis: Axes, slopes: Mapping[tuple[str, str], Interval]) -> None:
    """L1 of each block with its interval, the optimizers side by side."""
    blocks = list(dict.fromkeys(block for _, block in slopes))
    for shift, (optimizer, look) in zip((-0.14, 0.14), OPTIMIZERS.items(), strict=True):
        for place, block in enumerate(blocks):
            slope = slopes[optimizer, block]
            label = look["label"] if not place else None
            axis.plot(place + shift, slope.estimate, "o", color=look["color"], label=label)
            axis.plot([place + shift] * 2, [slope.low, slope.high], color=look["color"])
    axis.set_xticks(range(len(blocks)), blocks)
    axis.set_yscale("symlog", linthresh=1)
    highest = [slope.high for slope in slopes.values() if np.isfinite(slope.high)]
    highest += [slope.estimate for slope in slopes.values() if np.isfinite(slope.estimate)]
    axis.set_ylim(0, 1.5 * max([1.0, *highest]))
    axis.set_title("L1 of each block, |H| against |gradient|", fontsize=9)
    axis.grid(visible=False, axis="x")


def _mark(axis: Axes, height: float, words: str, colour: str = "#222222") -> None:
    """A dotted line with its name at the right end."""
    axis.axhline(height, color=colour, linewidth=0.9, linestyle=":")
    low, high = axis.get_ylim()
    axis.set_ylim(min(low, 0.8 * height), max(high, 1.5 * height))
    place = (1, height)
    look = {"color": colour, "fontsize": 7, "ha": "right", "va": "bottom"}
    axis.annotate(words, place, xycoords=("axes fraction", "data"), **look)

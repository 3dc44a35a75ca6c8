"""Losses seen by a search for learning rates: loss against rate, one panel per setting."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from attnscape.experiments.tuning import best_rates
from attnscape.report.style import of_optimizers, style

_COLUMNS = 4
_TALLEST = 1000  # times the smallest loss; higher losses are cut off


def figure(
    frame: pd.DataFrame,
    titles: Mapping[str, str],
    recipe: Mapping[str, Mapping[str, float]],
) -> Figure:
    """A panel for each setting of the frame that `titles` names, in that order.

    Args:
        frame: Columns setting, optimizer, learning_rate, seed, loss (infinite if diverged).
        titles: Titles of the panels, by setting.
        recipe: The recipe's rates, by setting and optimizer.
    """
    searched = [setting for setting in titles if setting in set(frame["setting"])]
    columns = min(_COLUMNS, len(searched))
    rows = -(-len(searched) // columns)
    with style():
        result = Figure(figsize=(3.2 * columns, 2.8 * rows), layout="constrained")
        axes = result.subplots(rows, columns, squeeze=False)
        for axis in axes.flat[len(searched) :]:
            axis.set_axis_off()
        for axis, setting in zip(axes.flat, searched, strict=False):
            runs = frame[frame["setting"] == setting]
            panel(axis, runs, of_optimizers(list(recipe[setting])), recipe[setting])
            axis.legend()
            axis.set_title(titles[setting])
        for axis in axes[:, 0]:
            axis.set_ylabel("final loss")
        return result


def panel(
    axis: Axes,
    frame: pd.DataFrame,
    looks: Mapping[str, Mapping[str, Any]],
    recipe: Mapping[str, float] = MappingProxyType({}),
) -> None:
    """Lines: median over seeds, with a dot at the rate found; bands: smallest to largest loss.

    Args:
        axis: The axes to draw on.
        frame: Columns optimizer, learning_rate, seed, loss (infinite if diverged).
        looks: Label, colour and line style of each optimizer that is drawn.
        recipe: Rates of optimizers that get a dotted line.
    """
    smallest, found = [], best_rates(frame)
    for optimizer, look in looks.items():
        of_rates = frame[frame["optimizer"] == optimizer].groupby("learning_rate")["loss"]
        median, low, high = (
            losses.where(np.isfinite(losses))
            for losses in (of_rates.median(), of_rates.min(), of_rates.max())
        )
        axis.plot(median.index, median, **look)
        axis.fill_between(median.index, low, high, color=look["color"], alpha=0.15, linewidth=0)
        if median.notna().any():
            rate = found[optimizer]
            axis.plot(rate, median[rate], marker="o", markersize=6, color=look["color"])
            smallest.append(median.min())
        if optimizer in recipe:
            axis.axvline(recipe[optimizer], color=look["color"], linestyle=":", linewidth=1)
    axis.set(xscale="log", yscale="log", xlabel="learning rate")
    if smallest:  # huge losses of runs about to diverge would squeeze the rest
        axis.set_ylim(0.7 * min(smallest), min(_TALLEST * min(smallest), axis.get_ylim()[1]))

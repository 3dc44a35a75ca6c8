"""What a search for learning rates saw: final loss against learning rate, a panel a setting."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from attnscape.report.style import of_optimizer, style

_COLUMNS = 4


def figure(
    frame: pd.DataFrame,
    titles: Mapping[str, str],
    recipe: Mapping[str, Mapping[str, float]],
) -> Figure:
    """A panel for each setting of the frame that `titles` names, in that order.

    Args:
        frame: Columns setting, optimizer, learning_rate, seed, loss (infinite where diverged).
        titles: Of the panels, by setting.
        recipe: The recipe's own rates, by setting and optimizer.
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
            panel(axis, frame[frame["setting"] == setting], recipe[setting])
            axis.set_title(titles[setting])
        for axis in axes[:, 0]:
            axis.set_ylabel("final loss")
        return result


def panel(axis: Axes, frame: pd.DataFrame, recipe: Mapping[str, float]) -> None:
    """Median over seeds as lines with a dot at the best rate, smallest to largest as bands.

    Optimizers without a rate in `recipe` get no dotted line.
    """
    for optimizer, runs in frame.groupby("optimizer", sort=False):
        losses = runs.groupby("learning_rate")["loss"]
        median, low, high = (
            of_rates.where(np.isfinite(of_rates))
            for of_rates in (losses.median(), losses.min(), losses.max())
        )
        (line,) = axis.plot(median.index, median, **of_optimizer(str(optimizer)))
        colour = line.get_color()
        axis.fill_between(median.index, low, high, color=colour, alpha=0.18, linewidth=0)
        if median.notna().any():
            rates, losses = median.index.to_numpy(), median.to_numpy()
            best = np.nanargmin(losses)
            axis.plot(rates[best], losses[best], marker="o", markersize=6, color=colour)
        if str(optimizer) in recipe:
            axis.axvline(recipe[str(optimizer)], color=colour, linestyle=":", linewidth=1)
    axis.set(xscale="log", yscale="log", xlabel="learning rate")
    axis.legend()

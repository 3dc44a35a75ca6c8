"""Loss curves: a panel a setting, a line an optimizer."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from attnscape.report.style import of_optimizer, style


def draw(frame: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Mean over seeds as lines, smallest to largest seed as bands, losses on a log axis.

    Args:
        frame: Columns setting, optimizer, learning_rate, seed, step, loss.
        titles: A panel for each setting named here, in order.
    """
    with style():
        figure = Figure(figsize=(3.6 * len(titles), 3.2), layout="constrained")
        axes = figure.subplots(1, len(titles), sharex=True, squeeze=False)[0]
        for axis, (setting, title) in zip(axes, titles.items(), strict=True):
            panel = frame[frame["setting"] == setting]
            for (optimizer, rate), runs in panel.groupby(
                ["optimizer", "learning_rate"], sort=False
            ):
                losses = runs.groupby("step")["loss"]
                mean, low, high = losses.mean(), losses.min(), losses.max()
                look = of_optimizer(str(optimizer))
                (line,) = axis.plot(
                    mean.index, mean, **look | {"label": f"{look['label']}, rate {rate:g}"}
                )
                axis.fill_between(
                    mean.index, low, high, color=line.get_color(), alpha=0.18, linewidth=0
                )
            axis.set(yscale="log", title=title, xlabel="step")
            axis.legend()
        axes[0].set_ylabel("loss (mean squared error)")
        return figure

"""Final losses in own and in rotated axes against the learning rate, one panel per setting."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from attnscape.paper.extended.rotation import OWN, ROTATED
from attnscape.report.draw.rates import panel
from attnscape.report.style import OPTIMIZERS, style


def figure(frame: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """A panel for each setting: every optimizer in own axes and in rotated ones.

    Args:
        frame: Columns setting, axes, optimizer, learning_rate, seed, loss (infinite if diverged).
        titles: Titles of the panels, by setting.
    """
    looks = {}
    for optimizer, look in OPTIMIZERS.items():
        looks[f"{optimizer}, {OWN}"] = look
        looks[f"{optimizer}, {ROTATED}"] = look | {
            "label": f"{look['label']}, rotated",
            "linestyle": ":",
            "linewidth": 2.4,
        }
    frame = frame.assign(optimizer=frame["optimizer"] + ", " + frame["axes"])
    with style():
        result = Figure(figsize=(3.4 * len(titles), 3.2), layout="constrained")
        axes = result.subplots(1, len(titles), squeeze=False)[0]
        for axis, (setting, title) in zip(axes, titles.items(), strict=True):
            panel(axis, frame[frame["setting"] == setting], looks)
            axis.set_title(title)
        axes[0].set_ylabel("final loss")
        handles = axes[0].get_legend_handles_labels()
        result.legend(*handles, loc="outside lower center", ncols=len(looks))
        return result

"""Final losses of optimizers under schedules, and their losses along the one that decays last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from attnscape.paper.extended.schedules import OPTIMIZERS, SCHEDULES, STABLE, decay_begins
from attnscape.report.style import of_optimizers, style

_WORDS = {"cosine:weight_decay=0.1": "cosine,\nweight decay 0.1"}


def figure(frame: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """A row for each setting; left: loss at the last step; right: loss over SGDM's along `wsd`.

    Args:
        frame: Columns setting, schedule, optimizer, seed, step, loss (infinite after divergence).
        titles: Titles of the rows, by setting.
    """
    looks = of_optimizers(OPTIMIZERS)
    medians = (
        frame.groupby(["setting", "schedule", "optimizer", "step"])["loss"]
        .median()
        .replace(np.inf, np.nan)
    )
    with style():
        result = Figure(figsize=(9, 3.3 * len(titles) + 0.4), layout="constrained")
        axes = result.subplots(len(titles), 2, squeeze=False)
        for (left, right), (setting, title) in zip(axes, titles.items(), strict=True):
            _final(left, medians[setting], looks)
            _along(right, medians[setting, STABLE], looks)
            left.set_title(f"{title}: after training")
            right.set_title(f"{title}: along {STABLE}")
        axes[-1, 1].set_xlabel("step")
        handles = axes[0, 0].get_legend_handles_labels()
        result.legend(*handles, loc="outside lower center", ncols=len(looks))
        return result


def _final(axis: Axes, medians: Any, looks: Mapping[str, Mapping[str, Any]]) -> None:
    """Median loss at the last step; no dot if half of the seeds diverged."""
    last = medians.index.get_level_values("step").max()
    for optimizer, look in looks.items():
        losses = [medians[schedule, optimizer, last] for schedule in SCHEDULES]
        axis.plot(range(len(SCHEDULES)), losses, marker="o", markersize=4, **look)
    axis.set(yscale="log", ylabel="loss at the last step")
    axis.set_xticks(range(len(SCHEDULES)), [_WORDS.get(each, each) for each in SCHEDULES])


def _along(axis: Axes, medians: Any, looks: Mapping[str, Mapping[str, Any]]) -> None:
    """Median over seeds of the loss, over that of the first optimizer."""
    base = medians[OPTIMIZERS[0]]
    for optimizer, look in looks.items():
        ratio = medians[optimizer] / base
        axis.plot(ratio.index, ratio, **look)
    axis.axvline(decay_begins(int(base.index.max())), color="grey", linewidth=1)
    axis.set(yscale="log", ylabel="loss over SGDM's")

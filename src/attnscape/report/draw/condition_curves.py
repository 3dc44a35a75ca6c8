"""Robust condition numbers along training: one panel per setting and convention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from attnscape.experiments.runs import first_evaluation
from attnscape.report.style import of_optimizer, say_diverged, style


def figure(frame: pd.DataFrame, titles: Mapping[str, str], conventions: Sequence[str]) -> Figure:
    """One column per setting named in `titles`, one row per convention.

    Args:
        frame: Columns setting, convention, optimizer, learning_rate, seed, step, evaluation,
            condition_number.
        titles: Titles of the columns, by setting.
        conventions: The rows.
    """
    with style():
        shape = len(conventions), len(titles)
        result = Figure(figsize=(3.4 * shape[1], 0.4 + 2.8 * shape[0]), layout="constrained")
        axes = result.subplots(*shape, squeeze=False, sharex=True, sharey=True)
        for row, convention in zip(axes, conventions, strict=True):
            for axis, setting in zip(row, titles, strict=True):
                chosen = (frame["setting"] == setting) & (frame["convention"] == convention)
                panel(axis, frame[chosen])
                axis.set_xlabel("")
            without = "\nwithout dead parameters" if convention.endswith("-live") else ""
            row[0].set_ylabel("robust condition number" + without)
        for axis, title in zip(axes[0], titles.values(), strict=True):
            axis.set_title(title)
        for axis in axes[-1]:
            axis.set_xlabel("step")
        return result


def panel(axis: Axes, frame: pd.DataFrame) -> None:
    """Lines: geometric mean over seeds; bands: smallest to largest seed; on a log axis.

    All values are from the first evaluation batch.
    """
    frame = first_evaluation(frame)
    for (optimizer, rate), runs in frame.groupby(["optimizer", "learning_rate"], sort=False):
        numbers = runs.pivot(index="step", columns="seed", values="condition_number")
        mean = np.exp(np.log(numbers.to_numpy()).mean(axis=1))
        look = of_optimizer(str(optimizer))
        (line,) = axis.plot(numbers.index, mean, **look)
        line.set_label(f"{look['label']}, rate {rate:g}")
        axis.fill_between(
            numbers.index,
            numbers.min(axis=1),
            numbers.max(axis=1),
            color=line.get_color(),
            alpha=0.18,
            linewidth=0,
        )
    axis.set(yscale="log", xlabel="step")
    if frame["condition_number"].notna().any():
        axis.legend()
    else:
        say_diverged(axis)

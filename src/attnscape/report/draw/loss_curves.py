"""Loss curves: one panel per setting, one line per optimizer."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from attnscape.experiments.reference_losses import ReferenceLoss
from attnscape.experiments.runs import first_evaluation
from attnscape.report.style import of_optimizer, say_diverged, style

_ROOM = 10  # times the first batch's largest loss: spikes of other batches would squeeze its curve
_GREY = "#6E6E6E"
_LINE = 0.055  # height of a line of the names beside a panel, as a share of the panel's
_OTHERS: dict[str, Any] = {"linewidth": 0.6, "alpha": 0.7}  # batches other than the first


def figure(
    frame: pd.DataFrame,
    titles: Mapping[str, str],
    *,
    one_scale: bool = False,
    references: Mapping[str, Sequence[ReferenceLoss]] = MappingProxyType({}),
) -> Figure:
    """One panel per setting named in `titles`, in that order.

    Args:
        frame: Columns setting, optimizer, learning_rate, seed, step, evaluation, loss.
        titles: Titles of the panels, by setting.
        one_scale: Whether the panels share their axes.
        references: Losses of untrained predictors, by setting.
    """
    with style():
        result = Figure(figsize=(3.6 * len(titles), 3.2), layout="constrained")
        axes = result.subplots(1, len(titles), squeeze=False, sharex=one_scale, sharey=one_scale)[0]
        for axis, (setting, title) in zip(axes, titles.items(), strict=True):
            panel(axis, frame[frame["setting"] == setting])
            lines(axis, references.get(setting, ()))
            axis.set_title(title)
        # After all panels: a limit ends the automatic scale, which panels may share.
        for axis, setting in zip(axes, titles, strict=True):
            leave_room(axis, frame if one_scale else frame[frame["setting"] == setting])
        for axis, setting in zip(axes, titles, strict=True):
            names(axis, references.get(setting, ()))
        axes[0].set_ylabel("mean loss on a fixed batch")
        return result


def panel(axis: Axes, frame: pd.DataFrame) -> None:
    """Lines: mean over seeds; bands: smallest to largest seed; losses on a log axis.

    Lines and bands show the first evaluation batch; dotted lines show the mean on the other ones.
    All end as soon as a run diverges: the mean of the remaining runs would look too good.
    """
    for (optimizer, rate), runs in frame.groupby(["optimizer", "learning_rate"], sort=False):
        table = runs.pivot(index="step", columns=["evaluation", "seed"], values="loss")
        of_batches = [table[batch] for batch in dict.fromkeys(table.columns.get_level_values(0))]
        mean, low, high = (
            of_batches[0].agg(function, axis=1, skipna=False) for function in ("mean", "min", "max")
        )
        look = of_optimizer(str(optimizer))
        (line,) = axis.plot(mean.index, mean, **look)
        line.set_label(f"{look['label']}, rate {rate:g}")
        axis.fill_between(mean.index, low, high, color=line.get_color(), alpha=0.18, linewidth=0)
        for losses in of_batches[1:]:
            mean = losses.mean(axis=1, skipna=False)
            axis.plot(mean.index, mean, **look | {"label": None, "linestyle": ":"}, **_OTHERS)
    axis.set(yscale="log", xlabel="step")
    if frame["loss"].notna().any():
        # The frame is opaque because spikes of other batches may pass behind it.
        axis.legend(frameon=True, framealpha=0.85, facecolor="white", edgecolor="none")
    else:
        say_diverged(axis)


def lines(axis: Axes, references: Sequence[ReferenceLoss]) -> None:
    """Horizontal lines; 0 has no place on a log axis."""
    for each in references:
        if each.loss > 0:
            axis.axhline(each.loss, color=_GREY, linewidth=0.8, zorder=1)


def names(axis: Axes, references: Sequence[ReferenceLoss]) -> None:
    """The lines' names right of the panel, apart from each other; after its limits are set."""
    axis.get_ylim()  # scales the axis, if it was not yet
    to_panel = axis.transData + axis.transAxes.inverted()
    kept = [each for each in references if each.loss > 0]
    words = [_folded(each.name.partition(" with ")[0]) for each in kept]
    heights = [_LINE * (1 + name.count("\n")) for name in words]
    places = [float(to_panel.transform((0, each.loss))[1]) for each in kept]
    for name, line, place in zip(words, places, _apart(places, heights), strict=True):
        leader = {"arrowstyle": "-", "color": _GREY, "linewidth": 0.5, "relpos": (0, 0.5)}
        axis.annotate(
            name,
            (1.0, line),
            (1.01, place) if place == line else (1.05, place),
            xycoords="axes fraction",
            textcoords="axes fraction",
            arrowprops=None if place == line else leader | {"shrinkA": 0, "shrinkB": 0},
            color=_GREY,
            fontsize=7,
            va="center",
            linespacing=1,
        )


def _folded(name: str) -> str:
    return textwrap.fill(name, 12, break_long_words=False)


def _apart(places: Sequence[float], heights: Sequence[float]) -> list[float]:
    """The places, from the highest on, of texts with these heights that do not overlap.

    Each is as near to its own as those above allow; those that would go below the panel are moved
    up again, and with them those above.
    """
    found = list(places)
    for i in range(1, len(found)):
        found[i] = min(found[i], found[i - 1] - (heights[i - 1] + heights[i]) / 2)
    lowest = -np.inf
    for i in reversed(range(len(found))):
        bottom = heights[i] / 2 if found[i] < places[i] else -np.inf  # if it was moved down
        found[i] = max(found[i], bottom, lowest + heights[i] / 2)
        lowest = found[i] + heights[i] / 2
    return found


def leave_room(axis: Axes, frame: pd.DataFrame) -> None:
    """Cuts the axis off above the losses drawn of the first batch: others' spikes go far beyond."""
    first = first_evaluation(frame)
    # Nothing is drawn of the first batch from where one of its runs has diverged.
    drawn = first.groupby(["setting", "optimizer", "learning_rate", "step"])["loss"]
    highest = drawn.max()[drawn.count() == drawn.size()].max()
    if highest > 0:
        axis.set_ylim(top=min(axis.get_ylim()[1], _ROOM * highest))

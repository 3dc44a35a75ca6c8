"""With and without momentum: loss curves of each setting, and the ratios of final losses."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from attnscape.experiments.runs import first_evaluation
from attnscape.paper.extended.momentum import MomentumRatios
from attnscape.report.draw.networks import loss_panel
from attnscape.report.style import of_optimizer, style

_ROOM = 1.5
_TICKS = (0.01, 0.1, 0.2, 0.5, 1, 2, 5, 10, 100)
_OFFSET = 0.16  # of an optimizer's row from its setting's


def figure(analysis: MomentumRatios, titles: Mapping[str, str]) -> Figure:
    """One panel of losses for each setting named in `titles`, and one of ratios.

    Args:
        analysis: Losses and ratios.
        titles: Titles of the panels, by setting.
    """
    frame = first_evaluation(analysis.frame)
    with style():
        columns = len(titles) + 1
        result = Figure(figsize=(3.5 * columns, 3.4), layout="constrained")
        *axes, last = result.subplots(1, columns)
        for axis, (setting, title) in zip(axes, titles.items(), strict=True):
            loss_panel(axis, frame[frame["setting"] == setting])
            _frame_medians(axis)
            axis.set_title(title)
        axes[0].set_ylabel("loss (mean squared error)")
        ratio_panel(last, analysis, titles)
        return result


def _frame_medians(axis: Axes) -> None:
    """Ends the axis a little beyond the lines: single seeds' spikes go many decades further."""
    heights = np.concatenate([np.asarray(line.get_ydata(), np.float64) for line in axis.lines])
    if np.isfinite(heights).any():
        axis.set_ylim(np.nanmin(heights) / _ROOM, np.nanmax(heights) * _ROOM)


def ratio_panel(axis: Axes, analysis: MomentumRatios, titles: Mapping[str, str]) -> None:
    """One row for each setting and optimizer: its ratio with interval, a dot for each seed."""
    axis.axvline(1, color="#222222", linewidth=0.8, linestyle=":")
    settings = list(titles)
    for (setting, optimizer), comparison in analysis.ratios.items():
        look = of_optimizer(optimizer)
        row = settings.index(setting) + (_OFFSET if optimizer == "adam" else -_OFFSET)
        label = look["label"] if setting == settings[0] else None
        seeds = analysis.of_seeds[setting, optimizer]
        seeds = seeds[np.isfinite(seeds) & (seeds > 0)]
        rows = np.full(seeds.size, row + _OFFSET / 2)
        axis.plot(seeds, rows, ".", color=look["color"], markersize=3, alpha=0.5)
        ratio = comparison.interval
        if np.isfinite(ratio.estimate):
            axis.plot(ratio.estimate, row, "o", color=look["color"], markersize=5, label=label)
            axis.plot([ratio.low, ratio.high], [row, row], color=look["color"])
    axis.set(xscale="log")
    left, right = axis.get_xlim()
    ticks = [tick for tick in _TICKS if left <= tick <= right]
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.set_xticks([], minor=True)
    axis.set(ylim=(len(settings) - 0.5, -0.5), title="Final loss, each dot a seed")
    axis.set_yticks(range(len(settings)), [titles[name].partition(":")[0] for name in settings])
    axis.set_xlabel("without / with momentum\n(right of 1: momentum is better)")
    axis.grid(False, axis="y")
    axis.legend(fontsize=8)

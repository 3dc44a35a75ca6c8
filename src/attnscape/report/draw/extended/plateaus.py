"""Loss curves with the predicted plateaus: one panel a model, one line a seed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import NullFormatter

from attnscape.paper.extended.plateaus import PlateauAnalysis, plateaus
from attnscape.report.style import style

_COLOURS = ("#0072B2", "#D55E00")  # Okabe and Ito's palette


def figure(analysis: PlateauAnalysis, titles: Mapping[str, str]) -> Figure:
    """One panel for each setting named in `titles`; the panels share their axes.

    Args:
        analysis: The loss curves and the predicted losses.
        titles: Titles of the panels, by setting.
    """
    with style():
        result = Figure(figsize=(4.8 * len(titles), 4.2), layout="constrained")
        axes = result.subplots(1, len(titles), squeeze=False, sharex=True, sharey=True)[0]
        for axis, (setting, title), colour in zip(axes, titles.items(), _COLOURS, strict=False):
            frame = analysis.frame
            runs = frame[(frame["setting"] == setting) & (frame["step"] > 0)]
            for components, loss in enumerate(analysis.predicted):
                axis.axhline(loss, color="0.55", linestyle=(0, (5, 2)), linewidth=0.8)
                axis.annotate(
                    f"{components} component{'s' * (components != 1)}",
                    (0.01, loss),
                    xycoords=("axes fraction", "data"),
                    fontsize=7,
                    color="0.35",
                    va="bottom",
                    path_effects=[withStroke(linewidth=2, foreground="white")],
                )
            for _, run in runs.groupby("seed"):
                steps, losses = (run[name].to_numpy(np.float64) for name in ("step", "loss"))
                axis.plot(steps, losses, color=colour, linewidth=0.9, alpha=0.8)
                found = plateaus(steps, losses)[1:-1]  # the ends need no mark
                first = [steps[(losses <= loss).argmax()] for loss in found]
                axis.plot(first, found, "o", color=colour, markersize=4, markeredgecolor="white")
            axis.set(title=title, xlabel="step", xscale="log", yscale="log")
        ticks = [0.5 * 2**power for power in range(5)]
        axes[0].set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axes[0].yaxis.set_minor_formatter(NullFormatter())
        axes[0].set_ylabel("loss on the full batch")
        return result

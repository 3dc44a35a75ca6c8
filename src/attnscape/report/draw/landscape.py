"""Four features of one setting: loss, gradient noise, condition, smoothness."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from attnscape.experiments.reference_losses import ReferenceLoss
from attnscape.report.draw import condition_curves, loss_curves, noise, smoothness
from attnscape.report.style import style


def figure(frame: pd.DataFrame, title: str, references: Sequence[ReferenceLoss] = ()) -> Figure:
    """Draws two rows of two panels.

    Args:
        frame: Column panel (loss, noise, condition, smoothness) and the columns of each panel.
        title: The title of the figure.
        references: Losses of untrained predictors.
    """
    parts = {
        "loss": (loss_curves.panel, "mean loss on a fixed batch"),
        "noise": (noise.panel, "density"),
        "condition": (condition_curves.panel, "robust condition number"),
        "smoothness": (smoothness.curves_panel, "directional smoothness"),
    }
    with style():
        result = Figure(figsize=(8.4, 7.4), layout="constrained")
        axes = result.subplots(2, 2).flat
        for axis, (name, (panel, label)) in zip(axes, parts.items(), strict=True):
            panel(axis, frame[frame["panel"] == name])
            axis.set_ylabel(label)
            if name == "loss":
                loss_curves.lines(axis, references)
                loss_curves.leave_room(axis, frame[frame["panel"] == name])
                loss_curves.names(axis, references)
            if name == "noise":
                axis.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16))
        result.suptitle(title, x=0.01, ha="left", fontsize="medium")
        return result

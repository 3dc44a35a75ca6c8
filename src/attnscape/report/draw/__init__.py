"""Drawing: one function for every kind of artifact."""

from __future__ import annotations

import functools

import pandas as pd
from matplotlib.figure import Figure

from attnscape.paper.artifact import Artifact
from attnscape.paper.loss_curves import LossCurves
from attnscape.report.draw import loss_curves


@functools.singledispatch
def draw(artifact: Artifact, frame: pd.DataFrame) -> Figure | None:
    """The picture of an artifact's numbers; None for one that is only a table."""
    return None


@draw.register
def _(artifact: LossCurves, frame: pd.DataFrame) -> Figure:
    return loss_curves.figure(frame, {s.name: s.title for s in artifact.settings})

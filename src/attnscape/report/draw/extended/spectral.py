"""Spectral norm and directional smoothness against the gradient norm."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from attnscape.paper.extended.spectral import KINDS, SpectralAnalysis
from attnscape.report.draw.smoothness import scatter_panel
from attnscape.report.style import style


def figure(analysis: SpectralAnalysis, titles: Mapping[str, str]) -> Figure:
    """A row of panels for each kind of smoothness, a column for each setting named in `titles`.

    The panels of a column share their axes, so that the kinds can be compared.

    Args:
        analysis: The points and the lines fitted to them.
        titles: Titles of the columns, by setting.
    """
    frame, points = analysis.frame, None
    with style():
        size = (4.6 * len(titles), 4.1 * len(KINDS))
        result = Figure(figsize=size, layout="constrained")
        axes = result.subplots(len(KINDS), len(titles), squeeze=False, sharex="col", sharey="col")
        for row, (column, words) in zip(axes, KINDS.items(), strict=True):
            for axis, setting in zip(row, titles, strict=True):
                growth = analysis.growth[column].get(setting)
                fit = None if growth is None else growth.fit
                of_setting = frame[frame["setting"] == setting]
                points = scatter_panel(axis, of_setting, fit, frame["step"].max(), column)
                axis.xaxis.set_tick_params(labelbottom=True)
            row[0].set_ylabel(f"ln {words}")
        for axis, title in zip(axes[0], titles.values(), strict=True):
            axis.set_title(title)
        if points is not None:
            result.colorbar(points, ax=axes, label="step", pad=0.01)
        return result

"""Histograms of the norms of gradient noise, with q-q plots: one panel per setting."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import norm

from attnscape.report.style import style
from attnscape.statistics import plotting_positions

_BINS = 100
_NOISE = "#7F9DB9"
# Dashes and dots tell the two distributions apart without colour.
_GAUSSIAN_NORM = {"color": "#D55E00", "linestyle": (0, (5, 1.5))}
_NORMAL = {"color": "#222222", "linestyle": (0, (1, 1.2))}


def figure(frame: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """One panel per setting named in `titles`, in that order, from the setting's first seed.

    Args:
        frame: Columns setting, seed, noise_norm, normal_quantile, gaussian_norm_quantile.
        titles: Titles of the panels, by setting.
    """
    with style():
        result = Figure(figsize=(3.9 * len(titles), 3.6), layout="constrained")
        axes = result.subplots(1, len(titles), squeeze=False)[0]
        for axis, (setting, title) in zip(axes, titles.items(), strict=True):
            panel(axis, frame[frame["setting"] == setting])
            axis.set_title(title)
        axes[0].set_ylabel("density")
        handles, labels = axes[0].get_legend_handles_labels()
        result.legend(handles, labels, loc="outside lower center", ncols=len(labels))
        return result


def panel(axis: Axes, frame: pd.DataFrame) -> None:
    """Histogram of the first seed's norms with two densities; inset: q-q plots."""
    frame = frame[frame["seed"] == frame["seed"].min()]
    norms = frame["noise_norm"].to_numpy(np.float64)
    reference = frame["gaussian_norm_quantile"].to_numpy(np.float64)
    fitted = norms.mean() + norms.std(ddof=1) * frame["normal_quantile"].to_numpy(np.float64)
    heights, edges, _ = axis.hist(
        norms, bins=_BINS, density=True, color=_NOISE, label="gradient noise, one seed"
    )
    # The density is the slope of probability against quantile, at evenly spaced quantiles.
    some = np.unique(np.searchsorted(reference, np.linspace(reference[0], reference[-1], 121)))
    density = np.gradient(plotting_positions(norms.size)[some], reference[some])
    label = "norm of a Gaussian vector with the noise's covariance"
    axis.plot(reference[some], density, label=label, **_GAUSSIAN_NORM)
    x = np.linspace(norms.min(), norms.max(), 201)
    y = norm.pdf(x, norms.mean(), norms.std(ddof=1))
    axis.plot(x, y, label="normal distribution, best fit", **_NORMAL)
    axis.set_xlabel("norm of the gradient noise")
    axis.grid(visible=False)
    # Tall bars end before the inset, with its labels, begins.
    left, right = axis.get_xlim()
    tall = edges[1:][heights > 0.35 * np.max(heights)].max()
    axis.set_xlim(left, max(right, left + (tall - left) / 0.45))
    _qq(axis.inset_axes((0.56, 0.5, 0.44, 0.5)), norms, reference, fitted)


def _qq(axis: Axes, norms: np.ndarray, reference: np.ndarray, fitted: np.ndarray) -> None:
    low, high = min(norms[0], reference[0], fitted[0]), max(norms[-1], reference[-1], fitted[-1])
    axis.plot([low, high], [low, high], color="#999999", linewidth=0.8)
    for theoretical, look, size in ((fitted, _NORMAL, 2.0), (reference, _GAUSSIAN_NORM, 2.6)):
        axis.plot(
            theoretical,
            norms,
            linestyle="none",
            marker="o",
            markersize=size,
            markeredgewidth=0,
            color=look["color"],
            rasterized=True,
        )
    axis.set_xlabel("quantile of the distribution", fontsize=7, labelpad=1)
    axis.set_ylabel("norm", fontsize=7, labelpad=2)
    axis.tick_params(labelsize=6, length=2, pad=1)
    axis.locator_params(nbins=4)

"""Effective shares of attention along training, and their ratios between covariates."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from attnscape.experiments.runs import first_evaluation
from attnscape.paper.claims._per_run import SHARE
from attnscape.paper.extended.attention_scores import SparsityAnalysis
from attnscape.report.style import of_optimizer, style

# Okabe and Ito's palette, without the colours of the optimizers.
_COLORS = {"gaussian": "#E69F00", "sphere": "#56B4E9", "orthonormal": "#009E73"}
_INK = "#222222"
_NAMES = {"gaussian": "Gaussian", "sgdm": "SGDM", "adam": "Adam"}
_OFFSET = 0.14  # of a point from its row
_TICKS = (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5)


def figure(analysis: SparsityAnalysis) -> Figure:
    """One panel of shares for each model, and one of ratios.

    Args:
        analysis: Shares and ratios.
    """
    frame = first_evaluation(analysis.frame)
    with style():
        result = Figure(figsize=(11.5, 4), layout="constrained")
        *axes, last = result.subplots(1, 3, width_ratios=(1, 1, 1.15))
        for axis, model in zip(axes, ("linear", "softmax"), strict=True):
            share_panel(axis, frame, model)
            axis.set(title=f"{model.capitalize()} attention", xlabel="step", ylim=(0, 1.03))
        axes[0].set_ylabel("effective share of tokens with attention")
        ratio_panel(last, analysis)
        result.legend(handles=_legend(), loc="outside lower center", ncols=5)
        return result


def share_panel(axis: Axes, frame: pd.DataFrame, model: str) -> None:
    """Median over seeds, from the smallest to the largest seed; all end where a run diverges."""
    for law, color in _COLORS.items():
        for optimizer in ("sgdm", "adam"):
            mine = frame[(frame["setting"] == f"{model}-{law}") & (frame["optimizer"] == optimizer)]
            seeds = mine.pivot(index="step", columns="seed", values=SHARE)
            line = of_optimizer(optimizer)["linestyle"]
            middle, low, high = (
                seeds.agg(function, axis=1, skipna=False) for function in ("median", "min", "max")
            )
            axis.plot(seeds.index, middle, color=color, linestyle=line)
            axis.fill_between(seeds.index, low, high, color=color, alpha=0.2, linewidth=0)


def ratio_panel(axis: Axes, analysis: SparsityAnalysis) -> None:
    """One row for each comparison: after training filled, at step 0 open; intervals as lines."""
    axis.axvline(1, color=_INK, linewidth=0.8, linestyle=":")
    moments = (analysis.initial, "white", -_OFFSET), (analysis.trained, None, _OFFSET)
    for comparisons, face, shift in moments:
        for row, each in enumerate(comparisons):
            color = _COLORS[each.label.rpartition(" ")[2]]
            ratio = each.interval
            axis.plot([ratio.low, ratio.high], [row + shift] * 2, color=color)
            axis.plot(ratio.estimate, row + shift, "o", color=color, markerfacecolor=face or color)
    axis.set(xscale="log", ylim=(len(analysis.trained) - 0.5, -0.5))
    left, right = axis.get_xlim()
    ticks = [tick for tick in _TICKS if left <= tick <= right]
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.set_xticks([], minor=True)
    labels = [each.label for each in analysis.trained]
    for word, name in _NAMES.items():
        labels = [label.replace(word, name) for label in labels]
    axis.set_yticks(range(len(labels)), labels)
    axis.set(title="Orthonormal over other covariates")
    axis.set_xlabel("ratio of shares (left of 1: sparser)")
    axis.grid(False, axis="y")


def _legend() -> list[Line2D]:
    laws = [
        Line2D([], [], color=color, label=_NAMES.get(law, law)) for law, color in _COLORS.items()
    ]
    lines = [
        Line2D([], [], color=_INK, linestyle=look["linestyle"], label=look["label"])
        for look in map(of_optimizer, ("sgdm", "adam"))
    ]
    return [*laws, *lines]

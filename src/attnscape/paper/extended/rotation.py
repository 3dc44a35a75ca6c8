"""SGDM and Adam in rotated coordinates (Maes et al., 2024).

A rotation of all parameters changes neither the functions that a model can represent nor the steps
of SGD. Adam divides each coordinate by a scale of its own, so it depends on the axes: how much of
its advantage is due to the axes of P and Q?
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np
import pandas as pd

from attnscape.experiments.artifact import Analysis, Artifact, Results
from attnscape.experiments.captions import conventions, ends
from attnscape.experiments.experiment import Experiment
from attnscape.experiments.setting import Plan, Setting
from attnscape.experiments.trials import evaluated_steps
from attnscape.experiments.tuning import (
    best_rates,
    final_losses,
    is_at_edge,
    neighbour,
)
from attnscape.measures import EvaluationLoss, at
from attnscape.models import RotatedLinearTransformer
from attnscape.optimizers import NAMED
from attnscape.paper.extended.base import WithoutOwnParts, first_seeds, shortened
from attnscape.paper.settings import MAIN
from attnscape.statistics import Interval, geometric_mean, no_interval

OWN, ROTATED = "own axes", "rotated axes"
_OPTIMIZERS = ("sgdm", "adam")
_SEEDS, _STEPS = 6, 2_000
_Runs = tuple[str, str, str]  # setting, axes, optimizer


@dataclasses.dataclass(frozen=True)
class RotationAnalysis(Analysis):
    """Final losses in both coordinates.

    Attributes:
        rates: The best learning rate, by setting, axes and optimizer.
        gaps: Final loss of SGDM over Adam's, each at its best rate, by setting and axes.
        changes: Final loss in rotated over that in own axes, each at its best rate, by setting and
            optimizer.
    """

    rates: Mapping[_Runs, float]
    gaps: Mapping[tuple[str, str], Interval]
    changes: Mapping[tuple[str, str], Interval]


@dataclasses.dataclass(frozen=True)
class Rotation(WithoutOwnParts, Artifact[RotationAnalysis]):
    """One panel for each setting: final loss against the learning rate, in both coordinates."""

    takes_rates = False  # it tries a grid of its own

    about = "rotates linear Transformers"

    def experiments(self, plan: Plan) -> Mapping[str, Experiment]:
        """One experiment for each setting, and one for each of its seeds, rotated."""
        found = {}
        for setting in self.settings:
            found[setting.name] = base = _experiment(setting, plan)
            model = functools.partial(RotatedLinearTransformer.init, **setting.model(plan).keywords)
            for seed in base.seeds:  # every seed has a rotation of its own
                found[f"{setting.name}|{seed}"] = dataclasses.replace(
                    base,
                    name=f"{base.name} {seed}",
                    model=functools.partial(model, rotation=seed),
                    seeds=(seed,),
                )
        return found

    def analyse(self, results: Results) -> RotationAnalysis:
        """The frame has one row for each run.

        The columns are setting, axes, optimizer, learning_rate, seed, loss (infinite if diverged).
        """
        frames = []
        for key, dataset in results.items():
            setting, rotated, _ = key.partition("|")
            axes = ROTATED if rotated else OWN
            frames.append(final_losses(dataset).assign(setting=setting, axes=axes))
        columns = ["setting", "axes", "optimizer", "learning_rate", "seed", "loss"]
        frame = pd.concat(frames, ignore_index=True)[columns]
        rates = {
            (str(setting), str(axes), name): rate
            for (setting, axes), runs in frame.groupby(["setting", "axes"])
            for name, rate in best_rates(runs).items()
        }
        losses = {runs: _losses(frame, runs, rate) for runs, rate in rates.items()}
        names = [setting.name for setting in self.settings]
        gaps = {
            (name, axes): _ratio(losses[name, axes, "sgdm"], losses[name, axes, "adam"])
            for name in names
            for axes in (OWN, ROTATED)
        }
        changes = {
            (name, each): _ratio(losses[name, ROTATED, each], losses[name, OWN, each])
            for name in names
            for each in _OPTIMIZERS
        }
        return RotationAnalysis(results, frame, rates, gaps, changes)

    def comparison(self, analysis: RotationAnalysis) -> pd.DataFrame:
        rows = [
            (setting, f"final loss, SGDM over Adam, {axes}", ratio)
            for (setting, axes), ratio in analysis.gaps.items()
        ]
        rows += [
            (setting, f"final loss, rotated over own axes, {optimizer}", ratio)
            for (setting, optimizer), ratio in analysis.changes.items()
        ]
        columns = ["setting", "quantity", "ours", "low", "high", "seeds"]
        numbers = [(*words, r.estimate, r.low, r.high, r.n) for *words, r in rows]
        return pd.DataFrame(numbers, columns=columns)

    def caption(self, analysis: RotationAnalysis, plan: Plan) -> str:
        gaps = "; ".join(
            f"{setting.name} {ends(analysis.gaps[setting.name, OWN])} in the axes of P and Q, "
            f"{ends(analysis.gaps[setting.name, ROTATED])} in rotated ones"
            for setting in self.settings
        )
        changes = "; ".join(
            f"{setting} {optimizer} {ends(ratio)}"
            for (setting, optimizer), ratio in analysis.changes.items()
        )
        dataset = next(iter(analysis.results.values()))
        rates = "; ".join(
            f"{setting} {axes} {optimizer} {rate:g}"
            for (setting, axes, optimizer), rate in analysis.rates.items()
        )
        edges = ", ".join(
            " ".join(runs)
            for runs, rate in analysis.rates.items()
            if _at_edge(analysis, runs, rate)
        )
        lost = ", ".join(
            f"{' '.join(runs)} {count}"
            for runs, rate in analysis.rates.items()
            if (count := int(np.isinf(_losses(analysis.frame, runs, rate)).sum()))
        )
        first = f"Final loss of SGDM over Adam's, each at its best rate: {gaps}."
        details = (
            f"Rotated over own axes: {changes}. "
            f"After {int(dataset['step'][-1]):,} steps: median over the last tenth of the steps "
            "and over evaluation batches. Lines: median over seeds, with a dot at the best rate; "
            "bands: smallest to largest. All parameters together are rotated, each seed by a "
            "rotation of its own and from the same function, so the 95 % intervals, of geometric "
            "means, are over seeds and rotations. The best rates were chosen on the seeds shown, "
            "for both coordinates by the same rule, among the rates shown, so losses are a little "
            f"too low on both sides: {rates}. "
            + f"On the edge of the rates tried, so not the best there are: {edges}. " * bool(edges)
            + f"Diverged runs at the best rate, which leaves no ratio: {lost}. " * bool(lost)
            + f"{conventions(plan, self.settings)}"
        )
        return f"{first}\n\n{details}"


def _experiment(setting: Setting, plan: Plan) -> Experiment:
    """The runs of a setting at rates around those that a search found, in own axes."""
    steps = shortened(_STEPS, setting, plan)
    return setting.experiment(
        plan,
        name=f"{setting.name}-rotation",
        optimizers={name: NAMED[name] for name in _OPTIMIZERS},
        learning_rates={name: _around(setting.found[name]) for name in _OPTIMIZERS},
        seeds=first_seeds(_SEEDS, plan),
        steps=steps,
        measures=(EvaluationLoss(at(*evaluated_steps(steps))),),
    )


def _around(rate: float) -> tuple[float, ...]:
    """The rate and two values of the 1-2-5 sequence on each side."""
    below, above = neighbour(rate, -1), neighbour(rate, 1)
    return neighbour(below, -1), below, rate, above, neighbour(above, 1)


def _at_edge(analysis: RotationAnalysis, runs: _Runs, rate: float) -> bool:
    setting, axes, optimizer = runs
    frame = analysis.frame
    mine = frame[(frame["setting"] == setting) & (frame["axes"] == axes)]
    return is_at_edge(rate, mine, optimizer)


def _losses(frame: pd.DataFrame, runs: _Runs, rate: float) -> np.ndarray:
    """The losses at a rate, by seed."""
    chosen = frame["learning_rate"] == rate
    for column, value in zip(("setting", "axes", "optimizer"), runs, strict=True):
        chosen &= frame[column] == value
    return frame[chosen].sort_values("seed")["loss"].to_numpy()


def _ratio(above: np.ndarray, below: np.ndarray) -> Interval:
    """Geometric mean over seeds; no interval if a run diverged."""
    with np.errstate(invalid="ignore"):
        ratios = above / below
    if not np.isfinite(ratios).all():
        return no_interval(np.nan, ratios.size)
    return geometric_mean(ratios)


ROTATION = Rotation(
    "rotation",
    "SGDM and Adam in rotated coordinates",
    "Adam's advantage depends on the axes of the parameters, SGD does not (Maes et al., 2024).",
    MAIN,
)

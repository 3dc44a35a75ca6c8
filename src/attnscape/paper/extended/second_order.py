"""Optimizers with exact curvature beside SGDM and Adam: does the gap close?

Newton's, Gauss-Newton's and truncated conjugate-gradient steps use the exact second derivatives of
the step's batch, so they bound what optimizers can gain that only estimate them.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from attnscape.experiments.artifact import Analysis, Artifact, Results
from attnscape.experiments.captions import batches_in_words, conventions, ends, seeds_in_words
from attnscape.experiments.experiment import Experiment
from attnscape.experiments.runs import tidy
from attnscape.experiments.setting import Plan, Setting
from attnscape.experiments.trials import evaluated_steps
from attnscape.experiments.tuning import final_losses
from attnscape.measures import EvaluationLoss, Schedule
from attnscape.optimizers import NAMED, OptaxFactory
from attnscape.paper.extended.base import WithoutOwnParts, first_seeds, shortened
from attnscape.paper.settings import MAIN
from attnscape.statistics import Interval, geometric_mean, no_interval

COMPARED = ("sgdm", "newton", "gauss-newton", "newton-cg")  # with Adam
_STEPS = 200  # a step costs as much as ten to a hundred of SGDM
_SEEDS = 6
# Found for runs of this length by the rule of `attnscape.experiments.tuning` on its first three
# tuning seeds, from grids of two to six rates that go on where the best lies on their edge.
RATES: Mapping[str, Mapping[str, float]] = {
    "setting-1": {"sgdm": 0.2, "adam": 0.1, "newton": 1.0, "gauss-newton": 1.0, "newton-cg": 0.1},
    "setting-2": {"sgdm": 0.02, "adam": 0.05, "newton": 1.0, "gauss-newton": 1.0, "newton-cg": 0.1},
    "setting-3": {"sgdm": 0.1, "adam": 0.05, "newton": 0.5, "gauss-newton": 1.0, "newton-cg": 0.1},
}
# By the same losses, each with its best rate: of 0.1 and 1, for gauss-newton also 0.01. (For newton
# 0.01 is worse than both in Settings 1 and 2.)
DAMPING: Mapping[str, Mapping[str, float]] = {
    "setting-1": {"newton": 1.0, "gauss-newton": 0.01, "newton-cg": 0.1},
    "setting-2": {"newton": 1.0, "gauss-newton": 0.1, "newton-cg": 0.1},
    "setting-3": {"newton": 1.0, "gauss-newton": 1.0, "newton-cg": 1.0},
}


@dataclasses.dataclass(frozen=True)
class SecondOrderAnalysis(Analysis):
    """Final losses.

    Attributes:
        ratios: Final loss over Adam's, by setting and optimizer (without Adam).
        of_seeds: The same of each seed; infinite or NaN where a run diverged.
        diverged: Number of diverged runs, by setting and optimizer, where there are any.
    """

    ratios: Mapping[tuple[str, str], Interval]
    of_seeds: Mapping[tuple[str, str], np.ndarray]
    diverged: Mapping[tuple[str, str], int]


@dataclasses.dataclass(frozen=True)
class SecondOrder(WithoutOwnParts, Artifact[SecondOrderAnalysis]):
    """One column for each setting: losses, and final losses over Adam's."""

    takes_rates = False  # it has its own, for short runs

    def experiments(self, plan: Plan) -> Mapping[str, Experiment]:
        return {setting.name: _experiment(setting, plan) for setting in self.settings}

    def analyse(self, results: Results) -> SecondOrderAnalysis:
        """The frame has one row for each run and measured step.

        The columns are setting, optimizer, learning_rate, seed, step and loss (median over the
        fixed batches).
        """
        runs = ["setting", "optimizer", "learning_rate", "seed", "step"]
        frame = tidy(results, ["loss"]).groupby(runs, sort=False, dropna=False)["loss"]
        of_seeds, diverged = {}, {}
        for name, dataset in results.items():
            last = list(evaluated_steps(int(dataset.attrs["steps"])))
            losses = final_losses(dataset.sel(step=last))
            table = losses.pivot(index="seed", columns="optimizer", values="loss")
            for optimizer in (*COMPARED, "adam"):
                if lost := int(np.isinf(table[optimizer]).sum()):
                    diverged[name, optimizer] = lost
            with np.errstate(invalid="ignore"):
                over = table.div(table["adam"], axis="index")
            of_seeds |= {(name, each): over[each].to_numpy() for each in COMPARED}
        ratios = {key: _mean(values) for key, values in of_seeds.items()}
        return SecondOrderAnalysis(
            results, frame.median().reset_index(), ratios, of_seeds, diverged
        )

    def comparison(self, analysis: SecondOrderAnalysis) -> pd.DataFrame:
        """The columns are setting, quantity, ours, low, high (95 % interval) and seeds."""
        rows = [
            (setting, f"final loss, {optimizer} over Adam", r.estimate, r.low, r.high, r.n)
            for (setting, optimizer), r in analysis.ratios.items()
        ]
        columns = ["setting", "quantity", "ours", "low", "high", "seeds"]
        return pd.DataFrame(rows, columns=columns)

    def caption(self, analysis: SecondOrderAnalysis, plan: Plan) -> str:
        ratios = "; ".join(
            f"{setting.name} "
            + ", ".join(
                f"{optimizer} {ends(ratio)}"
                for (name, optimizer), ratio in analysis.ratios.items()
                if name == setting.name
            )
            for setting in self.settings
        )
        dataset = next(iter(analysis.results.values()))
        rates = "; ".join(
            f"{setting.name} " + ", ".join(f"{n} {r:g}" for n, r in RATES[setting.name].items())
            for setting in self.settings
        )
        dampings = "; ".join(
            f"{setting.name} " + ", ".join(f"{n} {r:g}" for n, r in DAMPING[setting.name].items())
            for setting in self.settings
        )
        lost = ", ".join(f"{s} {o} {count}" for (s, o), count in analysis.diverged.items())
        details = [
            f"After {int(dataset.attrs['steps']):,} steps; {seeds_in_words(analysis.results)}. "
            f"Loss: median over {batches_in_words(dataset)}; final loss: also over the last tenth "
            "of the steps. Above: median over seeds, bands from smallest to largest. Below: "
            "geometric mean over seeds of the final loss over Adam's on the same prompts, with its "
            "95 % interval; a dot for each seed; below 1 it beats Adam.",
            "newton: saddle-free, the gradient times (|H| + damping)^-1 with the exact Hessian H "
            "of the step's batch; gauss-newton: the same with the Hessian's Gauss-Newton part, "
            "which has no negative eigenvalues; newton-cg: at most 20 conjugate gradients on H + "
            "damping, ended by negative curvature. All start from the clipped gradient, like SGDM "
            "and Adam, and none has momentum. Their steps cost far more than those of SGDM and "
            "Adam, a dense Hessian or up to 20 products with it; no such cost is in the figure, "
            "whose axis counts steps.",
            f"Learning rates, searched for at this length: {rates} (the recipe `code` at full "
            "length; smallest median final loss over three seeds of their own, among rates at "
            "which no run diverged, on the 1-2-5 sequence). Dampings, by the same losses, of 0.1 "
            f"and 1, for gauss-newton also 0.01: {dampings}. Where it is the largest or smallest "
            "of these, a better one may lie beyond.",
            f"Diverged runs, whose setting has no interval: {lost}." * bool(lost),
            conventions(plan, self.settings),
            self.remark,
        ]
        return f"Final loss over Adam's: {ratios}.\n\n{' '.join(filter(None, details))}"


def _experiment(setting: Setting, plan: Plan) -> Experiment:
    steps = shortened(_STEPS, setting, plan)
    rates = RATES[setting.name]
    schedule = Schedule(every=max(1, steps // 50), steps=evaluated_steps(steps))
    return setting.experiment(
        plan,
        name=f"{setting.name}-second-order",
        optimizers={name: _factory(setting.name, name) for name in rates},
        learning_rates={name: (rate,) for name, rate in rates.items()},
        seeds=first_seeds(_SEEDS, plan),
        steps=steps,
        measures=(EvaluationLoss(schedule),),
    )


def _factory(setting: str, optimizer: str) -> OptaxFactory:
    """The named optimizer, with the damping that was found if it has one."""
    damping = DAMPING[setting].get(optimizer)
    factory: Any = NAMED[optimizer]
    return factory if damping is None else functools.partial(factory, damping=damping)


def _mean(ratios: np.ndarray) -> Interval:
    """Geometric mean over seeds; no interval if a run diverged."""
    lost = not (np.isfinite(ratios) & (ratios > 0)).all()
    return no_interval(np.nan, ratios.size) if lost else geometric_mean(ratios)


SECOND_ORDER = SecondOrder(
    "second-order",
    "Newton, Gauss-Newton and conjugate gradients with exact curvature beside SGDM and Adam",
    "Adam's steps go in directions of less curvature than those of SGD (Pan and Li, 2023), without "
    "any second derivative.",
    MAIN,
)

"""Sharpness along full-batch gradient descent and Adam, against the edge of stability.

Gradient descent at rate eta is unstable on a quadratic whose largest Hessian eigenvalue, the
sharpness, is above 2 / eta. Cohen et al. (2021, "Gradient descent on neural networks typically
occurs at the edge of stability", arXiv 2103.00065) find that the sharpness of networks rises to
2 / eta (progressive sharpening) and then stays there. Cohen et al. (2022, "Adaptive gradient
methods at the edge of stability", arXiv 2207.14484) find the same for Adam's preconditioned
sharpness and (2 + 2 beta1) / ((1 - beta1) eta), which is 38 / eta for beta1 = 0.9.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from attnscape.experiments.artifact import Analysis, Artifact, Results
from attnscape.experiments.captions import diverged_in_words, ends, initial_model, seeds_in_words
from attnscape.experiments.experiment import Experiment
from attnscape.experiments.runs import tidy
from attnscape.experiments.setting import Plan, Setting
from attnscape.measures import Curvature, EvaluationLoss, Schedule
from attnscape.optimizers import NAMED
from attnscape.paper.extended.base import WithoutOwnParts
from attnscape.paper.settings import SETTING_1
from attnscape.statistics import Interval, geometric_mean, proportion
from attnscape.tasks import FixedPrompts

FULL_BATCH = 1024  # prompts, drawn once
RATES: Mapping[str, tuple[float, ...]] = {
    "sgd": (0.005, 0.01, 0.02, 0.05),
    "adam": (0.0005, 0.001, 0.002, 0.005),
}
EDGES: Mapping[str, float] = {"sgd": 2.0, "adam": 38.0}  # times 1 / eta; Adam: beta1 = 0.9
_STEPS = 4_000
_SEEDS = 6
# Denser at first, where the sharpness falls and rises fast.
_SCHEDULE = Schedule(every=100, steps=(1, 2, 5, 10, 20, 50, 150, 250))


@dataclasses.dataclass(frozen=True)
class Edge:
    """Sharpness over the edge at one rate of an optimizer, over seeds.

    Attributes:
        lowest: The smallest value along training, geometric mean.
        peak: The largest value along training, geometric mean.
        later: The median over the second half of the steps, geometric mean.
        reached: The share of runs with a value of at least 1 at some step after one below 1.
    """

    lowest: Interval
    peak: Interval
    later: Interval
    reached: Interval


@dataclasses.dataclass(frozen=True)
class EdgeAnalysis(Analysis):
    """Sharpness along training.

    Attributes:
        edges: By setting, optimizer and learning rate.
    """

    edges: Mapping[tuple[str, str, float], Edge]


@dataclasses.dataclass(frozen=True)
class EdgeOfStability(WithoutOwnParts, Artifact[EdgeAnalysis]):
    """Sharpness (Adam: preconditioned) and loss along full-batch training at several rates."""

    takes_rates = False  # it has several

    about = "has rates for the paper's setting"

    def experiments(self, plan: Plan) -> Mapping[str, Experiment]:
        return {setting.name: _full_batch(setting, plan) for setting in self.settings}

    def analyse(self, results: Results) -> EdgeAnalysis:
        """The frame has one row for each run and measured step.

        The columns are setting, optimizer, learning_rate, seed, step, loss, sharpness, edge and
        ratio (sharpness over edge); Adam has no preconditioner, and so no sharpness, at step 0.
        """
        frame = tidy({name: _with_sharpness(each) for name, each in results.items()},
                     ["loss", "sharpness"])  # fmt: skip
        edge = frame["optimizer"].map(EDGES) / frame["learning_rate"]
        frame = frame.assign(edge=edge, ratio=frame["sharpness"] / edge).drop(columns="evaluation")
        groups = frame.groupby(["setting", "optimizer", "learning_rate"], sort=False)
        edges = {
            (str(setting), str(optimizer), float(str(rate))): _edge(runs)
            for (setting, optimizer, rate), runs in groups
        }
        return EdgeAnalysis(results, frame, edges)

    def comparison(self, analysis: EdgeAnalysis) -> pd.DataFrame:
        """The columns are setting, optimizer, learning_rate, quantity, ours, low and high."""
        names = {
            "lowest": "smallest sharpness / edge",
            "peak": "largest sharpness / edge after the smallest",
            "later": "sharpness / edge, median over the second half",
            "reached": "share of runs that reach the edge from below",
        }
        rows = [
            (*key, words, interval.estimate, interval.low, interval.high)
            for key, edge in analysis.edges.items()
            for name, words in names.items()
            for interval in [getattr(edge, name)]
        ]
        columns = ["setting", "optimizer", "learning_rate", "quantity", "ours", "low", "high"]
        return pd.DataFrame(rows, columns=columns)

    def caption(self, analysis: EdgeAnalysis, plan: Plan) -> str:
        def over_rates(optimizer: str, name: str) -> str:
            return ", ".join(
                f"{ends(getattr(edge, name))} at {rate:g}"
                for (_, of, rate), edge in analysis.edges.items()
                if of == optimizer
            )

        last = int(analysis.frame["step"].max())
        sentence = (
            "In the second half of training the sharpness over the edge of stability is, for "
            f"gradient descent, {over_rates('sgd', 'later')}, and for Adam "
            f"{over_rates('adam', 'later')} (learning rates; brackets: 95 % intervals over seeds)."
        )
        details = [
            f"Full batch: {FULL_BATCH} prompts, drawn once, that every one of {last:,} updates "
            "uses and on which loss and Hessian are computed (in double precision); no clipping; "
            f"{seeds_in_words(analysis.results)}, which differ in the initial model. Upper row: "
            "sharpness, the largest eigenvalue of the Hessian (gradient descent) or of the Hessian "
            "preconditioned by Adam's divisor (beta1 = beta2 = 0.9); dashed: the edge of "
            "stability, 2 / eta or (2 + 2 beta1) / ((1 - beta1) eta) = 38 / eta, in the colour of "
            "the rate eta. Lower row: loss. Lines: median over seeds; bands: smallest to largest.",
            "Geometric means over seeds of the sharpness over the edge where it is smallest: "
            f"gradient descent {over_rates('sgd', 'lowest')}; Adam {over_rates('adam', 'lowest')}. "
            f"Where it is largest after that: gradient descent {over_rates('sgd', 'peak')}; Adam "
            f"{over_rates('adam', 'peak')}. Share of runs that reach the edge from below: gradient "
            f"descent {over_rates('sgd', 'reached')}; Adam {over_rates('adam', 'reached')}. All of "
            "runs that did not diverge.",
            f"{initial_model(plan, self.settings)}.",
            diverged_in_words(analysis.results),
            self.remark,
        ]
        return f"{sentence}\n\n{' '.join(filter(None, details))}"


def _full_batch(setting: Setting, plan: Plan) -> Experiment:
    experiment = setting.experiment(plan)
    return dataclasses.replace(
        experiment,
        name=f"{experiment.name}-full-batch",
        task=FixedPrompts(setting.task, FULL_BATCH),
        optimizers={name: NAMED[name] for name in RATES},
        learning_rates=RATES,
        seeds=experiment.seeds[:_SEEDS],
        steps=min(_STEPS, experiment.steps),
        batch=FULL_BATCH,
        clip=None,  # the edge is that of steps proportional to the gradient
        measures=(EvaluationLoss(_SCHEDULE), Curvature(_SCHEDULE)),
        evaluation_batch=FULL_BATCH,
        evaluation_seeds=(0,),
    )


def _with_sharpness(dataset: xr.Dataset) -> xr.Dataset:
    """The result with `sharpness`, that of the preconditioned Hessian for Adam."""
    plain = dataset["hessian_eigenvalues"].max("eigenvalue")
    sharpness = plain.where(dataset["optimizer"] != "adam", dataset["preconditioned_sharpness"])
    return dataset.assign(sharpness=sharpness)


def _edge(runs: pd.DataFrame) -> Edge:
    table = runs.pivot(index="step", columns="seed", values="ratio")
    first = table.index[table.notna().any(axis=1)]
    # The sharpness of a diverged run ends with it: such a run counts in none of these.
    whole = table.loc[first].notna().all()
    later = table[table.index.to_numpy() >= runs["step"].max() / 2]
    # The sharpness of the initial model may be large too: a rise begins at the lowest point.
    rise = table.where(table.index.to_numpy()[:, None] >= table.fillna(np.inf).idxmin().to_numpy())
    lowest, peak, middle = (
        geometric_mean(each.where(whole).to_numpy(np.float64))
        for each in (table.min(), rise.max(), later.median())
    )
    reached = ((rise >= 1).any() & (table.min() < 1))[whole]
    return Edge(lowest, peak, middle, proportion(int(reached.sum()), reached.size))


EDGE_OF_STABILITY = EdgeOfStability(
    "edge-of-stability",
    "Full-batch gradient descent and Adam at the edge of stability",
    "The sharpness rises to 2 / eta under full-batch gradient descent, and the preconditioned "
    "sharpness to 38 / eta under Adam, and stays there (Cohen et al., 2021 and 2022, on networks).",
    (SETTING_1,),
)

"""SGD and Adam with and without momentum, on real networks and on the linear model.

The paper shows only the variants with momentum, "as they perform better in all cases".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from attnscape.experiments.artifact import Analysis, Results
from attnscape.experiments.captions import ends
from attnscape.experiments.computation import Computation
from attnscape.experiments.network_tuning import RateSearch
from attnscape.experiments.runs import first_evaluation, tidy
from attnscape.experiments.setting import Plan, Setting
from attnscape.paper.networks import jobs, linear
from attnscape.paper.networks.base import NetworkArtifact, how_trained, titles
from attnscape.paper.networks.losses import FIG1, NetworkLosses, curves, final_losses
from attnscape.paper.optimizers import FOUR, MOMENTUM_PAIRS
from attnscape.paper.settings import MAIN
from attnscape.statistics import Interval, geometric_mean, no_interval


@dataclasses.dataclass(frozen=True)
class MomentumAnalysis(Analysis):
    """Losses with and without momentum.

    Attributes:
        made: The runs of each workload.
        titles: The title of each system.
        ratios: Final loss without momentum over that with it, by (system, optimizer with it).
    """

    made: Mapping[str, xr.Dataset]
    titles: Mapping[str, str]
    ratios: Mapping[tuple[str, str], Interval]


@dataclasses.dataclass(frozen=True)
class Momentum(NetworkArtifact[MomentumAnalysis]):
    """One panel for each workload and each setting, one line for each of four optimizers.

    Attributes:
        linear_settings: The linear model's settings.
    """

    linear_settings: tuple[Setting, ...] = MAIN

    def searches(self, plan: Plan) -> Mapping[str, RateSearch]:
        found = dict(super().searches(plan))
        return found | {
            _key(setting): linear.rate_search(setting, plan, FOUR)
            for setting in self.linear_settings
        }

    def experiments(self, plan: Plan) -> Mapping[str, Computation]:
        networks = NetworkLosses("", "", "", workloads=self.workloads, optimizers=FIG1.optimizers)
        runs = dict(networks.experiments(plan))
        seeds = jobs.seeds_of(plan)
        for setting in self.linear_settings:
            found = plan.searches[_key(setting)].rates
            rates = {name: (found[name],) for name in FOUR}
            runs[setting.name] = linear.experiment(setting, plan, FOUR, rates, seeds)
        return runs

    def analyse(self, results: Results) -> MomentumAnalysis:
        """The frame has one row for each run and measured step.

        The columns are workload (or setting), optimizer, learning_rate, seed, step, loss (networks:
        on fixed training batches; settings: on the first evaluation batch).
        """
        made = jobs.by_workload({key: each for key, each in results.items() if "|" in key})
        found = titles(made)
        columns = ["workload", "optimizer", "learning_rate", "seed", "step", "loss"]
        frames = [curves(name, each)[columns] for name, each in made.items()]
        systems = dict(made)
        for setting in self.linear_settings:
            dataset = systems[setting.name] = results[setting.name]
            found[setting.name] = setting.title.replace(": ", "\n")
            losses = first_evaluation(tidy({setting.name: dataset}, ["loss"]))
            frames.append(losses.rename(columns={"setting": "workload"})[columns])
        ratios = {
            (name, momentum): _ratio(dataset, without, momentum)
            for name, dataset in systems.items()
            for without, momentum in MOMENTUM_PAIRS
        }
        frame = pd.concat(frames, ignore_index=True)
        return MomentumAnalysis(results, frame, made, found, ratios)

    def comparison(self, analysis: MomentumAnalysis) -> pd.DataFrame:
        rows = []
        for (name, momentum), ratio in analysis.ratios.items():
            title = analysis.titles[name].partition("\n")[0]
            quantity = f"final loss without momentum over with it, {momentum}"
            rows.append((title, quantity, ratio.estimate, ratio.low, ratio.high, ratio.n))
        return pd.DataFrame(rows, columns=["system", "quantity", "ours", "low", "high", "seeds"])

    def caption(self, analysis: MomentumAnalysis, plan: Plan) -> str:
        better = sum(ratio.above(1.0) for ratio in analysis.ratios.values())
        worse = sum(ratio.below(1.0) for ratio in analysis.ratios.values())
        first = (
            f"Training loss with and without momentum: of {len(analysis.ratios)} pairs, momentum "
            f"is better in {better} and worse in {worse} by the 95 % interval over seeds."
        )
        words = "; ".join(
            f"{analysis.titles[name].partition(chr(10))[0]} {momentum} {ends(ratio)}"
            for (name, momentum), ratio in analysis.ratios.items()
        )
        details = [
            "Each optimizer at its own searched rate. Final loss without momentum over that with "
            f"it, geometric mean over seeds: {words}. Diverged runs leave no interval. The linear "
            "model's Adam has beta2 = 0.9.",
            how_trained(analysis.made, plan),
            self.left_out(analysis.made),
        ]
        return f"{first}\n\n{' '.join(filter(None, details))}"


def _key(setting: Setting) -> str:
    return f"{setting.name}, momentum"


def _ratio(dataset: xr.Dataset, without: str, momentum: str) -> Interval:
    with np.errstate(invalid="ignore"):
        ratios = final_losses(dataset, without) / final_losses(dataset, momentum)
    if not np.isfinite(ratios).all():
        return no_interval(np.nan, ratios.size)
    return geometric_mean(ratios)


MOMENTUM = Momentum(
    "momentum",
    "With and without momentum: the linear model and real networks",
    "Variants with momentum perform better in all cases.",
    workloads=("mnist-lenet5", "ptb-transformer"),
)

"""Whether the ranking of optimizers on the linear model predicts that on real networks.

Every optimizer gets the same search for its learning rate on every system, and the same number of
steps within a system.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from attnscape.experiments.artifact import Analysis, Results
from attnscape.experiments.computation import Computation
from attnscape.experiments.network_tuning import RateSearch
from attnscape.experiments.runs import of_optimizer
from attnscape.experiments.setting import Plan, Setting
from attnscape.optimizers import NAMED, Factory
from attnscape.paper.networks import jobs, linear
from attnscape.paper.networks.base import NetworkArtifact
from attnscape.paper.networks.base import titles as network_titles
from attnscape.paper.networks.jobs import RunKey
from attnscape.paper.networks.losses import final_losses
from attnscape.paper.networks.optimizers import has_soap, soap
from attnscape.paper.settings import DEPTHS, MAIN, SPHERE
from attnscape.paper.variants import SOFTMAX
from attnscape.statistics import RankCorrelation, rank_correlation

OPTIMIZERS = (
    "sgdm",
    "nesterov",
    "normalised",
    "sign",
    "signum",
    "lion",
    "rmsprop",
    "adam",
    "adamw",
    "adafactor",
    "muon",
    "schedule-free",
    "soap",
)
_STEPS = 1_000  # of the linear model
_KINDS = ("spearman", "kendall")


@dataclasses.dataclass(frozen=True)
class TransferAnalysis(Analysis):
    """Losses of all optimizers on all systems, and how their rankings agree.

    Attributes:
        titles: The title of each system.
        networks: Names of the systems that are networks.
        correlations: Rank correlation of the losses on two systems, by (kind, system, network).
    """

    titles: Mapping[str, str]
    networks: tuple[str, ...]
    correlations: Mapping[tuple[str, str, str], RankCorrelation]


@dataclasses.dataclass(frozen=True)
class Transfer(NetworkArtifact[TransferAnalysis]):
    """Optimizers ranked on settings of the linear model and on networks.

    Attributes:
        linear_settings: The linear model's settings.
        optimizers: Names of the optimizers.
    """

    tables_on_page = True

    linear_settings: tuple[Setting, ...] = (*MAIN, SPHERE, DEPTHS[0], SOFTMAX)
    optimizers: tuple[str, ...] = OPTIMIZERS

    def obstacle(self, plan: Plan) -> str:
        if found := super().obstacle(plan):
            return found
        if "soap" not in self.optimizers or has_soap():
            return ""
        return (
            f"{self.name} ranks SOAP, which pytorch-optimizer has; install the extra with "
            "pip install 'attnscape[networks]'."
        )

    def searches(self, plan: Plan) -> Mapping[str, RateSearch]:
        factories = self._factories
        found = {
            _key(setting.name): linear.rate_search(setting, plan, factories, steps=_STEPS)
            for setting in self.linear_settings
        }
        return found | {
            _key(name): jobs.rate_search(network, factories, steps=_network_steps(network))
            for name, network in jobs.available(self.workloads, plan).items()
        }

    def experiments(self, plan: Plan) -> Mapping[str, Computation]:
        from attnscape.networks import Schedules

        factories, seeds = self._factories, jobs.seeds_of(plan)
        runs: dict[str, Computation] = {}
        for setting in self.linear_settings:
            found = plan.searches[_key(setting.name)].rates
            rates = {name: (found[name],) for name in factories}
            runs[setting.name] = linear.experiment(
                setting, plan, factories, rates, seeds, steps=_STEPS
            )
        for name, network in jobs.available(self.workloads, plan).items():
            found = plan.searches[_key(name)].rates
            steps = _network_steps(network)
            schedules = Schedules(loss=max(1, steps // 40))
            for optimizer, factory in factories.items():
                for seed in seeds:
                    run = network.run(
                        optimizer, factory, found[optimizer], seed, schedules, steps=steps
                    )
                    runs[str(RunKey(name, optimizer, seed))] = run
        return runs

    @property
    def _factories(self) -> dict[str, Factory]:
        return {name: soap() if name == "soap" else NAMED[name] for name in self.optimizers}

    def analyse(self, results: Results) -> TransferAnalysis:
        """The frame has one row for each system, optimizer and seed.

        The columns are system, data, optimizer, learning_rate, seed, loss: the median over the
        last tenth of the steps, infinite if the run diverged.
        """
        made = jobs.by_workload({key: each for key, each in results.items() if "|" in key})
        systems = {each.name: results[each.name] for each in self.linear_settings} | made
        names = {each.name: each.title.replace(": ", "\n") for each in self.linear_settings}
        names |= network_titles(made)
        losses = {
            name: np.array([final_losses(each, optimizer) for optimizer in self.optimizers])
            for name, each in systems.items()
        }
        correlations = {
            (kind, one, network): rank_correlation(losses[one], losses[network], kind=kind)
            for kind in _KINDS
            for network in made
            for one in systems
            if one != network
        }
        frame = pd.concat(
            [self._losses(name, each, losses[name]) for name, each in systems.items()],
            ignore_index=True,
        )
        return TransferAnalysis(results, frame, names, tuple(made), correlations)

    def _losses(self, name: str, dataset: xr.Dataset, losses: np.ndarray) -> pd.DataFrame:
        rows = []
        for optimizer, of_seeds in zip(self.optimizers, losses, strict=True):
            rate = float(of_optimizer(dataset, optimizer)["learning_rate"])
            for seed, loss in zip(dataset["seed"].values, of_seeds, strict=True):
                rows.append((name, dataset.attrs.get("data", ""), optimizer, rate, seed, loss))
        columns = ["system", "data", "optimizer", "learning_rate", "seed", "loss"]
        return pd.DataFrame(rows, columns=columns)

    def tables(self, analysis: TransferAnalysis, plan: Plan) -> Mapping[str, pd.DataFrame]:
        return {
            f"{kind.capitalize()} correlation of the optimizers' losses: estimate, 95 % interval "
            "over seeds, p-value over permutations of the optimizers.": self._correlations(
                analysis, kind
            )
            for kind in _KINDS
        } | {"Median final losses, with their ranks.": _ranking(analysis.frame, analysis.titles)}

    def _correlations(self, analysis: TransferAnalysis, kind: str) -> pd.DataFrame:
        rows = []
        for one in analysis.titles:
            row = {"system": _short(analysis.titles[one])}
            for network in analysis.networks:
                found = analysis.correlations.get((kind, one, network))
                heading = _short(analysis.titles[network])
                row[heading] = "" if found is None else _in_words(found)
            rows.append(row)
        return pd.DataFrame(rows)

    def caption(self, analysis: TransferAnalysis, plan: Plan) -> str:
        best = self.best(analysis)
        words = "; ".join(
            f"{_short(analysis.titles[network])} best from {_short(analysis.titles[one])} "
            f"({_in_words(found)})"
            for network, (one, found) in best.items()
        )
        seeds = len(jobs.seeds_of(plan))
        first = (
            f"Rank correlation (Spearman) of {len(self.optimizers)} optimizers' final losses "
            f"between settings of the linear model and real networks, {seeds} seeds."
        )
        details = [
            f"Highest of {len(self.linear_settings)} settings, chosen after the fact: {words}.",
            "Final loss: training loss, median over the last tenth of the steps; a diverged run is "
            "the worst. Every optimizer has the same search on every system: decades from 1e-4 to "
            "1, further ones if the best lies at the edge, then the half-decades beside the best; "
            "2 tuning seeds; rates at which a run diverges are out. Optimizers are the same "
            "functions on both sides, so Adam has beta2 = 0.9. Intervals are over seeds, for these "
            "optimizers and rates; where groups of optimizers are nearly tied on one system, they "
            "can be too narrow: in the worst of the cases simulated, with 24 seeds, intervals at "
            "95 % cover 79 % with 10 optimizers and 32 % with 20. The p-value is over permutations "
            "of the optimizers.",
            "SOAP is pytorch-optimizer's, with that package's defaults (betas 0.95, weight decay "
            "0.01 times the rate; its first step only begins the preconditioners)."
            * ("soap" in self.optimizers),
            f"Linear model: {self._linear_steps(analysis):,} steps, batches of 1,000 prompts, "
            "clipped at the setting's norm. "
            f"Networks: half of the steps of size `{plan.network_size}`, data `{plan.data}`, "
            "not clipped.",
            self.left_out(analysis.networks),
        ]
        return f"{first}\n\n{' '.join(filter(None, details))}"

    def _linear_steps(self, analysis: TransferAnalysis) -> int:
        return int(analysis.results[self.linear_settings[0].name]["step"][-1])

    def best(self, analysis: TransferAnalysis) -> dict[str, tuple[str, RankCorrelation]]:
        """For each network, the setting whose ranking is closest, by Spearman's correlation."""
        found = {}
        for network in analysis.networks:
            candidates = {
                each.name: analysis.correlations["spearman", each.name, network]
                for each in self.linear_settings
            }
            # NaN if all optimizers diverged somewhere.
            estimates = {one: each.over_seeds.estimate for one, each in candidates.items()}
            name = max(estimates, key=lambda one: np.nan_to_num(estimates[one], nan=-2))
            found[network] = name, candidates[name]
        return found


def _network_steps(network: jobs.Network) -> int:
    """Half of the size's steps: some 200 runs of each network must fit into the budget."""
    return max(1, network.size.steps // 2)


def _key(system: str) -> str:
    return f"{system}, transfer"


def _short(title: str) -> str:
    return title.partition("\n")[0]


def _in_words(found: RankCorrelation) -> str:
    interval = found.over_seeds
    words = f"{interval.estimate:.2f}"
    if not np.isnan(interval.low):
        words += f" [{interval.low:.2f}, {interval.high:.2f}]"
    return f"{words}, p = {found.p_value:.2g}"


def _ranking(frame: pd.DataFrame, titles: Mapping[str, str]) -> pd.DataFrame:
    """One row for each optimizer, one column for each system: median loss and rank."""
    medians = frame.pivot_table(
        index="optimizer", columns="system", values="loss", aggfunc="median", sort=False
    )
    ranks = medians.rank(method="average")
    table = pd.DataFrame({"optimizer": medians.index})
    for name in medians.columns:
        cells = [
            f"{loss:.3g} ({rank:g})" if np.isfinite(loss) else f"diverged ({rank:g})"
            for loss, rank in zip(medians[name], ranks[name], strict=True)
        ]
        table[_short(titles[name])] = cells
    return table


TRANSFER = Transfer(
    "transfer",
    "Does the linear model predict the ranking of optimizers on real networks?",
    "",
    workloads=("ptb-transformer", "mnist-lenet5", "softmax-regression"),
)

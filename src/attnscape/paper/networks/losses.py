"""Loss curves of real networks (Fig. 1, left half of Fig. 2, momentum, full batches)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from attnscape.experiments.artifact import Analysis, Results
from attnscape.experiments.computation import Computation
from attnscape.experiments.network_tuning import RateSearch
from attnscape.experiments.runs import measured, of_optimizer, over_evaluations
from attnscape.experiments.setting import Plan
from attnscape.paper.networks import jobs
from attnscape.paper.networks.base import NetworkArtifact, how_trained
from attnscape.paper.networks.jobs import POINTS, RunKey
from attnscape.paper.networks.optimizers import FOUR, WITH_MOMENTUM
from attnscape.statistics import Interval, geometric_mean, no_interval
from attnscape.training import Status

_FULL_BATCH_PASSES = 2  # times the passes of small batches; 8 in Kunstner et al. (2023)
# At the small size: eight of its batches. All its data would leave time for a dozen updates.
_FULL_BATCH_DATA = {"mnist-lenet5": {"examples": 512}, "ptb-transformer": {"tokens": 4_500}}
_LAST_SHARE = 0.1  # a run's final loss is the median over its last tenth


@dataclasses.dataclass(frozen=True)
class NetworkCurves(Analysis):
    """Losses along training, and how much lower Adam ends.

    Attributes:
        made: The runs of each workload.
        gaps: Final loss of SGDM over Adam's, by workload.
    """

    made: Mapping[str, xr.Dataset]
    gaps: Mapping[str, Interval]


@dataclasses.dataclass(frozen=True)
class NetworkLosses(NetworkArtifact[NetworkCurves]):
    """One panel for each workload, one line for each optimizer.

    Attributes:
        optimizers: Names of the optimizers.
        full_batch: Whether each update uses all training examples.
    """

    optimizers: tuple[str, ...] = tuple(WITH_MOMENTUM)
    full_batch: bool = False

    def searches(self, plan: Plan) -> Mapping[str, RateSearch]:
        if not self.full_batch:
            return super().searches(plan)
        return {
            self._key(name): jobs.rate_search(network, FOUR, **self._options(network))
            for name, network in self._networks(plan).items()
            if jobs.must_search(self._key(name), plan)
        }

    def experiments(self, plan: Plan) -> Mapping[str, Computation]:
        from attnscape.networks import Schedules

        runs: dict[str, Computation] = {}
        for name, network in self._networks(plan).items():
            rates = jobs.rates_of(self._key(name), plan)
            options = self._options(network)
            schedules = Schedules(loss=max(1, options.get("steps", network.size.steps) // POINTS))
            for optimizer in self.optimizers:
                for seed in jobs.seeds_of(plan):
                    runs[str(RunKey(name, optimizer, seed))] = network.run(
                        optimizer, FOUR[optimizer], rates[optimizer], seed, schedules, **options
                    )
        return runs

    def _networks(self, plan: Plan) -> dict[str, jobs.Network]:
        reduced = self.full_batch and plan.network_size == "small"
        return jobs.available(self.workloads, plan, _FULL_BATCH_DATA if reduced else {})

    def _key(self, workload: str) -> str:
        """The key of the search for a workload's learning rates."""
        return f"{workload}, full batch" if self.full_batch else workload

    def _options(self, network: jobs.Network) -> dict[str, Any]:
        """Further fields of runs with full batches, which have fewer steps but more passes."""
        if not self.full_batch:
            return {}
        in_a_pass = max(1, network.data.examples // network.size.batch)
        steps = max(1, _FULL_BATCH_PASSES * network.size.steps // in_a_pass)
        return {"full_batch": True, "steps": steps}

    def analyse(self, results: Results) -> NetworkCurves:
        """The frame has one row for each run and measured step.

        The columns are workload, data, optimizer, learning_rate, seed, step, loss (on fixed
        training batches) and metric (on test examples); empty once a run has diverged.
        """
        made = jobs.by_workload(results)
        frames = [curves(name, each) for name, each in made.items()]
        gaps = {name: loss_gap(each) for name, each in made.items()}
        return NetworkCurves(results, pd.concat(frames, ignore_index=True), made, gaps)

    def comparison(self, analysis: NetworkCurves) -> pd.DataFrame:
        quantity = "SGDM's final loss over Adam's"
        rows = [
            (analysis.made[name].attrs["title"], quantity, gap.estimate, gap.low, gap.high, gap.n)
            for name, gap in analysis.gaps.items()
        ]
        return pd.DataFrame(rows, columns=["network", "quantity", "ours", "low", "high", "seeds"])

    def caption(self, analysis: NetworkCurves, plan: Plan) -> str:
        seeds = next(iter(analysis.made.values())).sizes["seed"]
        batches = "full batches" if self.full_batch else "small batches"
        names = ", ".join(each.attrs["title"] for each in analysis.made.values())
        first = (
            f"Training loss of {names} with {batches}, on a log axis: median over {seeds} seeds "
            "(lines), smallest to largest seed (bands)."
        )
        details = [
            "The loss is that on fixed training batches, in eval mode. The ratio of final losses "
            "is the geometric mean over seeds; a run's final loss is the median over its last "
            "tenth, and its interval (95 %) is over seeds, for these data and rates.",
            how_trained(analysis.made, plan),
            self.left_out(analysis.made),
            self.remark,
        ]
        return f"{first}\n\n{' '.join(filter(None, details))}"


def curves(name: str, dataset: xr.Dataset) -> pd.DataFrame:
    """One row for each run and measured step of a workload."""
    frame = dataset[["loss", "metric", "status"]].to_dataframe().reset_index()
    measured = frame.groupby("step")["loss"].transform(lambda losses: losses.notna().any())
    frame = frame[measured & (frame["status"] != Status.not_run)]
    frame = frame.assign(workload=name, data=dataset.attrs["data"])
    columns = ["workload", "data", "optimizer", "learning_rate", "seed", "step", "loss", "metric"]
    return frame[columns]


def final_losses(dataset: xr.Dataset, optimizer: str) -> np.ndarray:
    """(seed,) final losses of an optimizer's runs; infinite for runs that diverged.

    A run's final loss is the median over the last tenth of its steps, and over evaluation batches
    if there are several.
    """
    runs = of_optimizer(dataset, optimizer)
    losses = over_evaluations(measured(runs["loss"]))
    last = losses.sel(step=losses["step"] >= (1 - _LAST_SHARE) * int(dataset["step"][-1]))
    final = last.median("step", skipna=False).median("evaluation")
    return np.where((runs["status"] == Status.finished).values, final.values, np.inf)


def loss_gap(dataset: xr.Dataset) -> Interval:
    """SGDM's final loss divided by Adam's: geometric mean over seeds.

    Without an interval if a run diverged: then there is no mean.
    """
    with np.errstate(invalid="ignore"):
        ratios = final_losses(dataset, "sgdm") / final_losses(dataset, "adam")
    if not np.isfinite(ratios).all():
        return no_interval(np.nan, ratios.size)
    return geometric_mean(ratios)


_CAPTION = "Adaptive methods like Adam are much more effective than SGD for training Transformers."
_FIVE = (
    "mnist-lenet5",
    "cifar10-resnet18",
    "ptb-transformer",
    "wikitext2-transformerxl",
    "squad-distilbert",
)
FIG1 = NetworkLosses(
    "fig1",
    "Adam and SGD on real networks (Fig. 1)",
    _CAPTION,
    workloads=_FIVE,
    optimizers=tuple(FOUR),
)
FIG2_LEFT = NetworkLosses(
    "fig2-left",
    "Adam and SGD with momentum on Transformers (Fig. 2, left half)",
    "For Transformer optimization, adaptive methods like Adam are strictly better than SGD.",
    workloads=_FIVE[2:],
)
FULL_BATCH = NetworkLosses(
    "full-batch",
    "Full-batch training of real networks, with and without momentum",
    "",
    workloads=("mnist-lenet5", "ptb-transformer", "softmax-regression"),
    optimizers=tuple(FOUR),
    full_batch=True,
    remark="Learning rates were searched for with full batches. Kunstner et al. (2023) find that "
    "the gap between Adam and SGD does not shrink with full batches.",
)

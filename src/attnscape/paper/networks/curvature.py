"""Robust condition numbers of real networks (left table of Fig. 4)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pandas as pd
import xarray as xr

from attnscape.experiments.artifact import Analysis, Results
from attnscape.experiments.computation import Computation
from attnscape.experiments.setting import Plan
from attnscape.paper.networks import jobs
from attnscape.paper.networks.base import NetworkArtifact, how_trained, runs_of
from attnscape.paper.networks.landscape import condition_frame, landscape_runs
from attnscape.paper.networks.optimizers import WITH_MOMENTUM
from attnscape.statistics import geometric_mean


@dataclasses.dataclass(frozen=True)
class NetworkConditions(Analysis):
    """Ratios of robust condition numbers.

    Attributes:
        made: The runs of each workload.
        layers: The same for each layer; ratios are NaN where the estimate does not resolve them.
    """

    made: Mapping[str, xr.Dataset]
    layers: pd.DataFrame


@dataclasses.dataclass(frozen=True)
class NetworkConditionTable(NetworkArtifact[NetworkConditions]):
    """R_SGD / R_Adam of each workload, pooled over all parameters and for each layer."""

    tables_on_page = True

    def experiments(self, plan: Plan) -> Mapping[str, Computation]:
        networks = jobs.available(self.workloads, plan)
        return landscape_runs(networks, jobs.seeds_of(plan), plan)

    def analyse(self, results: Results) -> NetworkConditions:
        """The frame has one row for each workload, measured step and seed.

        The columns are workload, data, step, seed, sgdm, adam (robust condition numbers over all
        parameters), ratio, low and high (what the errors of the two estimates allow).
        """
        made = jobs.by_workload(results)
        frames = [
            condition_frame(each).assign(workload=name, data=each.attrs["data"])
            for name, each in made.items()
        ]
        columns = ["workload", "data", "step", "seed", "sgdm", "adam", "ratio", "low", "high"]
        frame = pd.concat(frames, ignore_index=True)[columns]
        return NetworkConditions(results, frame, made, _layers(made))

    def comparison(self, analysis: NetworkConditions) -> pd.DataFrame:
        rows = []
        for (name, step), each in analysis.frame.groupby(["workload", "step"], sort=False):
            ratio = geometric_mean(each["ratio"].to_numpy())
            title = analysis.made[str(name)].attrs["title"]
            numbers = (ratio.estimate, ratio.low, ratio.high, ratio.n)
            rows.append((title, f"R_SGD / R_Adam at step {step:,}", *numbers))
        return pd.DataFrame(rows, columns=["network", "quantity", "ours", "low", "high", "seeds"])

    def tables(self, analysis: NetworkConditions, plan: Plan) -> Mapping[str, pd.DataFrame]:
        rows = []
        for (name, step), of_network in analysis.layers.groupby(["workload", "step"], sort=False):
            layers = of_network.groupby("layer", sort=False)["ratio"]
            cells = {
                str(layer): str(geometric_mean(each.to_numpy()))
                for layer, each in layers
                if each.notna().any()
            }
            if lacking := layers.ngroups - len(cells):
                cells[f"{lacking} of {layers.ngroups} layers"] = "not resolved by any seed"
            start = {"network": analysis.made[str(name)].attrs["title"], "step": step}
            rows += [{**start, "layer": layer, "R_SGD / R_Adam": c} for layer, c in cells.items()]
        table = pd.DataFrame(rows, columns=["network", "layer", "step", "R_SGD / R_Adam"])
        return {"For each layer: geometric mean over the seeds that resolve it.": table}

    def caption(self, analysis: NetworkConditions, plan: Plan) -> str:
        names = ", ".join(each.attrs["title"] for each in analysis.made.values())
        first = (
            f"SGDM's robust condition number over Adam's for {names}: the largest entry of the "
            "Hessian's diagonal over the median one."
        )
        how = {each.attrs.get("curvature", "unknown") for each in analysis.made.values()}
        details = [
            f"The Hessian is that of the loss on one fixed batch, in eval mode; its diagonal: "
            f"{', '.join(sorted(how))}. Intervals (95 %) are over seeds, for this batch; the CSV "
            "has for each seed what the error of the estimate allows (low, high). The paper quotes "
            "Jiang et al. (2022) for three layers of a full Transformer: 1.65 (0.65), 1.91 (0.53), "
            "3.54 (1.21) at one step and 2.01 (1.00), 1.43 (0.63), 2.28 (1.18) at a later one.",
            how_trained(analysis.made, plan),
            self.left_out(analysis.made),
        ]
        return f"{first}\n\n{' '.join(filter(None, details))}"


def _layers(made: Mapping[str, xr.Dataset]) -> pd.DataFrame:
    """The columns workload, layer, step, seed, sgdm, adam, ratio."""
    frames = []
    for name, dataset in made.items():
        numbers = {
            optimizer: runs_of(dataset, optimizer)["layer_condition_number"].drop_vars(
                ["optimizer", "learning_rate"]
            )
            for optimizer in WITH_MOMENTUM
        }
        # Steps at which other things are measured have no numbers.
        measured = (
            dataset["layer_largest"]
            .notnull()
            .any([dim for dim in dataset["layer_largest"].dims if dim != "step"])
        )
        steps = dataset["step"][measured & (dataset["step"] > 0)]
        both = xr.Dataset(numbers).sel(step=steps).to_dataframe().reset_index()
        frames.append(both.assign(workload=name, ratio=both["sgdm"] / both["adam"]))
    frame = pd.concat(frames, ignore_index=True)
    return frame[["workload", "layer", "step", "seed", "sgdm", "adam", "ratio"]]


TAB_CONDITION_LEFT = NetworkConditionTable(
    "tab-condition-left",
    "Ratio of robust condition numbers, SGDM over Adam (Fig. 4, left)",
    "SGD ends where the Hessian is worse conditioned than where Adam ends.",
    workloads=("mnist-lenet5", "ptb-transformer", "softmax-regression"),
)

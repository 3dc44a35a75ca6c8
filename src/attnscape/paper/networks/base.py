"""What all artifacts on real networks share: what they need, and how they were made in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping

import numpy as np
import xarray as xr

from attnscape.experiments.artifact import AnalysisT, Artifact
from attnscape.experiments.network_tuning import RateSearch
from attnscape.experiments.setting import Plan
from attnscape.paper.networks import jobs
from attnscape.training import Status


@dataclasses.dataclass(frozen=True)
class NetworkArtifact(Artifact[AnalysisT]):
    """A figure or table on real networks.

    Attributes:
        workloads: Names of the workloads; those whose data are not there are left out.
    """

    workloads: tuple[str, ...] = ()

    def obstacle(self, plan: Plan) -> str:
        return jobs.obstacle(self.name, plan)

    def searches(self, plan: Plan) -> Mapping[str, RateSearch]:
        return jobs.searches(self.workloads, plan)

    def left_out(self, made: Collection[str]) -> str:
        """A sentence on the workloads without data; empty if there are none."""
        lacking = [name for name in self.workloads if name not in made]
        if not lacking:
            return ""
        return f"Left out, because their data are not installed: {', '.join(lacking)}."


def titles(made: Mapping[str, xr.Dataset]) -> dict[str, str]:
    """The title of each workload's panel: the network, and what its data really are."""
    return {name: f"{each.attrs['title']}\n{each.attrs['data']}" for name, each in made.items()}


def how_trained(made: Mapping[str, xr.Dataset], plan: Plan) -> str:
    """Size, steps, batches and learning rates of training runs, and how many diverged."""
    sizes = "; ".join(
        f"{each.attrs['title']} {int(each['step'][-1]):,} steps of {each.attrs['batch']}"
        for each in made.values()
    )
    words = f"Size `{plan.network_size}`, data `{plan.data}`: {sizes}."
    words += (
        " Cross-entropy, no clipping, no schedule; SGD with momentum 0.9 (SGDM) or 0, Adam with "
        f"beta1 = 0.9 or 0 and beta2 = 0.999. {rates(made)}"
    )
    return f"{words} {diverged(made)}".strip()


def rates(made: Mapping[str, xr.Dataset]) -> str:
    """The learning rates, in a sentence."""
    parts = []
    for each in made.values():
        run = (each["status"] != Status.not_run).any("seed")
        pairs = [
            f"{name} {rate:g}"
            for name in each["optimizer"].values
            for rate in each["learning_rate"].values
            if bool(run.sel(optimizer=name, learning_rate=rate))
        ]
        parts.append(f"{each.attrs['title']} " + ", ".join(pairs))
    return (
        "Learning rates, found by a search on tuning seeds of their own (decades, then the "
        "half-decades beside the best): " + "; ".join(parts) + "."
    )


def diverged(made: Mapping[str, xr.Dataset]) -> str:
    """How many runs diverged; empty if none did."""
    parts = []
    for each in made.values():
        lost = (each["status"] == Status.diverged).any("learning_rate").sum("seed")
        parts += [
            f"{each.attrs['title']} {name} {int(lost.sel(optimizer=name))} of {each.sizes['seed']}"
            for name in each["optimizer"].values
            if int(lost.sel(optimizer=name))
        ]
    return f"Diverged: {'; '.join(parts)}." if parts else ""


def runs_of(dataset: xr.Dataset, optimizer: str) -> xr.Dataset:
    """The runs of an optimizer at its one rate, without the dims optimizer and learning_rate."""
    runs = dataset.sel(optimizer=optimizer)
    rate = int(np.flatnonzero((runs["status"] != Status.not_run).any("seed").values)[0])
    return runs.isel(learning_rate=rate)

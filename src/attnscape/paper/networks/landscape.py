"""Runs with everything measured along them, for the curvature and smoothness of networks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from attnscape.experiments.computation import Computation
from attnscape.experiments.setting import Plan
from attnscape.paper.networks import jobs
from attnscape.paper.networks.base import runs_of
from attnscape.paper.networks.jobs import Network, RunKey
from attnscape.paper.networks.optimizers import WITH_MOMENTUM
from attnscape.paper.smoothness import log_slope

_CURVATURES = 2  # at the start and after half of the steps; each takes as long as 600 updates


def landscape_runs(
    networks: dict[str, Network], seeds: Sequence[int], plan: Plan
) -> dict[str, Computation]:
    """SGDM and Adam on each workload, with smoothness and curvature measured along the runs."""
    from attnscape.networks import Schedules

    runs: dict[str, Computation] = {}
    for name, network in networks.items():
        rates = jobs.rates_of(name, plan)
        schedules = Schedules(
            loss=network.every(),
            smoothness=network.every(),
            curvature=max(1, -(-network.size.steps // _CURVATURES)),
        )
        for optimizer, factory in WITH_MOMENTUM.items():
            for seed in seeds:
                run = network.run(optimizer, factory, rates[optimizer], seed, schedules)
                runs[str(RunKey(name, optimizer, seed))] = run
    return runs


def smoothness_frame(dataset: xr.Dataset, optimizer: str) -> pd.DataFrame:
    """One row for each seed and measured step.

    The columns are seed, step, evaluation_gradient_norm, directional_smoothness and
    gradient_difference_smoothness.
    """
    names = [
        "evaluation_gradient_norm",
        "directional_smoothness",
        "gradient_difference_smoothness",
    ]
    frame = runs_of(dataset, optimizer)[names].to_dataframe().reset_index()
    return frame[["seed", "step", *names]].dropna()


def condition_frame(dataset: xr.Dataset) -> pd.DataFrame:
    """SGDM's robust condition number over Adam's, for each seed and measured step after the first.

    The columns are step, seed, sgdm, adam, ratio, and low and high: the ratios of the ends of the
    two estimates' intervals. At the first step the optimizers are at the same point.
    """
    numbers = {}
    for optimizer in WITH_MOMENTUM:
        runs = runs_of(dataset, optimizer)
        names = ["condition_number", "condition_number_low", "condition_number_high"]
        frame = runs[names].to_dataframe().reset_index().set_index(["step", "seed"])[names]
        numbers[optimizer] = frame.rename(columns=lambda name: name.removeprefix("condition_"))
    both = numbers["sgdm"].merge(
        numbers["adam"], left_index=True, right_index=True, suffixes=("_sgdm", "_adam")
    )
    both = both.reset_index()
    measured = both.groupby("step")["number_sgdm"].transform(lambda each: each.notna().any())
    both = both[measured & (both["step"] > 0)]
    return pd.DataFrame(
        {
            "step": both["step"],
            "seed": both["seed"],
            "sgdm": both["number_sgdm"],
            "adam": both["number_adam"],
            "ratio": both["number_sgdm"] / both["number_adam"],
            "low": both["number_low_sgdm"] / both["number_high_adam"],
            "high": both["number_high_sgdm"] / both["number_low_adam"],
        }
    ).reset_index(drop=True)


def median_smoothness_gaps(dataset: xr.Dataset) -> np.ndarray:
    """(seed,) log10 of SGDM's median directional smoothness over Adam's; NaN if one is negative."""
    medians = [
        runs_of(dataset, optimizer)["directional_smoothness"].median("step")
        for optimizer in ("sgdm", "adam")
    ]
    ratio = (medians[0].where(medians[0] > 0) / medians[1].where(medians[1] > 0)).values
    return np.log10(ratio)


def growth_slopes(frame: pd.DataFrame, seeds: Iterable[int]) -> np.ndarray:
    """(seed,) log-log slopes of directional smoothness against the gradient norm.

    NaN for seeds with fewer than two points in the frame.
    """
    return np.array([log_slope(frame[frame["seed"] == seed]) for seed in seeds])

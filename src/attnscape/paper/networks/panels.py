"""What the figure of networks beside the linear model draws of each system."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from attnscape.experiments.runs import first_evaluation, tidy
from attnscape.optimizers import PAPER
from attnscape.paper.networks.landscape import smoothness_frame
from attnscape.paper.networks.losses import curves
from attnscape.paper.networks.noise import seed_norms
from attnscape.paper.networks.similarity import linear_growth, linear_norms
from attnscape.statistics import plotting_positions

_DRAWN = 1_000  # points of a q-q plot


@dataclasses.dataclass(frozen=True)
class Panels:
    """What the figure draws of each system, as tidy frames with the column `system`.

    Attributes:
        losses: optimizer, seed, step, loss.
        noise: noise_norm and gaussian_norm_quantile of the first seed.
        smoothness: optimizer, seed, step, directional_smoothness.
        growth: evaluation_gradient_norm and directional_smoothness of Adam's first seed.
    """

    losses: pd.DataFrame
    noise: pd.DataFrame
    smoothness: pd.DataFrame
    growth: pd.DataFrame


def panels(runs: Mapping[str, xr.Dataset], noises: Mapping[str, xr.Dataset | None]) -> Panels:
    """The panels of systems, from their runs and their noise at initialisation, by name."""
    losses, smoothness, noise, growth = [], [], [], []
    for name, dataset in runs.items():
        network = "evaluation" not in dataset.dims
        losses.append(
            (curves(name, dataset) if network else _linear_losses(dataset)).assign(system=name)
        )
        of_network = smoothness_frame if network else _linear_smoothness
        for optimizer in PAPER:
            each = of_network(dataset, optimizer)
            smoothness.append(each.assign(system=name, optimizer=optimizer))
        adam = smoothness_frame(dataset, "adam") if network else linear_growth(dataset)
        growth.append(adam[adam["seed"] == adam["seed"].min()].assign(system=name))
        if (noise_of := noises[name]) is not None:
            noise.append(_noise_points(noise_of, network).assign(system=name))
    joined = (pd.concat(each, ignore_index=True) for each in (losses, noise, smoothness, growth))
    return Panels(*joined)


def _linear_losses(dataset: xr.Dataset) -> pd.DataFrame:
    """optimizer, seed, step, loss on the first batch."""
    return first_evaluation(tidy({"": dataset}, ["loss"]))[["optimizer", "seed", "step", "loss"]]


def _linear_smoothness(dataset: xr.Dataset, optimizer: str) -> pd.DataFrame:
    """seed, step, directional_smoothness on the first batch."""
    frame = first_evaluation(tidy({"": dataset}, ["directional_smoothness"]))
    mine = frame[frame["optimizer"] == optimizer]
    return mine[["seed", "step", "directional_smoothness"]].dropna()


def _noise_points(noise: xr.Dataset, network: bool) -> pd.DataFrame:
    """Norms of the first seed and the reference's quantiles, both over the reference's mean root.

    At most 1,000 points, so that all systems draw as many.
    """
    if network:
        norms, gaussian = next(iter(seed_norms(noise, "fresh").values()))
    else:
        norms, gaussian = linear_norms(noise)[0]
    positions = plotting_positions(min(norms.size, _DRAWN))
    unit = np.sqrt(gaussian.scale * gaussian.degrees)
    return pd.DataFrame(
        {
            "noise_norm": np.quantile(norms, positions) / unit,
            "gaussian_norm_quantile": gaussian.quantile(positions) / unit,
        }
    )

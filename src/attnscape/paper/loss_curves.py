"""Figure 2, right half: loss of SGDM and Adam along training in Settings 1, 2 and 3."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import xarray as xr

from attnscape.experiment import Experiment
from attnscape.paper.settings import SETTING_1, SETTING_2, SETTING_3

SETTINGS = {s.name: s for s in (SETTING_1, SETTING_2, SETTING_3)}


def experiments(seeds: int, steps: int) -> tuple[Experiment, ...]:
    """One experiment a panel."""
    return tuple(s.experiment(seeds=seeds, steps=steps) for s in SETTINGS.values())


def tidy(results: Mapping[str, xr.Dataset]) -> pd.DataFrame:
    """The columns setting, optimizer, learning_rate, seed, step, loss; a row a measured loss.

    Measurements of diverged runs keep their row, with an empty loss.
    """
    frames = []
    for name, dataset in results.items():
        frame = dataset[["loss", "status"]].to_dataframe().reset_index()
        frame = frame[frame["status"] != 2].drop(columns="status")
        frames.append(frame.assign(setting=name))
    columns = ["setting", "optimizer", "learning_rate", "seed", "step", "loss"]
    return pd.concat(frames, ignore_index=True)[columns]


def caption(results: Mapping[str, xr.Dataset]) -> str:
    """What the figure shows, with every convention in words."""
    dataset = next(iter(results.values()))
    seeds, last = dataset.sizes["seed"], int(dataset["step"][-1])
    return (
        f"Loss of 3-layer linear Transformers along {last:,} steps of SGD with momentum (SGDM) and "
        f"Adam, d = 5, {seeds} seeds, on a log axis. Lines: mean over seeds; bands: smallest to "
        "largest of the seeds. The loss is taken every 50 steps on one fixed batch of 1000 prompts "
        "that all runs share. Recipe `code`: block form of P and Q, initial entries N(0, 0.05^2), "
        "1000 fresh prompts a step, gradients clipped to global norm 1 before the optimizer, "
        "momentum 0.9, Adam with beta1 = beta2 = 0.9. Learning rates (SGDM, Adam): Setting 1 "
        "0.02, 0.02; Setting 2 0.01, 0.005; Setting 3 0.02, 0.02. In Setting 3 the covariates have "
        "one fifth of Setting 1's covariance."
    )

"""What artifacts take from a result: the runs of an optimizer, and numbers derived from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from attnscape.errors import UsageError
from attnscape.estimators import Interval, condition_number
from attnscape.paper.settings import Plan
from attnscape.training import Status


def of_optimizer(dataset: xr.Dataset, optimizer: str) -> xr.Dataset:
    """The runs of an optimizer at its learning rate, without that dim.

    Raises:
        UsageError: If it was run at several learning rates.
    """
    runs = dataset.sel(optimizer=optimizer)
    rates = runs["learning_rate"].values[(runs["status"] != Status.not_run).any("seed").values]
    if rates.size != 1:
        raise UsageError(
            f"{optimizer} was run at {rates.size} learning rates; artifacts compare optimizers at "
            "one each."
        )
    return runs.sel(learning_rate=rates[0])


def condition_numbers(dataset: xr.Dataset, names: Sequence[str]) -> pd.DataFrame:
    """Robust condition numbers along the runs, by the names of `CONDITION_NUMBERS`.

    Returns:
        The columns optimizer, learning_rate, convention, seed, step, condition_number: a row for
        every step at which the Hessian was taken. It is empty for diverged runs and where a
        condition number is not defined.
    """
    frames = []
    taken = (
        dataset["hessian_diagonal"]
        .notnull()
        .any(("optimizer", "learning_rate", "seed", "parameter"))
    )
    for optimizer in dataset["optimizer"].values:
        runs = of_optimizer(dataset, optimizer).isel(step=taken.values)
        of_names = [
            condition_number(
                name,
                eigenvalues=runs["hessian_eigenvalues"],
                diagonal=runs["hessian_diagonal"],
                row_norm=runs["hessian_row_norm"],
            )
            for name in names
        ]
        numbers = xr.DataArray(
            np.stack(of_names),
            coords={"convention": list(names), "seed": runs["seed"], "step": runs["step"]},
            name="condition_number",
        )
        frames.append(
            numbers.to_dataframe()
            .reset_index()
            .assign(optimizer=optimizer, learning_rate=float(runs["learning_rate"]))
        )
    columns = ["optimizer", "learning_rate", "convention", "seed", "step", "condition_number"]
    return pd.concat(frames, ignore_index=True)[columns]


def condition_ratios(dataset: xr.Dataset, names: Sequence[str]) -> pd.DataFrame:
    """SGDM's robust condition number over Adam's, seed by seed.

    Returns:
        The columns convention, step, seed, sgdm, adam, ratio.
    """
    frame = condition_numbers(dataset, names).pivot(
        index=["convention", "step", "seed"], columns="optimizer", values="condition_number"
    )
    frame = frame.assign(ratio=frame["sgdm"] / frame["adam"]).reset_index()
    return frame[["convention", "step", "seed", "sgdm", "adam", "ratio"]]


def check_steps(artifact: str, steps: Sequence[int], plan: Plan) -> None:
    """Raises UsageError if the plan ends before the last of the steps that an artifact needs."""
    if plan.steps is not None and plan.steps < max(steps):
        raise UsageError(
            f"{artifact} compares runs at steps {listed(steps)}, but the plan ends at step "
            f"{plan.steps}; give it at least {max(steps)} steps."
        )


def listed(steps: Sequence[int]) -> str:
    """The steps in words."""
    return " and ".join(map(str, steps))


def with_interval(interval: Interval) -> str:
    """For tables: the estimate and the ends."""
    return f"{interval.estimate:.3g} [{interval.low:.3g}, {interval.high:.3g}]"

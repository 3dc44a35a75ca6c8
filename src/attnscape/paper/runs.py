"""What artifacts take from a result: the runs of an optimizer, and numbers derived from them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import xarray as xr

from attnscape.errors import UsageError
from attnscape.estimators import condition_number
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


def over_evaluations(array: xr.DataArray) -> xr.DataArray:
    """The array with the dim `evaluation`, of length 1 where there was one fixed batch only."""
    return array if "evaluation" in array.dims else array.expand_dims(evaluation=[0])


def measured(array: xr.DataArray) -> xr.DataArray:
    """The array at those steps at which any run was measured."""
    others = [dim for dim in array.dims if dim != "step"]
    return array.isel(step=array.notnull().any(others).values)


def condition_numbers(dataset: xr.Dataset, names: Sequence[str]) -> pd.DataFrame:
    """Robust condition numbers along the runs, by the names of `CONDITION_NUMBERS`.

    Returns:
        The columns optimizer, learning_rate, convention, seed, step, evaluation, condition_number:
        a row for every step and batch on which the Hessian was taken. It is empty for diverged runs
        and where a condition number is not defined.
    """
    columns = ["optimizer", "learning_rate", "convention", "seed", "step", "evaluation"]
    taken = measured(dataset["hessian_diagonal"])
    if taken.sizes["step"] == 0:  # every run diverged at once
        return pd.DataFrame(columns=[*columns, "condition_number"])
    on_batch = (
        over_evaluations(taken).notnull().any(("optimizer", "learning_rate", "seed", "parameter"))
    )
    frames = []
    for optimizer in dataset["optimizer"].values:
        runs = of_optimizer(dataset, optimizer).sel(step=taken["step"])
        of_names = [robust_condition(runs, name) for name in names]
        numbers = xr.concat(of_names, pd.Index(names, name="convention"))
        frame = numbers.to_dataframe("condition_number").reset_index()
        kept = on_batch.to_dataframe("kept")["kept"]
        index = pd.MultiIndex.from_frame(frame[kept.index.names])
        frame = frame[kept.reindex(index).to_numpy()]
        frames.append(frame.assign(optimizer=optimizer, learning_rate=float(runs["learning_rate"])))
    return pd.concat(frames, ignore_index=True)[[*columns, "condition_number"]]


def robust_condition(runs: xr.Dataset, name: str) -> xr.DataArray:
    """The robust condition number of that name, without the dims of the Hessian's entries.

    Args:
        runs: With the Hessian's eigenvalues, diagonal and row norms.
        name: Of `CONDITION_NUMBERS`.
    """
    diagonal = over_evaluations(runs["hessian_diagonal"])
    dims = [dim for dim in diagonal.dims if dim != "parameter"]
    eigenvalues, entries, row_norm = (
        over_evaluations(runs[variable]).transpose(*dims, last).values
        for variable, last in (
            ("hessian_eigenvalues", "eigenvalue"),
            ("hessian_diagonal", "parameter"),
            ("hessian_row_norm", "parameter"),
        )
    )
    values = condition_number(name, eigenvalues=eigenvalues, diagonal=entries, row_norm=row_norm)
    return diagonal.isel(parameter=0, drop=True).transpose(*dims).copy(data=values)


def condition_ratios(dataset: xr.Dataset, names: Sequence[str]) -> pd.DataFrame:
    """SGDM's robust condition number over Adam's, seed by seed.

    Returns:
        The columns convention, step, seed, evaluation, sgdm, adam, ratio.
    """
    keys = ["convention", "step", "seed", "evaluation"]
    frame = condition_numbers(dataset, names).pivot(
        index=keys, columns="optimizer", values="condition_number"
    )
    frame = frame.reindex(columns=["sgdm", "adam"])
    frame = frame.assign(ratio=frame["sgdm"] / frame["adam"]).reset_index()
    return frame[[*keys, "sgdm", "adam", "ratio"]]


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

"""Numbers that artifacts read from results: the runs of an optimizer, and derived quantities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from attnscape.errors import UsageError
from attnscape.experiments.setting import Plan
from attnscape.statistics import condition_number, dead_parameters, negative_eigenvalues
from attnscape.training import Status

Results = Mapping[str, xr.Dataset]


def of_optimizer(dataset: xr.Dataset, optimizer: str) -> xr.Dataset:
    """The runs of an optimizer at its one learning rate, without the dim `learning_rate`.

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
    """The array with the dim `evaluation`, of length 1 if there was only one fixed batch."""
    return array if "evaluation" in array.dims else array.expand_dims(evaluation=[0])


def measured(array: xr.DataArray) -> xr.DataArray:
    """The array restricted to the steps at which some run was measured."""
    others = [dim for dim in array.dims if dim != "step"]
    return array.isel(step=array.notnull().any(others).values)


def tidy(results: Results, variables: Sequence[str]) -> pd.DataFrame:
    """One row for each run, measured step and evaluation batch.

    The columns are setting, optimizer, learning_rate, seed, step, evaluation and `variables`.
    Diverged runs keep their rows, with NaN.
    """
    frames = []
    for name, dataset in results.items():
        first = over_evaluations(measured(dataset[variables[0]]))
        on_batch = first.notnull().any(("optimizer", "learning_rate", "seed"))
        columns = {
            variable: over_evaluations(dataset[variable]).sel(step=first["step"])
            for variable in variables
        }
        selected = xr.Dataset({**columns, "status": dataset["status"], "kept": on_batch})
        frame = selected.to_dataframe().reset_index()
        frame = frame[frame["kept"] & (frame["status"] != Status.not_run)]
        frames.append(frame.assign(setting=name))
    columns = ["setting", "optimizer", "learning_rate", "seed", "step", "evaluation", *variables]
    return pd.concat(frames, ignore_index=True)[columns]


def first_evaluation(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of the first evaluation batch: the paper has only one batch."""
    return frame[frame["evaluation"] == frame["evaluation"].min()]


def condition_numbers(dataset: xr.Dataset, names: Sequence[str]) -> pd.DataFrame:
    """Robust condition numbers along the runs, by the names of `CONDITION_NUMBERS`.

    Returns:
        The columns optimizer, learning_rate, convention, seed, step, evaluation, condition_number:
        one row for each step and batch with a Hessian. The condition number is NaN for diverged
        runs and if it is not defined.
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
    """The robust condition number with the given name; the dims of the Hessian's entries vanish.

    Args:
        runs: Runs with the Hessian's eigenvalues, diagonal and row norms.
        name: A key of `CONDITION_NUMBERS`.
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
    """SGDM's robust condition number divided by Adam's, for each seed.

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


def dead_and_negative(dataset: xr.Dataset) -> tuple[float, float]:
    """Shares of dead parameters and of negative eigenvalues, over all runs and steps."""
    shares = (
        dead_parameters(dataset["hessian_row_norm"]) / dataset.sizes["parameter"],
        negative_eigenvalues(dataset["hessian_eigenvalues"]) / dataset.sizes["eigenvalue"],
    )
    finite = (share[np.isfinite(share)] for share in shares)
    dead, negative = (float(np.mean(share)) if share.size else np.nan for share in finite)
    return dead, negative


def check_steps(artifact: str, steps: Sequence[int], plan: Plan) -> None:
    """Raises UsageError if the plan ends before the last step that an artifact needs."""
    if plan.steps is not None and plan.steps < max(steps):
        raise UsageError(
            f"{artifact} compares runs at steps {listed(steps)}, but the plan ends at step "
            f"{plan.steps}; give it at least {max(steps)} steps."
        )


def listed(steps: Sequence[int]) -> str:
    """The steps in words."""
    return " and ".join(map(str, steps))

"""Collects the records of all runs in one Dataset, those under way as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from attnscape.training._layout import Layout, part_of
from attnscape.training._records import Records
from attnscape.training.status import Status
from attnscape.trees import Plain

_Variable = tuple[tuple[str, ...], np.ndarray, dict[str, str]]  # dims, values, attributes
_RUN_DIMS = ("optimizer", "learning_rate", "seed")
_ENDED = (Status.finished, Status.diverged, Status.not_run)


def assemble(records: Records) -> xr.Dataset:
    """The Dataset of a training, whose variables are the arrays of the records, not copies."""
    layout, diverged_at = records.layout, records.diverged_at
    status = np.where(diverged_at >= 0, Status.diverged, Status.finished)
    status = np.where(records.was_run, status, Status.not_run).astype(np.int8)
    variables: dict[str, _Variable] = {
        "status": (_RUN_DIMS, status, _flags(_ENDED)),
        "diverged_at": (_RUN_DIMS, diverged_at, {"long_name": "step at which the run diverged"}),
    }
    labels: dict[str, Sequence[object]] = {"evaluation": layout.evaluation_seeds}
    for recorded in sorted(layout.measures, key=lambda each: each.evaluations):
        if not (recorded.steps.size and recorded.variables.keys() <= records.arrays.keys()):
            continue
        labels.update(recorded.labels)
        for name, variable in recorded.variables.items():
            evaluation = ("evaluation",) if variable.on_evaluation else ()
            dims = (*_RUN_DIMS, "step", *evaluation, *variable.dims)
            variables[name] = (dims, records.arrays[name], {"long_name": variable.long_name})
    for run in zip(*np.nonzero(diverged_at >= 0), strict=True):
        lost = np.searchsorted(layout.stops, diverged_at[run])
        for values in records.arrays.values():
            values[run][lost:] = np.nan
    return xr.Dataset(
        variables,
        coords={
            "optimizer": list(layout.rates),
            "learning_rate": (
                "learning_rate", layout.learning_rates, {"long_name": "learning rate"}
            ),
            "seed": list(layout.seeds),
            "step": ("step", layout.stops, {"long_name": "updates done"}),
            **{name: list(values) for name, values in labels.items()},
        },
    )  # fmt: skip


def _flags(statuses: Sequence[Status]) -> dict[str, str]:
    return {"flags": ", ".join(f"{status.value} {status.name}" for status in statuses)}


def over_batches(datasets: Sequence[xr.Dataset]) -> xr.Dataset:
    """One Dataset of trainings that differ in the batch size only, with the dim `batch`.

    Args:
        datasets: Results of `attnscape.train`, each with one batch size.

    Returns:
        The dim follows learning_rate. Attributes that differ are left out, but `batch`, which has
        all sizes.

    Raises:
        ValueError: If their other coordinates differ.

    Examples:
        >>> import xarray as xr
        >>> from attnscape.training import over_batches
        >>> runs = ("optimizer", "learning_rate", "seed")
        >>> one = xr.Dataset({"status": (runs, [[[0, 0]]])}, attrs={"batch": 32, "steps": 9})
        >>> both = over_batches([one, one.assign_attrs(batch=128)])
        >>> both["status"].dims, both.attrs["batch"], both.attrs["steps"]
        (('optimizer', 'learning_rate', 'batch', 'seed'), [32, 128], 9)
    """
    sizes = [int(dataset.attrs["batch"]) for dataset in datasets]
    labels = xr.DataArray(sizes, dims="batch", name="batch", attrs={"long_name": "batch size"})
    together = xr.concat(
        datasets, labels, data_vars="all", coords="minimal", compat="equals", join="exact",
        combine_attrs="drop_conflicts",
    )  # fmt: skip
    first = (*_RUN_DIMS[:2], "batch")
    return together.transpose(*first, ...).assign_attrs(batch=sizes)


def labelled(dataset: xr.Dataset, labels: Mapping[str, Any]) -> xr.Dataset:
    """The assembled Dataset as `attnscape.train` returns it.

    Args:
        dataset: What `assemble` returns.
        labels: `optimizers`: their names, in the order asked for. `start_step`: the updates made
            before, or None. `attributes`: those of the Dataset. `single`: whether there is one
            evaluation batch without a dim of its own.
    """
    if labels["start_step"] is not None:
        dataset = dataset.assign_coords(start_step=labels["start_step"])
    if list(dataset["optimizer"].values) != list(labels["optimizers"]):  # it would copy
        dataset = dataset.sel(optimizer=labels["optimizers"])
    dataset = dataset.assign_attrs(labels["attributes"])
    return dataset.squeeze("evaluation", drop=True) if labels["single"] else dataset


def assemble_so_far(outline: Plain, states: Mapping[str, Plain]) -> xr.Dataset:
    """The Dataset of a training under way: NaN where nothing was measured yet.

    Variables of which nothing was measured are left out. The status of runs that have not ended is
    `under_way`, or `not_run` where their seed has not begun.

    Args:
        outline: What the training has described its checkpoints with.
        states: The states of its seeds that have begun.

    Examples:
        >>> from attnscape.training import assemble_so_far
        >>> so_far = assemble_so_far(outline, {"seed-0": state})  # doctest: +SKIP
    """
    records = Records(Layout.read(outline["layout"]))
    found = [states.get(part_of(seed)) for seed in records.layout.seeds]
    for seed, state in zip(records.layout.seeds, found, strict=True):
        if state:
            records.read(seed, state)
    dataset = assemble(records)
    of_seed = [
        Status.not_run if not state else Status.under_way if "runs" in state else Status.finished
        for state in found
    ]
    ended = dataset["status"] != Status.finished
    dataset["status"] = dataset["status"].where(
        ended, xr.DataArray(np.array(of_seed, np.int8), dims="seed")
    )
    dataset["status"].attrs = _flags(tuple(Status))
    return labelled(dataset, outline["labels"])

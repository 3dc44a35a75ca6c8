"""Collects the records of all runs in one Dataset, those under way as well."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Bool

from attnscape.training._records import Layout, Recorded, SeedRecord, Taken, part_of
from attnscape.training.status import Status
from attnscape.trees import Plain

_Variable = tuple[tuple[str, ...], np.ndarray, dict[str, str]]  # dims, values, attributes
_RUN_DIMS = ("optimizer", "learning_rate", "seed")
_ENDED = (Status.finished, Status.diverged, Status.not_run)


def assemble(layout: Layout, records: Sequence[SeedRecord]) -> xr.Dataset:
    """The Dataset of a training, from one record for each seed."""
    diverged = zip(*(record.diverged_at for record in records), strict=True)
    per_optimizer = [np.concatenate(seeds) for seeds in diverged]
    diverged_at = layout.scatter(per_optimizer, -1, np.int32)
    was_run = layout.scatter([np.ones(each.shape, bool) for each in per_optimizer], False, bool)
    status = np.where(was_run, Status.finished, Status.not_run)
    status = np.where(diverged_at >= 0, Status.diverged, status).astype(np.int8)
    lost = (diverged_at >= 0)[..., None] & (np.array(layout.stops) >= diverged_at[..., None])
    variables: dict[str, _Variable] = {
        "status": (_RUN_DIMS, status, _flags(_ENDED)),
        "diverged_at": (_RUN_DIMS, diverged_at, {"long_name": "step at which the run diverged"}),
    }
    labels: dict[str, Sequence[object]] = {"evaluation": layout.evaluation_seeds}
    # If measures fill the same variable, the one with the most batches comes last, so its numbers
    # replace those of the others.
    for index in sorted(range(len(layout.measures)), key=lambda i: layout.measures[i].evaluations):
        recorded = layout.measures[index]
        if recorded.steps:
            labels.update(recorded.labels)
            taken = [record.values[index] for record in records]
            _fill(variables, recorded, layout, taken, lost)
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


def _fill(
    variables: dict[str, _Variable],
    recorded: Recorded,
    layout: Layout,
    taken: Sequence[list[Taken]],
    lost: Bool[np.ndarray, "optimizer rate seed step"],
) -> None:
    """Adds the variables of one measure, or writes its steps into existing variables."""
    rows = np.searchsorted(layout.stops, recorded.steps)
    for name, variable in recorded.variables.items():
        per_optimizer = [
            np.concatenate(
                [np.stack([step[index][name] for step in of_seed], axis=2) for of_seed in taken]
            )
            for index in range(len(layout.rates))
        ]
        values = layout.scatter(per_optimizer, np.nan, per_optimizer[0].dtype)
        if variable.on_evaluation:
            lacking = len(layout.evaluation_seeds) - values.shape[4]
            widths = [(0, 0)] * 4 + [(0, lacking)] + [(0, 0)] * (values.ndim - 5)
            values = np.pad(values, widths, constant_values=np.nan)
        if name not in variables:
            evaluation = ("evaluation",) if variable.on_evaluation else ()
            shape = (*lost.shape, *values.shape[4:])
            variables[name] = (
                (*_RUN_DIMS, "step", *evaluation, *variable.dims),
                np.full(shape, np.nan, values.dtype),
                {"long_name": variable.long_name},
            )
        variables[name][1][:, :, :, rows] = values
        variables[name][1][lost] = np.nan


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
    dataset = dataset.sel(optimizer=labels["optimizers"]).assign_attrs(labels["attributes"])
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
    layout = Layout.read(outline["layout"])
    found = [states.get(part_of(seed)) for seed in layout.seeds]
    records = [SeedRecord.read(state) if state else _blank(layout) for state in found]
    measures = list[Recorded]()
    for index, recorded in enumerate(layout.measures):
        of_seeds = [record.values[index] for record in records]
        first = next((taken[0] for taken in of_seeds if taken), None)
        measures.append(recorded if first else dataclasses.replace(recorded, steps=()))
        nothing = [{name: np.full_like(a, np.nan) for name, a in of.items()} for of in first or []]
        for taken in of_seeds:
            taken += [nothing] * (len(measures[index].steps) - len(taken))
    dataset = assemble(dataclasses.replace(layout, measures=measures), records)
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


def _blank(layout: Layout) -> SeedRecord:
    """The record of a seed that has not begun."""
    lengths = [len(rates) for rates in layout.rates.values()]
    return SeedRecord(
        [np.full((1, length), -1, np.int32) for length in lengths], [[] for _ in layout.measures]
    )

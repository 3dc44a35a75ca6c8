"""Collects the records of all runs in one Dataset."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import xarray as xr
from jaxtyping import Bool, Int, PyTree, Shaped
from numpy.typing import DTypeLike

from attnscape.measures import Measure
from attnscape.steppers import Group
from attnscape.training.status import Status

_Variable = tuple[tuple[str, ...], np.ndarray, dict[str, str]]  # dims, values, attributes
_RUN_DIMS = ("optimizer", "learning_rate", "seed")


@dataclasses.dataclass(frozen=True)
class SeedRecord:
    """The records of the runs of one seed.

    Attributes:
        diverged_at: For each optimizer, an array (1, learning rate): the step at which a run
            diverged, or -1.
        values: For each measure and each of its steps, one dict per optimizer, from names to
            arrays (1, learning rate, ...).
    """

    diverged_at: list[Int[np.ndarray, "1 _"]]
    values: dict[Measure, list[list[dict[str, Shaped[np.ndarray, "1 _ ..."]]]]]


@dataclasses.dataclass(frozen=True)
class Grid:
    """All combinations of optimizer, learning rate and seed; some of them were not run.

    Attributes:
        groups: The optimizers, each with its own learning rates.
        seeds: The seeds.
    """

    groups: Sequence[Group]
    seeds: Sequence[int]

    @property
    def learning_rates(self) -> list[float]:
        """The learning rates of all optimizers, ascending."""
        return sorted({rate for group in self.groups for rate in group.learning_rates})

    def scatter(
        self,
        per_optimizer: Sequence[Shaped[np.ndarray, "seed _ ..."]],
        fill: float | int,
        dtype: DTypeLike,
    ) -> Shaped[np.ndarray, "optimizer rate seed ..."]:
        """One array (optimizer, learning rate, seed, ...) with `fill` for combinations not run.

        Args:
            per_optimizer: For each optimizer, an array (seed, its learning rates, ...).
            fill: The value for learning rates that an optimizer does not have.
            dtype: Type of the result.
        """
        rates = self.learning_rates
        trailing = np.shape(per_optimizer[0])[2:]
        grid = np.full((len(self.groups), len(rates), len(self.seeds), *trailing), fill, dtype)
        for index, (group, values) in enumerate(zip(self.groups, per_optimizer, strict=True)):
            columns = [rates.index(rate) for rate in group.learning_rates]
            grid[index, columns] = np.moveaxis(np.asarray(values), 1, 0)
        return grid


def assemble(
    grid: Grid,
    records: Sequence[SeedRecord],
    stops: Sequence[int],
    due: Mapping[Measure, Sequence[int]],
    evaluation_seeds: Sequence[int],
    model: Callable[..., PyTree],
) -> xr.Dataset:
    """The Dataset of a training.

    Args:
        grid: The runs.
        records: One record for each seed of the grid.
        stops: All steps at which something was measured, and the last step.
        due: For each measure, its steps.
        evaluation_seeds: Labels of the dim `evaluation`.
        model: A model of the runs, for the labels of the measures' dims.
    """
    diverged = zip(*(record.diverged_at for record in records), strict=True)
    per_optimizer = [np.concatenate(seeds) for seeds in diverged]
    diverged_at = grid.scatter(per_optimizer, -1, np.int32)
    was_run = grid.scatter([np.ones(each.shape, bool) for each in per_optimizer], False, bool)
    status = np.where(was_run, Status.finished, Status.not_run)
    status = np.where(diverged_at >= 0, Status.diverged, status).astype(np.int8)
    lost = (diverged_at >= 0)[..., None] & (np.array(stops) >= diverged_at[..., None])
    variables: dict[str, _Variable] = {
        "status": (_RUN_DIMS, status, {"flags": ", ".join(f"{s.value} {s.name}" for s in Status)}),
        "diverged_at": (_RUN_DIMS, diverged_at, {"long_name": "step at which the run diverged"}),
    }
    labels: dict[str, Sequence[object]] = {"evaluation": evaluation_seeds}
    # If measures fill the same variable, the one with the most batches comes last, so its numbers
    # replace those of the others.
    for measure in sorted(due, key=lambda m: m.evaluations or len(evaluation_seeds)):
        if due[measure]:
            labels.update(measure.coordinates(model))
            rows = np.searchsorted(stops, due[measure])
            _fill(variables, measure, grid, records, rows, lost, len(evaluation_seeds))
    return xr.Dataset(
        variables,
        coords={
            "optimizer": [group.name for group in grid.groups],
            "learning_rate": ("learning_rate", grid.learning_rates, {"long_name": "learning rate"}),
            "seed": list(grid.seeds),
            "step": ("step", stops, {"long_name": "updates done"}),
            **{name: list(values) for name, values in labels.items()},
        },
    )


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
        >>> both["status"].dims, both.attrs
        (('optimizer', 'learning_rate', 'batch', 'seed'), {'batch': [32, 128], 'steps': 9})
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
    measure: Measure,
    grid: Grid,
    records: Sequence[SeedRecord],
    rows: Int[np.ndarray, " due"],
    lost: Bool[np.ndarray, "optimizer rate seed step"],
    evaluations: int,
) -> None:
    """Adds the variables of one measure, or writes its steps into existing variables."""
    for name, variable in measure.variables().items():
        per_optimizer = [
            np.concatenate(
                [
                    np.stack([step[index][name] for step in record.values[measure]], axis=2)
                    for record in records
                ]
            )
            for index in range(len(grid.groups))
        ]
        values = grid.scatter(per_optimizer, np.nan, per_optimizer[0].dtype)
        if variable.on_evaluation:
            lacking = evaluations - values.shape[4]
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

"""`attnscape train`: optimizers x learning rates x batch sizes x seeds on one task."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import xarray as xr
from rich.console import Console
from rich.table import Column, Table

from attnscape.cli._options import Train
from attnscape.cli.commands._parts import (
    batch_sizes,
    learning_rates,
    model_of,
    task_of,
    with_schedule,
)
from attnscape.errors import UsageError
from attnscape.experiments import effort, store
from attnscape.experiments.experiment import Experiment
from attnscape.experiments.runs import measured
from attnscape.experiments.saved import saved_parameters
from attnscape.experiments.summary import summary
from attnscape.experiments.sweep import BatchSweep
from attnscape.loading import user_errors
from attnscape.measures import EvaluationLoss, Measure, Schedule, TrainingLoss, get_measure
from attnscape.optimizers.references import resolve
from attnscape.training import Start
from attnscape.workflows.open_cluster import opened
from attnscape.workflows.progress import with_progress
from attnscape.workflows.run_queue import RunQueue


def run(options: Train) -> None:
    """Trains as `options` say, writes the result and prints a summary.

    Raises:
        UsageError: If an option cannot be used, or a user's part fails.
    """
    with user_errors():
        _train(options)


def _train(options: Train) -> None:
    if not options.clip >= 0:
        raise UsageError(f"--clip is {options.clip}; it must be positive, or 0 for no clipping.")
    last = (options.steps,) if options.steps % options.measure_every else ()
    schedule = Schedule(every=options.measure_every, steps=last)
    measures = tuple(dict.fromkeys(map(get_measure, options.measure)))
    task = task_of(options)
    experiment = Experiment(
        name=options.name,
        task=task,
        model=model_of(options, task.dim),
        optimizers=(factories := resolve(with_schedule(options.optimizers, options))),
        learning_rates=learning_rates(options.learning_rates, tuple(factories)),
        seeds=tuple(range(options.seeds)),
        steps=options.steps,
        batch=(batches := batch_sizes(options))[0],
        clip=options.clip or None,
        measures=(EvaluationLoss(schedule), TrainingLoss(schedule), *measures),
        evaluation_batch=options.full_batch or options.evaluation_batch,
        evaluation_seeds=options.evaluation_seed,
        precision=options.precision,
        start=None if options.start is None else Start.of(saved_parameters(options.start)),
    )

    def log(words: str) -> None:
        _log(f"{options.name} {words}")

    sweep = BatchSweep(experiment, batches) if len(batches) > 1 else None
    experiments = (experiment,) if sweep is None else sweep.experiments
    keep = store.load_or_run if sweep is None else BatchSweep.load_or_run
    expected = effort.announced(experiment, batches)
    if expected and not all(store.find(each, options.out) for each in experiments):
        log(f"is running{expected}")
    with opened(options.cluster) as cluster:
        if cluster is not None:
            with RunQueue(options.out, cluster) as queue:
                queue.compute(experiments, options.name, _log)
    dataset = with_progress(options.name, partial(keep, sweep or experiment, options.out), log)
    Console().print(_table(dataset))
    for line in _where(dataset, measures):
        print(line)
    files = {each.batch: store.find(each, options.out) for each in experiments}
    if sweep is None:
        print(files[experiment.batch])
        return
    for size, path in files.items():
        print(f"batch {size}: {path}")
    print(f"all batch sizes: {sweep.path(options.out)}")


def _table(dataset: xr.Dataset) -> Table:
    """Final losses of every optimizer, learning rate and batch size."""
    swept = ["batch"] if "batch" in dataset.dims else []
    optimizer = Column("optimizer", overflow="fold")
    table = Table(optimizer, "learning rate", *swept, "median final loss", "95 % interval", "runs")
    for row in summary(dataset).to_dict("records"):
        count = round(row["diverged"] * row["runs"])
        ends = f"{row['low']:.4g} to {row['high']:.4g}" if np.isfinite(row["low"]) else ""
        table.add_row(
            row["optimizer"],
            f"{row['learning_rate']:g}",
            *(str(row[name]) for name in swept),
            f"{row['loss']:.4g}",
            ends,
            f"{row['runs']}" + (f", {count} diverged" if count else ""),
        )
    return table


def _log(words: str) -> None:  # not to standard output, which is for the table
    print(f"attnscape: {words}", file=sys.stderr, flush=True)


def _where(dataset: xr.Dataset, measures: Sequence[Measure]) -> Iterator[str]:
    """Lines that say where the numbers of the measures are in the file."""
    runs = ("optimizer", "learning_rate", "batch", "seed")
    for name in dict.fromkeys(name for measure in measures for name in measure.variables()):
        variable = dataset[name]
        steps = measured(variable)["step"].values
        times = f"at step {steps[0]}" if steps.size else "nowhere finite"
        if steps.size > 1:
            times = f"at {steps.size} steps from {steps[0]} to {steps[-1]}"
        dims = ", ".join(str(dim) for dim in variable.dims if dim not in runs)
        yield f"{name} ({dims}): {variable.attrs['long_name']}, {times}"

"""`attnscape train`: optimizers x learning rates x seeds on one task."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import numpy as np
import xarray as xr
from rich.console import Console
from rich.table import Table

from attnscape.cli._options import Train
from attnscape.cli.commands._parts import learning_rates, model_of, task_of
from attnscape.errors import UsageError
from attnscape.experiments import effort, store
from attnscape.experiments.experiment import Experiment
from attnscape.experiments.runs import measured
from attnscape.experiments.saved import saved_parameters
from attnscape.experiments.summary import summary
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
        optimizers=(factories := resolve(options.optimizers)),
        learning_rates=learning_rates(options.learning_rates, tuple(factories)),
        seeds=tuple(range(options.seeds)),
        steps=options.steps,
        batch=options.batch,
        clip=options.clip or None,
        measures=(EvaluationLoss(schedule), TrainingLoss(schedule), *measures),
        evaluation_batch=options.evaluation_batch,
        evaluation_seeds=options.evaluation_seed,
        precision=options.precision,
        start=None if options.start is None else Start.of(saved_parameters(options.start)),
    )

    def log(words: str) -> None:
        _log(f"{options.name} {words}")

    if (expected := effort.announced(experiment)) and not store.find(experiment, options.out):
        log(f"is running{expected}")
    with opened(options.cluster) as cluster:
        if cluster is not None:
            with RunQueue(options.out, cluster) as queue:
                queue.compute([experiment], options.name, _log)
    dataset = with_progress(experiment, options.out, log)
    table = Table("optimizer", "learning rate", "median final loss", "95 % interval", "runs")
    for row in summary(dataset).to_dict("records"):
        count = round(row["diverged"] * row["runs"])
        ends = f"{row['low']:.4g} to {row['high']:.4g}" if np.isfinite(row["low"]) else ""
        table.add_row(
            row["optimizer"],
            f"{row['learning_rate']:g}",
            f"{row['loss']:.4g}",
            ends,
            f"{row['runs']}" + (f", {count} diverged" if count else ""),
        )
    Console().print(table)
    for line in _where(dataset, measures):
        print(line)
    print(store.find(experiment, options.out))


def _log(words: str) -> None:  # not to standard output, which is for the table
    print(f"attnscape: {words}", file=sys.stderr, flush=True)


def _where(dataset: xr.Dataset, measures: Sequence[Measure]) -> Iterator[str]:
    """Lines that say where the numbers of the measures are in the file."""
    runs = ("optimizer", "learning_rate", "seed")
    for name in dict.fromkeys(name for measure in measures for name in measure.variables()):
        variable = dataset[name]
        steps = measured(variable)["step"].values
        times = f"at step {steps[0]}" if steps.size else "nowhere finite"
        if steps.size > 1:
            times = f"at {steps.size} steps from {steps[0]} to {steps[-1]}"
        dims = ", ".join(str(dim) for dim in variable.dims if dim not in runs)
        yield f"{name} ({dims}): {variable.attrs['long_name']}, {times}"

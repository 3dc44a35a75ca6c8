"""Loads or computes the runs of an artifact, with progress."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import xarray as xr

from attnscape.experiments import effort, store
from attnscape.experiments.computation import Computation
from attnscape.workflows.progress import with_progress
from attnscape.workflows.run_queue import RunQueue

if TYPE_CHECKING:
    from attnscape.workflows.clusters import Cluster


def load_or_run_all(
    experiments: Mapping[str, Computation],
    directory: Path,
    artifact: str,
    log: Callable[[str], None],
    queue: RunQueue | None = None,
    cluster: Cluster | None = None,
) -> dict[str, xr.Dataset]:
    """Loads or computes the results of an artifact's experiments, several at once where possible.

    Each result is written as soon as it is there, so nothing is lost if the process is interrupted.

    Args:
        experiments: The experiments, by key.
        directory: The folder of the results.
        artifact: Name of the artifact, for messages.
        log: Called with lines about runs and their progress.
        queue: The queue of that folder in which further runs wait; by default there are none.
        cluster: Without a queue, where runs are computed; by default on this machine.

    Raises:
        UsageError: If a run cannot be made, or a process ended unexpectedly.
    """
    with RunQueue(directory, cluster) if queue is None else contextlib.nullcontext(queue) as chosen:
        chosen.compute(experiments.values(), artifact, log)
    return {key: load_or_run(each, directory, artifact, log) for key, each in experiments.items()}


def load_or_run(
    experiment: Computation, directory: Path, artifact: str, log: Callable[[str], None]
) -> xr.Dataset:
    """Loads or computes the result of an artifact's experiment; logs a line before a run.

    A long run logs its estimated duration after the first steps, and later its progress.
    """
    if store.find(experiment, directory) is None:
        expected = effort.announced(experiment)
        log(f"{artifact}: running {experiment.name}, {experiment.run_steps:,} run-steps{expected}")
    return with_progress(
        experiment.name,
        functools.partial(store.load_or_run, experiment, directory),
        lambda words: log(f"{artifact}: {experiment.name} {words}"),
    )

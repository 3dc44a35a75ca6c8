"""Loads or computes the runs of an artifact, with progress.

Runs that use one processor each are computed in processes of their own, as many at once as there
are processors. Real networks of a small size gain little from a second thread, and PyTorch's
random numbers belong to a process, so these runs are not spread over threads.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import as_completed
from pathlib import Path

import xarray as xr

from attnscape.experiments import effort, store
from attnscape.experiments.store import Computation, SingleProcessor
from attnscape.training import processors
from attnscape.workflows.cost import Cost
from attnscape.workflows.processes import processes
from attnscape.workflows.progress import ProgressBar, with_progress


def load_or_run_all(
    experiments: Mapping[str, Computation],
    directory: Path,
    artifact: str,
    log: Callable[[str], None],
) -> dict[str, xr.Dataset]:
    """Loads or computes the results of an artifact's experiments.

    Runs that use one processor are computed several at once. Each result is written as soon as it
    is there, so nothing is lost if the process is interrupted.

    Args:
        experiments: The experiments, by key.
        directory: The folder of the results.
        artifact: Name of the artifact, for messages.
        log: Called with lines about runs and their progress.

    Raises:
        UsageError: If a run cannot be made, or a process ended unexpectedly.
    """
    # Two keys may stand for one run.
    due = {each.run_id: each for each in experiments.values() if _is_due(each, directory)}
    if len(due) > 1 and processors() > 1:
        _run_apart(list(due.values()), directory, artifact, log)
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
        experiment, directory, lambda words: log(f"{artifact}: {experiment.name} {words}")
    )


def _is_due(experiment: Computation, directory: Path) -> bool:
    """Whether a process of its own should compute it."""
    if not isinstance(experiment, SingleProcessor) or not experiment.single_processor:
        return False
    return store.find(experiment, directory) is None


def _run_apart(
    due: Sequence[Computation], directory: Path, artifact: str, log: Callable[[str], None]
) -> None:
    total, done = sum(each.run_steps for each in due), 0
    workers = min(processors(), len(due))
    log(f"{artifact}: running {len(due)} runs in {workers} processes, {total:,} run-steps")
    cost = Cost(lambda words: log(f"{artifact}: {words}"))
    tasks = [functools.partial(_run, each, directory) for each in due]
    with ProgressBar(artifact) as bar, processes().submitted(tasks) as futures:
        cost(0, total)
        bar(0, total)
        runs = dict(zip(futures, due, strict=True))
        for future in as_completed(futures):
            future.result()
            done += runs[future].run_steps
            cost(done, total)
            bar(done, total)


def _run(experiment: Computation, directory: Path) -> None:
    store.load_or_run(experiment, directory)

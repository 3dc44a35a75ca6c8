"""Some seeds of an experiment, trained apart from the others, by any process with the same folder.

They are kept as finished parts of the checkpoints of the whole experiment. Whoever finishes the
last ones runs the experiment, which finds all its seeds there and only puts them together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from attnscape import spec
from attnscape.experiments import checkpoints, locks, store
from attnscape.experiments.experiment import Experiment
from attnscape.files import writable_directory
from attnscape.training import Progress, WholeTraining, part_of, silent


def finish_seeds(
    experiment: Experiment, seeds: Sequence[int], directory: Path, progress: Progress = silent
) -> None:
    """Trains some seeds of an experiment; writes its result if all of its seeds are finished then.

    The result is the one that `store.load_or_run` would have made in one process, bit for bit.

    Args:
        experiment: The experiment, whose result is found again by other processes.
        seeds: Some of its seeds.
        directory: The folder of its result.
        progress: Called with (run-steps done, run-steps of these seeds).

    Raises:
        UsageError: If the folder cannot be written, or a part cannot be trained.

    Examples:
        >>> from attnscape.experiments.seed_parts import finish_seeds
        >>> finish_seeds(experiment, (0, 1), "results")  # doctest: +SKIP
    """
    directory = writable_directory(directory)
    folder = checkpoints.folder_of(directory, experiment.run_id)
    while not _trained(experiment, tuple(seeds), directory, progress):
        # Somebody runs the whole experiment.
        with locks.alone(directory, spec.short(experiment.run_id)):
            pass
    if {part_of(seed) for seed in experiment.seeds} <= checkpoints.finished_parts(folder):
        store.load_or_run(experiment, directory)


def _trained(
    experiment: Experiment, seeds: tuple[int, ...], directory: Path, progress: Progress
) -> bool:
    """Trains the seeds; returns False, and has done nothing, if the whole is under way elsewhere.

    Should another process have some of the seeds, it is waited for, and its numbers are found.
    """
    with locks.alone_with_all(directory, store.seed_locks(experiment, seeds)):
        if store.find(experiment, directory) is not None:
            return True
        # Who runs the whole looks at the seeds' locks when it has its own.
        if locks.is_taken(directory, spec.short(experiment.run_id)):
            return False
        kept = store.checkpoints_of(experiment, directory, f"{part_of(seeds[0])}-")
        assert kept is not None, "no other process finds it"
        some = dataclasses.replace(experiment, seeds=seeds)
        some.run(progress, WholeTraining(kept, experiment.seeds))
        kept.write_finished()
    return True

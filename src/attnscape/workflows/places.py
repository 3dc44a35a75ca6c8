"""Where runs are computed: what a queue of runs asks of its processes, on one machine or many."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Protocol

from attnscape.experiments import store
from attnscape.experiments.computation import Computation
from attnscape.experiments.experiment import Experiment
from attnscape.experiments.seed_parts import finish_seeds
from attnscape.identity import settings
from attnscape.training import Progress


@dataclasses.dataclass(frozen=True)
class Job:
    """A run, or some seeds of an experiment, that a process computes and writes to a folder.

    Attributes:
        run: The run.
        directory: The folder of its result.
        seeds: The seeds; None for the whole run.
    """

    run: Computation
    directory: Path
    seeds: tuple[int, ...] | None = None

    def __call__(self, progress: Progress) -> None:
        """Computes it.

        Does nothing if this process has other settings than the one that asked for the run: the
        numbers could differ.
        """
        if self.run.identity.content.get("settings") not in (None, settings()):
            return
        if self.seeds is None or not isinstance(self.run, Experiment):
            store.load_or_run(self.run, self.directory, progress)
        else:
            finish_seeds(self.run, self.seeds, self.directory, progress)

    def cut(self, pieces: int) -> list[Job]:
        """At most so many jobs that together do this one; only an experiment's seeds are cut."""
        if pieces < 2 or not isinstance(self.run, Experiment) or len(self.run.seeds) < 2:
            return [self]
        seeds = self.run.seeds
        pieces = min(pieces, len(seeds))
        ends = [len(seeds) * piece // pieces for piece in range(pieces + 1)]
        return [
            dataclasses.replace(self, seeds=seeds[first:last])
            for first, last in itertools.pairwise(ends)
        ]

    @property
    def run_steps(self) -> int:
        """The work to do."""
        if self.seeds is None or not isinstance(self.run, Experiment):
            return self.run.run_steps
        return self.run.run_steps * len(self.seeds) // len(self.run.seeds)

    def __str__(self) -> str:
        """What it is, in words."""
        if self.seeds is None:
            return self.run.name
        return f"{self.run.name}, seeds {_in_words(self.seeds)}"


def _in_words(seeds: Sequence[int]) -> str:
    return str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"


@dataclasses.dataclass(frozen=True)
class Submitted:
    """A job under way.

    Attributes:
        future: Its outcome.
        progress: Returns what is done and all that there is to do, as long as it is under way.
    """

    future: Future[object]
    progress: Callable[[], tuple[int, int]]


class LostError(Exception):
    """The processes of a place cannot be reached any more; the message says why, without a stop."""

    def __init__(self, why: str = "The scheduler of the cluster does not answer any more") -> None:
        super().__init__(why)


class Place(Protocol):
    """Processes that compute runs: those of this machine, or a cluster."""

    @property
    def has_room(self) -> bool:
        """Whether a further job may be submitted.

        Raises:
            LostError: If the processes cannot be reached any more.
        """
        ...

    def submit(self, job: Job, /, waiting: int = 0) -> Submitted:
        """Lets a process compute a job.

        Args:
            job: The job.
            waiting: How many jobs will follow soon.
        """
        ...

    def stop(self) -> None:
        """Stops all that is under way, at once."""
        ...

"""The agenda of a folder: the runs that `attnscape reproduce` will need, while it is under way.

The file `.agenda.json` is written when the command begins and whenever it learns of further runs,
which depend on the outcome of a search. It is removed when all is done, so that what is left of a
command that was stopped can still be told.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from attnscape import spec
from attnscape.experiments.computation import Computation
from attnscape.experiments.present import finished_runs
from attnscape.files import Writer
from attnscape.report.entries import read_entries, write_entries
from attnscape.report.reading import typed

_FILE = ".agenda.json"
RUNS = "runs"
"""The folder of the runs, below that of the artifacts."""


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """A run that an artifact needs.

    Attributes:
        run_id: SHA-256 of its identity.
        name: Start of its file name.
        steps: Its run-steps.
    """

    run_id: str
    name: str
    steps: int

    @property
    def file(self) -> str:
        """The name of its file, without the suffix."""
        return f"{self.name}-{spec.short(self.run_id)}"


@dataclasses.dataclass(frozen=True)
class Agenda:
    """What a command will make.

    Attributes:
        writer: The process (`attnscape.files.Writer`).
        began: When it began, in seconds since the epoch.
        artifacts: The runs of each artifact, in order; None if they are not known yet.
    """

    writer: str
    began: float
    artifacts: Mapping[str, tuple[PlannedRun, ...] | None]

    @classmethod
    def read(cls, out: Path) -> Agenda | None:
        """The agenda of a folder; None if there is none.

        Raises:
            ValueError: If it cannot be read.
        """
        return typed(cls, read_entries(out / _FILE)) if has_agenda(out) else None

    @property
    def runs(self) -> dict[str, PlannedRun]:
        """All runs that are known, by the beginnings of their ids, in order."""
        known = (run for runs in self.artifacts.values() for run in runs or ())
        return {spec.short(run.run_id): run for run in known}

    def so_far(self, out: Path) -> dict[str, tuple[int, int]]:
        """For each artifact whose runs are known: how many are finished, and how many there are."""
        finished = finished_runs(out / RUNS)
        return {
            name: (sum(spec.short(run.run_id) in finished for run in runs), len(runs))
            for name, runs in self.artifacts.items()
            if runs is not None
        }


class AgendaFile:
    """The agenda of this process, which writes it.

    Args:
        out: The folder.
        artifacts: The names of all artifacts; their runs are not known yet.
    """

    def __init__(self, out: Path, artifacts: Iterable[str]) -> None:
        self._path = out / _FILE
        self._runs = dict[str, dict[str, PlannedRun] | None].fromkeys(artifacts)
        self._began = time.time()

    def add(self, artifact: str, runs: Iterable[Computation]) -> bool:
        """Adds runs of an artifact; returns whether they were not known.

        Raises:
            UsageError: If a run has a part that cannot be used.
        """
        added = {run.run_id: PlannedRun(run.run_id, run.name, run.run_steps) for run in runs}
        known = self._runs.get(artifact) or {}
        self._runs[artifact] = known | added
        return not added.keys() <= known.keys()

    def save(self) -> None:
        """Writes the file; raises UsageError if it cannot be written."""
        artifacts = {
            name: None if runs is None else tuple(runs.values())
            for name, runs in self._runs.items()
        }
        agenda = Agenda(str(Writer.this()), self._began, artifacts)
        write_entries(self._path, dataclasses.asdict(agenda))

    def add_and_save(self, artifact: str, runs: Iterable[Computation]) -> None:
        """Adds runs and writes the file if they were not known."""
        if self.add(artifact, runs):
            self.save()

    def remove(self) -> None:
        """Removes the file: all is done."""
        self._path.unlink(missing_ok=True)


def has_agenda(out: Path) -> bool:
    """Whether a command makes artifacts in a folder, or was stopped."""
    return os.path.lexists(out / _FILE)

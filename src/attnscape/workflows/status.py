"""What is known of the runs of a folder from its files: results, checkpoints, locks, failures."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from attnscape.experiments import checkpoints, store
from attnscape.experiments.present import finished_runs
from attnscape.files import Writer
from attnscape.report.agenda import RUNS, Agenda, PlannedRun
from attnscape.report.manifest import read_all

_PLACES = (".", RUNS, "networks")  # where commands put results, below --out


State = Literal["finished", "under way", "stopped", "elsewhere", "failed", "left"]


@dataclasses.dataclass(frozen=True)
class Run:
    """A run, or an artifact that could not be made.

    Attributes:
        state: `stopped` if the process that computed it is gone, `elsewhere` if that was on another
            host, so that nobody knows; `left` if a command will compute it.
        name: The name of its file, or of the artifact.
        written: When the file was written, or the run began, in seconds since the epoch; None if
            unknown.
        done: Steps of all seeds at the checkpoint.
        total: Those there are; 0 if unknown.
        seconds_left: The time for the rest, at the speed until the checkpoint; None if unknown.
        why: Why it failed.
    """

    state: State
    name: str
    written: float | None
    done: int = 0
    total: int = 0
    seconds_left: float | None = None
    why: str = ""


@dataclasses.dataclass(frozen=True)
class Command:
    """A command that makes artifacts and has not ended.

    Attributes:
        state: What it is.
        seconds: How long ago it began.
        seconds_left: The time for the rest of its known runs, at the mean speed since it began;
            None if it is not under way or has made nothing yet. Steps of other kinds of runs take
            other times.
        artifacts: For each artifact the finished runs and all of them; None if they are not known
            yet.
        made: The artifacts that are made from these runs.
        runs: All runs that are known, by the beginnings of their ids.
    """

    state: Literal["under way", "stopped", "elsewhere"]
    seconds: float
    seconds_left: float | None
    artifacts: Mapping[str, tuple[int, int] | None]
    made: frozenset[str]
    runs: Mapping[str, PlannedRun]


def command_in(out: Path) -> Command | None:
    """The command that makes artifacts in a folder, if there is one.

    Raises:
        ValueError: If its agenda cannot be read.
    """
    if (agenda := Agenda.read(out)) is None:
        return None
    so_far = agenda.so_far(out)
    artifacts = {name: so_far.get(name) for name in agenda.artifacts}
    made = frozenset(
        name
        for name, manifest in read_all(out).items()
        if manifest.was_made
        and (runs := agenda.artifacts.get(name)) is not None
        and {run.run_id for run in runs} <= {run.run_id for run in manifest.runs.values()}
    )
    state, seconds = _state(agenda.writer), max(0.0, time.time() - agenda.began)
    left = seconds * _left(out / RUNS, agenda) if state == "under way" else math.inf
    seconds_left = left if math.isfinite(left) else None
    return Command(state, seconds, seconds_left, artifacts, made, agenda.runs)


def _left(folder: Path, agenda: Agenda) -> float:
    """The steps of known runs that are left, by those made since the command began."""
    finished = {run.name.rpartition("-")[2]: run.written or 0.0 for run in _finished(folder)}
    made = left = 0.0
    for run_id, run in agenda.runs.items():
        if run_id in finished:
            made += run.steps * (finished[run_id] >= agenda.began)
            continue
        of_run = [
            each.progress for each in checkpoints.read_folder(checkpoints.folder_of(folder, run_id))
        ]
        done = [each["done"] / max(each["total"], 1) for each in of_run]
        # The note that is written when a run begins says what was done before.
        since = [
            share
            for share, each in zip(done, of_run, strict=True)
            if (each.get("written") or 0.0) >= agenda.began
        ]
        made += run.steps * (max(since) - min(since)) if since else 0.0
        left += run.steps * (1 - max(done, default=0.0))
    return left / made if made else math.inf


def runs_in(out: Path, planned: Mapping[str, PlannedRun] | None = None) -> list[Run]:
    """The runs in the folder of a command, the latest first, and those that are left, in order.

    Args:
        out: The folder.
        planned: Runs that a command needs, by the beginnings of their ids.
    """
    found, planned = [*_failed(out)], dict(planned or {})
    for place in _PLACES:
        folder = out / place
        begun = _begun(folder, planned)
        found += [*_finished(folder), *begun.values()]
        for run in (*finished_runs(folder), *begun):
            planned.pop(run, None)
    left = [Run("left", each.file, None, 0, each.steps) for each in planned.values()]
    return [*sorted(found, key=lambda run: -(run.written or 0.0)), *left]


def _finished(folder: Path) -> Iterator[Run]:
    for path in folder.glob("*.nc"):
        yield Run("finished", path.stem, path.stat().st_mtime)


def _begun(folder: Path, planned: Mapping[str, PlannedRun]) -> dict[str, Run]:
    """The runs that have no result yet, by the beginnings of their ids."""
    finished, found = finished_runs(folder), dict[str, Run]()
    for of_run in (folder / checkpoints.FOLDER).glob("*"):
        # If there is a result, it was stopped after that was written.
        if of_run.name not in finished and (saved := checkpoints.read_folder(of_run)):
            newest = saved[0]
            found[of_run.name] = Run(
                _state(newest.progress["writer"]),
                f"{newest.about.get('name', 'run')}-{of_run.name}",
                newest.progress.get("written") or 0.0,
                newest.progress["done"],
                newest.progress["total"],
                newest.progress.get("seconds_left"),
            )
    # Those that keep no checkpoints, too.
    for run in sorted(store.locked_runs(folder) - finished):
        if run in found:
            found[run] = dataclasses.replace(found[run], state="under way")
        else:
            name = planned[run].file if run in planned else f"(run {run})"
            found[run] = Run("under way", name, None)
    return found


def _state(writer: str) -> Literal["under way", "stopped", "elsewhere"]:
    """The state of what a process has begun."""
    known = Writer.read(writer)
    if known is None or known.host != Writer.this().host:
        return "elsewhere"
    return "stopped" if known.is_gone else "under way"


def _failed(out: Path) -> Iterator[Run]:
    for name, manifest in read_all(out).items():
        if manifest.failure:
            yield Run("failed", name, (out / f"{name}.json").stat().st_mtime, why=manifest.failure)

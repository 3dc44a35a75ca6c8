"""What is known of the runs of a folder from its files: results, checkpoints, failures."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from attnscape.experiments import checkpoints
from attnscape.files import Writer
from attnscape.report.manifest import read_all

_PLACES = (".", "runs", "networks")  # where commands put results, below --out


@dataclasses.dataclass(frozen=True)
class Run:
    """A run, or an artifact that could not be made.

    Attributes:
        state: `stopped` if the process that computed it is gone, `elsewhere` if that was on another
            host, so that nobody knows.
        name: The name of its file, or of the artifact.
        written: When the file was written, in seconds since the epoch.
        done: Steps of all seeds at the checkpoint.
        total: Those there are; 0 if unknown.
        seconds_left: The time for the rest, at the speed until the checkpoint; None if unknown.
        why: Why it failed.
    """

    state: Literal["finished", "under way", "stopped", "elsewhere", "failed"]
    name: str
    written: float
    done: int = 0
    total: int = 0
    seconds_left: float | None = None
    why: str = ""


def runs_in(out: Path) -> list[Run]:
    """The runs in the folder of a command, the latest first."""
    found = [*_failed(out)]
    for place in _PLACES:
        found += [*_finished(out / place), *_begun(out / place)]
    return sorted(found, key=lambda run: -run.written)


def _finished(folder: Path) -> Iterator[Run]:
    for path in folder.glob("*.nc"):
        yield Run("finished", path.stem, path.stat().st_mtime)


def _begun(folder: Path) -> Iterator[Run]:
    for of_run in (folder / checkpoints.FOLDER).glob("*"):
        if any(folder.glob(f"*-{of_run.name}.nc")):
            continue  # it was stopped after the result was written
        if not (saved := checkpoints.read_folder(of_run)):
            continue
        newest = saved[0]
        writer = Writer.read(newest.progress["writer"])
        here = writer is not None and writer.host == Writer.this().host
        gone = writer is not None and writer.is_gone
        yield Run(
            "stopped" if gone else "under way" if here else "elsewhere",
            f"{newest.about.get('name', 'run')}-{of_run.name}",
            newest.progress.get("written") or 0.0,
            newest.progress["done"],
            newest.progress["total"],
            newest.progress.get("seconds_left"),
        )


def _failed(out: Path) -> Iterator[Run]:
    for name, manifest in read_all(out).items():
        if manifest.failure:
            yield Run("failed", name, (out / f"{name}.json").stat().st_mtime, why=manifest.failure)

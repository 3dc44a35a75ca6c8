"""Checkpoints on disk: a folder for each run under way, beside its result to be.

The folder `.checkpoints/RUN` has one file for each part under way (`under-way-PART.checkpoint`,
written again and again) and files of finished parts (`finished-N.checkpoint`, never changed). Each
is complete or absent, and is used only by the same run under the same versions. `begun.note` says
who has begun the run. The folder is removed when the result is there.

A thread writes when 30 seconds have gone by since it wrote last, or since the run began, so that
what was compiled before the first step is soon worth it; and so seldom that writing takes at most
2 % of its time. Parts that finish in between are written together. A part under way is written
again with all its records so far, without a copy in memory; 1 GB of them take seconds, so that this
happens every few minutes, and room on the disk for two such files.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attnscape import spec
from attnscape.errors import UsageError
from attnscape.experiments import plain_file
from attnscape.experiments.checkpoint_file import Saved
from attnscape.files import Writer, atomic, writable_directory
from attnscape.training.checkpoints import UnusedCheckpointWarning
from attnscape.trees import NotSavableError, Plain

FOLDER = ".checkpoints"
_FORMAT = 1
_NOTE = "begun.note"
_SECONDS = 30.0  # of work between two writes
_TIMES = 50  # the time between two writes, in times of what the last one took


class CheckpointFolder:
    """The checkpoints of one run (`attnscape.training.Checkpoints`).

    Args:
        results: The folder of the result.
        run_id: The run.
        attributes: All that a checkpoint must agree in to be used: versions, kernels.
        about: What else its reader is told, such as the name of the run.
        owner: Begins the names of files that this process writes, if others write to the same
            folder at the same time.
        clock: Returns the time in seconds.

    Examples:
        >>> import tempfile
        >>> from attnscape.experiments.checkpoints import CheckpointFolder
        >>> folder = tempfile.mkdtemp()
        >>> first = CheckpointFolder(folder, "0" * 64, {"numpy": "2"}, seconds=0)
        >>> first.offer("seed-0", 10, lambda: {"parameters": [0.5]})
        >>> CheckpointFolder(folder, "0" * 64, {"numpy": "2"}).read("seed-0")
        {'parameters': [0.5]}
        >>> first.remove()
        >>> CheckpointFolder(folder, "0" * 64, {"numpy": "2"}).read("seed-0") is None
        True
    """

    def __init__(
        self,
        results: Path | str,
        run_id: str,
        attributes: Mapping[str, Any],
        about: Mapping[str, Any] | None = None,
        owner: str = "",
        *,
        seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder_of(results, run_id)
        self._head = {"format": _FORMAT, "run_id": run_id, "attributes": dict(attributes)}
        self._about, self._owner = dict(about or {}), owner
        self._seconds = _SECONDS if seconds is None else seconds
        self._clock, self._began, self._threads = clock, clock(), threading.local()
        self._lock = threading.Lock()
        self._plan: dict[str, Any] = {"parts": [], "steps": 0, "outline": None}
        self._steps: dict[str, int] = {}
        self._finished: dict[str, Callable[[], Plain]] = {}  # not yet written
        self._off = False
        self._unusable: list[Path] = []
        self._found = self._read_all()
        self._steps_before = sum(self._steps.values())

    def describe(self, parts: Sequence[str], steps: int, outline: Plain) -> None:
        """Says what there is to do, before all else."""
        self._plan = {"parts": list(parts), "steps": steps, "outline": outline}
        # For `attnscape status`, until there is a checkpoint; nothing is lost without it.
        with contextlib.suppress(OSError, NotSavableError):
            self._folder.mkdir(parents=True, exist_ok=True)
            note = self._folder / f"{self._owner}{_NOTE}"
            with note.open("w+b") as file:
                plain_file.write(self._content({}), file)

    def read(self, part: str) -> Plain | None:
        """The state that a part had when it was written last; None if it begins."""
        return self._found.pop(part, None)

    def offer(self, part: str, step: int, state: Callable[[], Plain]) -> None:
        """Writes the state of a part under way, and those of finished ones, if that is due."""
        with self._lock:
            self._steps[part] = step
        with self._if_due() as due:
            if due:
                self._write(f"under-way-{part}", {part: state()})
                self.write_finished()

    def finish(self, part: str, step: int, state: Callable[[], Plain]) -> None:
        """Keeps the outcome of a part, and writes it when that is due."""
        with self._lock:
            self._steps[part] = step
            self._finished[part] = state
        with self._if_due() as due:
            if due:
                self.write_finished()

    def write_finished(self) -> None:
        """Writes all finished parts now.

        Raises:
            UsageError: If they cannot be written.
        """
        with self._lock:
            written = dict(self._finished)
            if not written:
                return
            begin = f"finished-{self._owner}"
            taken = {path.name for path in self._folder.glob(f"{begin}*")}
            number = next(n for n in range(len(taken) + 1) if f"{begin}{n}.checkpoint" not in taken)
            self._write(f"{begin}{number}", {part: state() for part, state in written.items()})
            self._finished = {}
        for part in written:  # what it was when it was under way
            with contextlib.suppress(OSError):
                (self._folder / f"under-way-{part}.checkpoint").unlink()

    def remove(self) -> None:
        """Removes the folder: the result is there."""
        remove(self._folder)

    @contextlib.contextmanager
    def _if_due(self) -> Generator[bool]:
        """Context manager: whether this thread should write now. Errors of it end no training."""
        now = self._clock()
        if not hasattr(self._threads, "next"):
            self._threads.next = self._began + self._seconds
        if self._off or now < self._threads.next:
            yield False
            return
        try:
            yield True
        except NotSavableError as error:
            self._off = True
            self._warn(f"{error}; so the run starts again if it is stopped.")
        except UsageError as error:
            self._warn(f"{error} The run goes on without.")
        ended = self._clock()
        self._threads.next = ended + max(self._seconds, (_TIMES - 1) * (ended - now))

    def _warn(self, sentence: str) -> None:
        # Where the same sentence was said, Python's filter of warnings says it no more.
        name = self._about.get("name", self._folder.name)
        warnings.warn(
            f"No checkpoint of {name} can be written: {sentence}",
            UnusedCheckpointWarning,
            stacklevel=2,
        )

    def _write(self, name: str, states: Mapping[str, Plain]) -> None:
        path = writable_directory(self._folder) / f"{name}.checkpoint"
        with atomic(path) as partial, partial.open("w+b") as file:
            plain_file.write(self._content(states), file)
        while self._unusable:  # kept until now, for whoever goes back to those versions
            if (other := self._unusable.pop()) != path:
                other.unlink(missing_ok=True)

    def _content(self, states: Mapping[str, Plain]) -> dict[str, Any]:
        return {
            **self._head,
            "about": self._about,
            "plan": self._plan,
            "progress": self._progress(),
            "states": states,
        }

    def _progress(self) -> dict[str, Any]:
        """For people: what is done, and how long the rest takes at the speed of this process."""
        done = sum(self._steps.values())
        total = len(self._plan["parts"]) * self._plan["steps"]
        seconds = self._clock() - self._began
        speed = (done - self._steps_before) / seconds if seconds > 0 else 0.0
        return {
            "done": done,
            "total": total,
            "seconds_left": (total - done) / speed if speed > 0 else None,
            "writer": str(Writer.this()),
            "written": time.time(),
        }

    def _read_all(self) -> dict[str, Plain]:
        """The states in the folder; those of finished parts replace those under way."""
        found, whys = dict[str, Plain](), dict[str, Path]()
        for path in sorted(self._folder.glob("*.checkpoint"), reverse=True):
            try:
                saved = Saved.read(path)
                saved.check(self._head)
            except ValueError as error:
                if path.exists():  # otherwise another process has finished its part in between
                    self._unusable.append(path)
                    whys.setdefault(str(error), path)
                continue
            found |= saved.states
            for part, state in saved.states.items():
                self._steps[part] = state.get("step", saved.plan["steps"])
        for why, path in whys.items():  # once, if all have the same reason
            warnings.warn(
                f"The checkpoint {path} cannot be used: {why}; what it held is computed again.",
                UnusedCheckpointWarning,
                stacklevel=3,
            )
        return found


def folder_of(results: Path | str, run_id: str) -> Path:
    """The folder of a run's checkpoints."""
    return Path(results) / FOLDER / spec.short(run_id)


def remove(folder: Path) -> None:
    """Removes the folder of a run's checkpoints."""
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):  # others have checkpoints there
        folder.parent.rmdir()


def finished_parts(folder: Path) -> set[str]:
    """The parts of a run that are finished."""
    found = set[str]()
    for path in folder.glob("finished-*"):
        with contextlib.suppress(ValueError):  # damaged, or removed in between
            found |= Saved.read(path).states.keys()
    return found


def read_folder(folder: Path) -> list[Saved]:
    """All whole files of a run's folder, the newest first; one without states if it has begun."""
    found = list[tuple[float, Saved]]()
    for path in (*folder.glob("*.checkpoint"), *folder.glob(f"*{_NOTE}")):
        with contextlib.suppress(ValueError, OSError):  # damaged, or replaced in between
            found.append((path.stat().st_mtime, Saved.read(path)))
    return [saved for _, saved in sorted(found, key=lambda each: -each[0])]

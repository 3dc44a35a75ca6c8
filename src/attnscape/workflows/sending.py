"""Runs as bytes for other machines: parts of a user's file by its path, data of networks once.

The other machine loads the user's files itself, from the same paths: they need a file system that
both see. Data of networks are large and shared by many runs, so they are written to a file beside
the results.
"""

from __future__ import annotations

import functools
import io
import pickle
import shutil
import tempfile
from pathlib import Path
from typing import Any

from attnscape.errors import UsageError
from attnscape.files import Writer, atomic
from attnscape.loading import load_object, reference_of
from attnscape.workflows.places import Job

_PART, _DATA = "part", "data"
_FOLDER = ".cluster-"


class Sender:
    """Makes bytes of jobs.

    Args:
        directory: The folder of the results, which the others see.

    Attributes:
        folder: A folder in it for data, as long as jobs are sent.
    """

    def __init__(self, directory: Path) -> None:
        _remove_leftovers(directory)
        begin = f"{_FOLDER}{Writer.this()}-"
        self.folder: Path = Path(tempfile.mkdtemp(prefix=begin, dir=directory))
        self.folder.chmod(0o755)  # for workers of another user
        self._written = dict[int, tuple[object, Path]]()  # keeps the data, so that no id recurs

    def to_bytes(self, job: Job) -> tuple[bytes, bool]:
        """The bytes of a job, and whether it has parts of a user's file.

        Raises:
            UsageError: If a part cannot be sent.
        """
        data = getattr(job.run, "data", None)
        try:
            place = None if data is None else self._place_of(data)
            return _to_bytes(job, data, place)
        except UsageError:
            raise
        except Exception as error:  # of pickle, or of a user's part
            raise UsageError(
                f"{job.run.name} cannot be sent to other processes ({error}); give its parts names "
                "in their file."
            ) from error

    def close(self) -> None:
        """Removes the data."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _place_of(self, data: Any) -> Path:
        """The file of data that runs share."""
        if id(data) not in self._written:
            path = self.folder / f"data-{data.digest[:16]}.pickle"
            if not path.exists():
                with atomic(path) as partial:
                    partial.write_bytes(_to_bytes(data)[0])
            self._written[id(data)] = (data, path)
        return self._written[id(data)][1]


def _remove_leftovers(directory: Path) -> None:
    """Removes the data of processes of this host that were killed."""
    for leftover in directory.glob(f"{_FOLDER}*"):
        begun_by = leftover.name.removeprefix(_FOLDER).rpartition("-")[0]
        if (writer := Writer.read(begun_by)) and writer.is_gone:
            shutil.rmtree(leftover, ignore_errors=True)


def _to_bytes(thing: object, data: object = None, place: Path | None = None) -> tuple[bytes, bool]:
    file = io.BytesIO()
    pickler = _Pickler(file)
    pickler.data, pickler.place = data, place
    pickler.dump(thing)
    return file.getvalue(), pickler.has_own


class _Pickler(pickle.Pickler):
    """Writes references in place of parts from users' files, and a path in place of data."""

    data: object = None
    place: Path | None = None
    has_own = False

    def persistent_id(self, obj: object) -> tuple[str, str] | None:
        if self.data is not None and obj is self.data:
            return _DATA, str(self.place)
        if (reference := reference_of(obj)) is not None:
            self.has_own = True
            return _PART, reference
        return None


class _Unpickler(pickle.Unpickler):
    def persistent_load(self, pid: tuple[str, str]) -> Any:
        kind, words = pid
        return load_object(words) if kind == _PART else _data(words)


@functools.lru_cache(maxsize=2)
def _data(path: str) -> object:
    """Data of networks; runs that come one after the other share them."""
    return from_bytes(Path(path).read_bytes())


def from_bytes(content: bytes) -> Any:
    """What bytes were made of.

    Raises:
        UsageError: If a user's file or a module is not there, or data are not.
    """
    try:
        return _Unpickler(io.BytesIO(content)).load()
    except (ImportError, AttributeError, OSError) as error:
        raise UsageError(f"A part of the run cannot be loaded ({error}).") from error

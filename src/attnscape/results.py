"""Results on disk: NetCDF files that are whole or not there, found again by what made them."""

from __future__ import annotations

import contextlib
import glob
import os
from pathlib import Path
from typing import Any, Protocol

import xarray as xr

from attnscape import spec
from attnscape.errors import UsageError
from attnscape.identity import Identity
from attnscape.provenance import SCHEMA_VERSION, provenance
from attnscape.training import Progress, silent


class Computation(Protocol):
    """What a result comes from: an `Experiment`, or anything else that says what determines it."""

    @property
    def name(self) -> str:
        """Beginning of the file's name, for people."""
        ...

    @property
    def identity(self) -> Identity:
        """What tells its result from others."""
        ...

    @property
    def run_id(self) -> str:
        """SHA-256 of the identity."""
        ...

    @property
    def run_steps(self) -> int:
        """The work to do."""
        ...

    @property
    def precision(self) -> str:
        """Of the training."""
        ...

    def spec(self) -> dict[str, Any]:
        """What it is made of, for people, in terms of JSON; among it `seeds` and `steps`."""
        ...

    def run(self, progress: Progress = silent) -> xr.Dataset:
        """Computes the result."""
        ...


def obtain(
    experiment: Computation, directory: Path | str, progress: Progress = silent
) -> xr.Dataset:
    """The result of an experiment: from `directory` if it is there, else trained and written there.

    Raises:
        UsageError: If the directory cannot be written, or holds a file of this name that cannot be
            read or is the result of something else.
    """
    path = find(experiment, directory)
    if path is not None:
        return _held_against(experiment, load(path), path)
    directory = writable_directory(directory)
    path = directory / file_name(experiment)
    save(stamped(experiment.run(progress), experiment), path)
    return load(path)  # as whoever finds it later will see it


def file_name(experiment: Computation) -> str:
    """Name and the first 16 digits of the run id."""
    return f"{experiment.name}-{experiment.run_id[:16]}.nc"


def find(experiment: Computation, directory: Path | str) -> Path | None:
    """The file that holds the experiment's result, under whatever name it was run."""
    return next(iter(sorted(Path(directory).glob(f"*-{experiment.run_id[:16]}.nc"))), None)


def _held_against(experiment: Computation, dataset: xr.Dataset, path: Path) -> xr.Dataset:
    """The dataset, if it says itself that the experiment made it."""
    claimed = dataset.attrs.get("run_id"), dataset.attrs.get("identity")
    if claimed != (experiment.run_id, spec.canonical(experiment.identity.content)):
        raise UsageError(
            f"{path} has the name of the run {experiment.run_id[:16]}, but holds "
            f"{str(claimed[0])[:16]}: it was renamed or copied; delete it and run again."
        )
    return dataset


def stamped(dataset: xr.Dataset, experiment: Computation) -> xr.Dataset:
    """The dataset with what made it as attributes.

    `identity` is what tells it from other results, `spec` the same for people; beside them stand
    versions, precision and schema version.
    """
    return dataset.assign_attrs(
        name=experiment.name,
        run_id=experiment.run_id,
        identity=spec.canonical(experiment.identity.content),
        spec=spec.canonical(experiment.spec()),
        precision=experiment.precision,
        **provenance(),
    )


def save(dataset: xr.Dataset, path: Path | str) -> None:
    """Writes a NetCDF-4 file that appears under its name only when it is complete.

    Args:
        dataset: What `train` gave, or any other.
        path: The file, which `load` reads again.

    Raises:
        UsageError: If it cannot be written.
    """
    path = Path(path)
    with atomic(path) as partial:
        # Made in memory first: HDF5 itself crashes the process where the disk is full.
        partial.write_bytes(dataset.to_netcdf(engine="h5netcdf"))


@contextlib.contextmanager
def atomic(path: Path):
    """A name to write to; the file takes the name `path` when the block ends, or vanishes.

    Raises:
        UsageError: If it cannot be written, for example because the disk is full.
    """
    leftovers = path.parent.glob(f".{glob.escape(path.name)}.*.partial")
    for leftover in leftovers:  # of a process that was killed
        if not _alive(int(leftover.suffixes[-2][1:])):
            with contextlib.suppress(OSError):
                leftover.unlink()
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(path)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        raise UsageError(
            f"{path} cannot be written ({reason}); make room, or choose another folder with --out."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def load(path: Path | str) -> xr.Dataset:
    """Reads a result.

    Raises:
        UsageError: If there is no such file, it is not a result, it is damaged, or a version of
            attnscape wrote it that this one does not understand.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"There is no result file {path}; results end in .nc.")
    try:
        with path.open("rb") as file:  # `to_netcdf` also writes the classic format
            classic = file.read(3) == b"CDF"
        dataset = xr.load_dataset(path, engine="scipy" if classic else "h5netcdf")
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise UsageError(
            f"{path} is damaged or not a NetCDF file ({error}); delete it and run again."
        ) from error
    version = dataset.attrs.get("schema_version")
    if version is None:
        raise UsageError(f"{path} was not written by attnscape: it has no schema version.")
    if version != SCHEMA_VERSION:
        raise UsageError(
            f"{path} has schema version {version}, this attnscape reads {SCHEMA_VERSION}; read it "
            "with the version that wrote it, or delete it and run again."
        )
    return dataset


def load_run(path: Path | str, run_id: str) -> xr.Dataset:
    """As `load`, of a file that says itself that it is that run.

    Raises:
        UsageError: As `load`, and if it is another.
    """
    dataset = load(path)
    if dataset.attrs.get("run_id") != run_id:
        raise UsageError(
            f"{path} is not the run {run_id[:16]}: it was renamed or copied; delete it and run "
            "again."
        )
    return dataset


def writable_directory(directory: Path | str) -> Path:
    """The directory, made if it was missing.

    Raises:
        UsageError: If it cannot be made or written.
    """
    directory = Path(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"The folder {directory} cannot be made ({error.strerror}); choose another with --out."
        ) from error
    if not os.access(directory, os.W_OK):
        raise UsageError(f"The folder {directory} cannot be written; choose another with --out.")
    return directory

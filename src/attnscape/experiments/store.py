"""Results on disk: NetCDF files that are complete or absent, found by their run id."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import xarray as xr

from attnscape import spec
from attnscape.errors import UsageError
from attnscape.experiments import checkpoints, locks
from attnscape.experiments.computation import Computation
from attnscape.experiments.netcdf import read_netcdf, write_netcdf
from attnscape.experiments.partial import load_so_far
from attnscape.files import atomic, check_place, user_cache, writable_directory
from attnscape.training import Progress, part_of, silent
from attnscape.training.provenance import SCHEMA_VERSION, provenance

_LOCK = re.compile(r"([0-9a-f]{16})(-seed-\d+)?")  # of a run, or of one of its seeds


class ElsewhereError(UsageError):
    """A finished result could not be written at its place, and is in another one."""


def load_or_run(
    experiment: Computation,
    directory: Path | str,
    progress: Progress = silent,
    waiting: Callable[[], object] = lambda: None,
) -> xr.Dataset:
    """Loads the result of an experiment from `directory`, or computes it and writes it there.

    If another process is computing it there, this one waits for its result; should that process
    end without one, this one goes on.

    What is under way is kept beside it (`attnscape.experiments.checkpoints`): if the process is
    stopped, the next call goes on from there, and the result has the same bits.

    Args:
        experiment: The experiment.
        directory: The folder.
        progress: Called with (run-steps done, run-steps in all).
        waiting: Called once if another process is computing it.

    Raises:
        UsageError: If the directory cannot be written, or holds a file of this name that cannot be
            read or is the result of something else. If only the finished result cannot be written,
            the sentence says where else it is.

    Examples:
        >>> from attnscape.experiments.store import load_or_run
        >>> result = load_or_run(experiment, "results")  # doctest: +SKIP
    """
    if (found := _found(experiment, directory)) is not None:
        return found
    directory = writable_directory(directory)
    path = directory / file_name(experiment)
    check_place(path)
    with locks.alone(directory, spec.short(experiment.run_id), waiting):
        # Those who train some of its seeds look at the lock above when they have theirs.
        locks.until_free(directory, seed_locks(experiment), waiting)
        if (found := _found(experiment, directory)) is not None:  # while this one waited
            return found
        _compute(experiment, path, progress)
    return load(path)  # exactly the Dataset that a later call will load


def _compute(experiment: Computation, path: Path, progress: Progress) -> None:
    """Computes a result and saves it; nothing holds it after that, so that it is loaded once."""
    kept = checkpoints_of(experiment, path.parent)
    _save_somewhere(stamped(experiment.run(progress, kept), experiment), path)
    checkpoints.remove(checkpoints.folder_of(path.parent, experiment.run_id))


def is_under_way(experiment: Computation, directory: Path) -> bool:
    """Whether others, processes or threads, are computing the experiment, or seeds of it, here."""
    names = spec.short(experiment.run_id), *seed_locks(experiment)
    return any(locks.is_taken(directory, name) for name in names)


def locked_runs(directory: Path) -> set[str]:
    """The beginnings of the ids of the runs that somebody computes here, or seeds of them."""
    found = (_LOCK.fullmatch(name) for name in locks.taken(directory))
    return {match[1] for match in found if match}


def seed_locks(experiment: Computation, seeds: Sequence[int] | None = None) -> list[str]:
    """Names of the locks of those who train only some seeds; by default of all its seeds."""
    every = getattr(experiment, "seeds", ()) if seeds is None else seeds
    return [f"{spec.short(experiment.run_id)}-{part_of(seed)}" for seed in every]


def _found(experiment: Computation, directory: Path | str) -> xr.Dataset | None:
    path = find(experiment, directory)
    if path is None:
        return None
    dataset = _checked(experiment, load(path), path)
    # If a process was stopped before it could do so.
    checkpoints.remove(checkpoints.folder_of(directory, experiment.run_id))
    for name in (spec.short(experiment.run_id), *seed_locks(experiment)):
        locks.remove(Path(directory), name)
    return dataset


def checkpoints_of(
    experiment: Computation, directory: Path, owner: str = ""
) -> checkpoints.CheckpointFolder | None:
    """Those of a run; None if no other process would find them.

    Args:
        experiment: The run.
        directory: The folder of its result.
        owner: Who writes to them, if others do so at the same time.
    """
    if experiment.identity.reasons:
        return None
    made_by = provenance()
    attributes = {**made_by, **json.loads(str(made_by["versions"]))}
    del attributes["versions"]
    about = {"name": experiment.name, "spec": spec.canonical(experiment.spec())}
    return checkpoints.CheckpointFolder(directory, experiment.run_id, attributes, about, owner)


def _save_somewhere(result: xr.Dataset, path: Path) -> None:
    """Saves a finished result; in the user's cache or the system's folder if not at its place.

    Raises:
        ElsewhereError: If it is not at its place.
        UsageError: If it is nowhere.
    """
    try:
        writable_directory(path.parent)  # somebody may have removed it
        save(result, path)
    except UsageError as error:
        for other in (user_cache() / "results", Path(tempfile.gettempdir())):
            elsewhere = other / path.name
            try:
                save(result, writable_directory(other) / path.name)
            except UsageError:
                continue
            raise ElsewhereError(
                f"{error} The finished result is not lost, it is {elsewhere}: move it there, and "
                "the same command finds it."
            ) from error
        raise


def file_name(experiment: Computation) -> str:
    """The file name: the experiment's name and the first 16 digits of its run id."""
    return f"{experiment.name}-{spec.short(experiment.run_id)}.nc"


def find(experiment: Computation, directory: Path | str) -> Path | None:
    """The file with the experiment's result, even if the experiment had another name; or None."""
    path = Path(directory) / file_name(experiment)
    if os.path.exists(path):  # which spares the look at all names; False if they are too long
        return path
    return next(iter(sorted(Path(directory).glob(f"*-{spec.short(experiment.run_id)}.nc"))), None)


def _checked(experiment: Computation, dataset: xr.Dataset, path: Path) -> xr.Dataset:
    """Returns the dataset; raises UsageError if its attributes name another experiment."""
    claimed = dataset.attrs.get("run_id"), dataset.attrs.get("identity")
    if claimed != (experiment.run_id, spec.canonical(experiment.identity.content)):
        raise UsageError(
            f"{path} has the name of the run {spec.short(experiment.run_id)}, but holds "
            f"{spec.short(str(claimed[0]))}: it was renamed or copied; delete it and run again."
        )
    expected = stamped(xr.Dataset(), experiment).attrs
    lacking = [name for name in expected if name not in dataset.attrs]
    if lacking:
        raise UsageError(f"{path} has lost its attribute {lacking[0]!r}; delete it and run again.")
    return dataset


def stamped(dataset: xr.Dataset, experiment: Computation) -> xr.Dataset:
    """The dataset with attributes that say how it was made.

    `identity` distinguishes it from other results and `spec` describes it for people; the other
    attributes are name, run id, versions, precision and schema version.
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
        dataset: A result of `train`, or any other Dataset.
        path: The file.

    Raises:
        UsageError: If it cannot be written.

    Examples:
        >>> from attnscape import save
        >>> save(result, "result.nc")  # doctest: +SKIP
    """
    path = Path(path)
    with atomic(path) as partial:
        write_netcdf(dataset, partial)


def load(path: Path | str, *, partial: bool = False) -> xr.Dataset:
    """Reads a result.

    Args:
        path: Its file.
        partial: If there is no such file yet, because its run is under way or was stopped: return
            what was measured so far (`attnscape.experiments.partial.load_so_far`).

    Raises:
        UsageError: If there is no such file, it is not a result, it is damaged, or it was written
            by an incompatible version of attnscape.

    Examples:
        >>> from attnscape import load
        >>> load("nowhere.nc")
        Traceback (most recent call last):
            ...
        attnscape.errors.UsageError: There is no result file nowhere.nc; results end in .nc.
        >>> load("result.nc").equals(result)  # doctest: +SKIP
        True
    """
    path = Path(path)
    if partial and not path.is_file():
        return load_so_far(path)
    if not path.is_file():
        raise UsageError(f"There is no result file {path}; results end in .nc.")
    try:
        file = path.open("rb")
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read ({error.strerror}); see who may read it, and try again."
        ) from error
    try:
        with file:
            dataset = read_netcdf(file)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise UsageError(
            f"{path} is damaged or not a NetCDF file ({error}); delete it and run again."
        ) from error
    version = dataset.attrs.get("schema_version")
    if version is None:
        raise UsageError(f"{path} was not written by attnscape: it has no schema version.")
    if version != SCHEMA_VERSION:
        raise UsageError(
            f"{path} has schema version {version}; this version of attnscape reads "
            f"{SCHEMA_VERSION}. Read it with the version that wrote it, or delete it and run again."
        )
    return dataset


def load_run(path: Path | str, run_id: str) -> xr.Dataset:
    """Loads a result and checks that it is the run with that id.

    Raises:
        UsageError: In the same cases as `load`, and if the file holds another run.
    """
    dataset = load(path)
    if dataset.attrs.get("run_id") != run_id:
        raise UsageError(
            f"{path} is not the run {spec.short(run_id)}: it was renamed or copied; delete it and "
            "run again."
        )
    return dataset

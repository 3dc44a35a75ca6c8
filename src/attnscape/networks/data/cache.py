"""Preprocessed data on disk, found again by the contents that they were made from.

The key of an entry is the SHA-256 of the raw contents, of the arguments, and of this module's
version, so an entry is never out of date. An entry that cannot be read is made again: a `.npz`
file has a checksum of every array.
"""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from attnscape import spec
from attnscape.errors import UsageError
from attnscape.files import CACHE_VARIABLE as VARIABLE
from attnscape.files import atomic
from attnscape.files import user_cache as directory

VERSION = 1
"""Raised whenever a preprocessing computes something else from the same contents and arguments."""

Arrays = dict[str, np.ndarray]


def cached(
    name: str, contents: str, arguments: Mapping[str, object], build: Callable[[], Arrays]
) -> Arrays:
    """Arrays from the cache; builds and keeps them if they are not there, or not whole.

    Args:
        name: What the arrays are, for people: the start of the file's name.
        contents: SHA-256 of the raw contents that `build` uses.
        arguments: All else that determines what `build` returns.
        build: Computes the arrays.

    Raises:
        UsageError: If the cache cannot be written.
    """
    about = {"name": name, "contents": contents, "arguments": arguments, "version": VERSION}
    path = directory() / f"{name}-{spec.digest(spec.describe(about))[:32]}.npz"
    with contextlib.suppress(OSError, ValueError, EOFError, zipfile.BadZipFile):
        return _load(path)
    arrays = build()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as partial, partial.open("wb") as file:
            np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]
    except (OSError, UsageError) as error:
        raise UsageError(
            f"Preprocessed data cannot be kept in {path.parent} ({_reason(error)}); set the "
            f"environment variable {VARIABLE} to a folder that can be written and has room."
        ) from error
    return arrays


def _load(path: Path) -> Arrays:
    # Opened here, as numpy leaves a file open that it cannot make sense of.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _reason(error: Exception) -> str:
    cause = error if isinstance(error, OSError) else error.__cause__
    return (cause.strerror if isinstance(cause, OSError) else None) or str(error)

"""Locks in a folder, so that of several processes only one does a thing at a time.

The operating system gives a lock back when its owner ends, however it ends; on file systems without
such locks the package filelock uses files that say whose they are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from pathlib import Path

import filelock

_GLANCE = 0.2  # seconds between looks whether a lock is free


@contextlib.contextmanager
def alone(
    directory: Path, name: str, waiting: Callable[[], object] = lambda: None
) -> Generator[None]:
    """Context manager: no other thread or process is in a block with this folder and name.

    Args:
        directory: A folder that can be written.
        name: What the lock is for, as part of a file name.
        waiting: Called once if the lock is taken, before this waits for it.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from attnscape.experiments import locks
        >>> folder = Path(tempfile.mkdtemp())
        >>> with locks.alone(folder, "a run"):
        ...     locks.is_taken(folder, "a run")
        True
        >>> locks.is_taken(folder, "a run")
        False
    """
    path = _path(directory, name)
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        waiting()
        lock.acquire(poll_interval=_GLANCE)
    try:
        yield
    finally:
        # Whoever waits has this file open, and who comes later makes a new one: both find that all
        # is done. After an error both may begin, which costs time and harms nothing.
        remove(directory, name)
        lock.release()


def remove(directory: Path, name: str) -> None:
    """Removes the file of a lock that is needed no more: what it was for is done."""
    with contextlib.suppress(OSError):
        _path(directory, name).unlink()


def is_taken(directory: Path, name: str) -> bool:
    """Whether a thread or process is in a block of `alone` with this folder and name."""
    path = _path(directory, name)
    if not path.exists():
        return False
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return True
    lock.release()
    return False


def taken(directory: Path) -> set[str]:
    """The names of all locks of a folder that threads or processes hold."""
    names = (path.name[1:-5] for path in directory.glob(".*.lock"))
    return {name for name in names if is_taken(directory, name)}


def _path(directory: Path, name: str) -> Path:
    return directory / f".{name}.lock"

"""Locks in a folder, so that of several processes only one does a thing at a time.

The operating system gives a lock back when its owner ends, however it ends; on file systems without
such locks the package filelock uses files that say whose they are.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterable
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


@contextlib.contextmanager
def alone_with_all(directory: Path, names: Iterable[str]) -> Generator[None]:
    """Context manager: as `alone`, with several names at once.

    All processes take the locks in the same order, so that none waits for another in a circle.
    """
    with contextlib.ExitStack() as stack:
        for name in sorted(names):
            stack.enter_context(alone(directory, name))
        yield


def until_free(directory: Path, names: Iterable[str], waiting: Callable[[], object]) -> None:
    """Waits until each lock has been free once.

    Args:
        directory: The folder.
        names: What the locks are for.
        waiting: Called once if a lock is taken.
    """
    told = False
    for name in names:
        while is_taken(directory, name):
            if not told:
                waiting()
                told = True
            time.sleep(_GLANCE)


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
    except OSError:  # the folder of another user, which this one may only read
        return _is_taken_of_another(path)
    lock.release()
    return False


def _is_taken_of_another(path: Path) -> bool:
    import fcntl  # not on every system, where the error above has another reason

    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # closing the file gives it back
        except BlockingIOError:
            return True
    return False


def taken(directory: Path) -> set[str]:
    """The names of all locks of a folder that threads or processes hold."""
    names = (path.name[1:-5] for path in directory.glob(".*.lock"))
    return {name for name in names if is_taken(directory, name)}


def _path(directory: Path, name: str) -> Path:
    return directory / f".{name}.lock"

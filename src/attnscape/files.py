"""Files that are complete or absent, folders that can be written, and who writes there.

A file is written under a temporary name, `.NAME.HOST-PROCESS-START.partial`, which says whose it
is: only the host that began it can tell that its process is gone and remove it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import glob
import hashlib
import os
import platform
import re
import sys
from collections.abc import Generator
from pathlib import Path

from attnscape.errors import UsageError

CACHE_VARIABLE = "ATTNSCAPE_CACHE"
"""The environment variable that names another folder than that of the user's cache."""

_PROBE = bytes(4096)  # a block, so that a full disk is noticed


@dataclasses.dataclass(frozen=True)
class Writer:
    """A process that writes files, named so that no other one is taken for it.

    Attributes:
        host: Digest of the machine's name and of the namespace that numbers its processes:
            containers of one name number theirs apart.
        process: The number of the process.
        started: When it started, in ticks since the machine did; 0 if the system does not tell. A
            number is given again to a later process.

    Examples:
        >>> from attnscape.files import Writer
        >>> Writer.this().is_gone
        False
        >>> Writer.read(str(Writer.this())) == Writer.this()
        True
    """

    host: str
    process: int
    started: int

    @classmethod
    def this(cls) -> Writer:
        """This process."""
        return cls(_host(), os.getpid(), _started(os.getpid()))

    @classmethod
    def read(cls, text: str) -> Writer | None:
        """The writer with this text; None if it is none."""
        if not (found := re.fullmatch(r"([0-9a-f]{8})-(\d{1,18})-(\d{1,18})", text, re.ASCII)):
            return None
        return cls(found[1], int(found[2]), int(found[3]))

    def __str__(self) -> str:
        return f"{self.host}-{self.process}-{self.started}"

    @property
    def is_gone(self) -> bool:
        """Whether its process has certainly ended; of another host's process nobody knows."""
        if self.host != _host():
            return False
        try:
            os.kill(self.process, 0)
        except (ProcessLookupError, OverflowError):
            return True
        except PermissionError:
            pass
        return _started(self.process) != self.started


@functools.cache
def _host() -> str:
    names = [platform.node()]
    with contextlib.suppress(OSError):  # only on Linux
        names.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(names).encode(errors="replace")).hexdigest()[:8]


def _started(process: int) -> int:
    try:
        status = Path(f"/proc/{process}/stat").read_text("utf-8", errors="replace")
    except OSError:
        return 0
    # The name of the program, in brackets, may hold anything; 20 values after it is the start.
    return int(status.rpartition(")")[2].split()[19])


@contextlib.contextmanager
def atomic(path: Path) -> Generator[Path]:
    """Context manager: a temporary path to write to; it becomes `path` if the block succeeds.

    It is whole even if the machine stops at any moment: its content is on the disk before it gets
    its name, and its name before this returns.

    Raises:
        UsageError: If it cannot be written, for example because the disk is full.

    Examples:
        >>> from pathlib import Path
        >>> from attnscape.files import atomic
        >>> with atomic(Path("numbers.txt")) as partial:  # doctest: +SKIP
        ...     partial.write_text("1 2 3")
    """
    _remove_leftovers(path)
    partial = _partial(path)
    try:
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(path)
        _sync_names(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.{Writer.this()}.partial")


def _remove_leftovers(path: Path) -> None:
    """Removes what processes of this host that were killed have left."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        begun_by = leftover.name[len(path.name) + 2 : -len(".partial")]
        if (writer := Writer.read(begun_by)) and writer.is_gone:
            with contextlib.suppress(OSError):
                leftover.unlink()


def _sync_names(directory: Path) -> None:
    with contextlib.suppress(OSError):  # not every system opens or syncs folders
        folder = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _unwritable(path: Path, error: OSError) -> UsageError:
    reason = os.strerror(error.errno) if error.errno else error
    return UsageError(
        f"{path} cannot be written ({reason}); make room, or choose another folder with --out."
    )


def check_place(path: Path) -> None:
    """Raises UsageError unless a file of this name can be written there, before long work for it.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from attnscape.files import check_place
        >>> check_place(Path(tempfile.gettempdir()) / "result.nc")
        >>> check_place(Path(tempfile.gettempdir()) / ("long" * 100))
        Traceback (most recent call last):
            ...
        attnscape.errors.UsageError: ...longlong cannot be written (File name too long); make ...
    """
    partial = _partial(path)
    try:
        with partial.open("wb") as file:
            file.write(_PROBE)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def writable_directory(directory: Path | str) -> Path:
    """The directory; makes it if it is missing.

    Raises:
        UsageError: If it cannot be made or written.

    Examples:
        >>> import tempfile
        >>> from attnscape.files import writable_directory
        >>> writable_directory(tempfile.gettempdir()).is_dir()
        True
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


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal digits.

    Raises:
        OSError: If it cannot be read.

    Examples:
        >>> import os
        >>> from pathlib import Path
        >>> from attnscape.files import sha256
        >>> sha256(Path(os.devnull))[:8]
        'e3b0c442'
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def user_cache() -> Path:
    """The folder that `ATTNSCAPE_CACHE` names, or one in the user's cache directory.

    Examples:
        >>> from attnscape.files import user_cache
        >>> user_cache()  # doctest: +SKIP
        PosixPath('/home/ada/.cache/attnscape')
    """
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "attnscape"

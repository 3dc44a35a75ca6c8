"""Files that are complete or absent, and folders that can be written."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
from pathlib import Path

from attnscape.errors import UsageError


@contextlib.contextmanager
def atomic(path: Path):
    """Context manager: a temporary path to write to; it becomes `path` if the block succeeds.

    Raises:
        UsageError: If it cannot be written, for example because the disk is full.

    Examples:
        >>> from pathlib import Path
        >>> from attnscape.files import atomic
        >>> with atomic(Path("numbers.txt")) as partial:  # doctest: +SKIP
        ...     partial.write_text("1 2 3")
    """
    leftovers = path.parent.glob(f".{glob.escape(path.name)}.*.partial")
    for leftover in leftovers:  # from processes that were killed
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

"""A checksum at the end of a result file, so that damage is noticed before HDF5 reads it."""

from __future__ import annotations

import hashlib
from pathlib import Path

# HDF5 and NetCDF readers take no notice of what follows the end that a file's head names.
_MARK = b"\nattnscape sha256 "
_LENGTH = len(_MARK) + 64


def with_checksum(content: bytes) -> bytes:
    r"""The content of a file, with its SHA-256 after it.

    Examples:
        >>> from attnscape.experiments.checksum import with_checksum
        >>> with_checksum(b"numbers")[:20]
        b'numbers\nattnscape sh'
    """
    return content + _end_of(content)


def is_intact(path: Path) -> bool:
    """Whether a file is what was written; True if it has no checksum, or lost it with its end.

    It has to be asked before HDF5 reads the file, which can loop forever on a single wrong bit.

    Raises:
        OSError: If the file cannot be read.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from attnscape.experiments.checksum import is_intact, with_checksum
        >>> path = Path(tempfile.mkdtemp()) / "result.nc"
        >>> _ = path.write_bytes(with_checksum(b"numbers"))
        >>> is_intact(path)
        True
        >>> _ = path.write_bytes(path.read_bytes().replace(b"num", b"mum"))
        >>> is_intact(path)
        False
    """
    whole = path.read_bytes()
    end = whole[-_LENGTH:]
    return _MARK not in end or end == _end_of(memoryview(whole)[:-_LENGTH])


def checked(whole: bytes) -> bytes:
    """The content of a file that was written with its checksum.

    Raises:
        ValueError: If it is not what was written, or has no checksum.

    Examples:
        >>> from attnscape.experiments.checksum import checked, with_checksum
        >>> checked(with_checksum(b"numbers"))
        b'numbers'
        >>> checked(with_checksum(b"numbers")[:-1])
        Traceback (most recent call last):
            ...
        ValueError: its checksum is not that of its content
    """
    content = whole[:-_LENGTH]
    if whole[-_LENGTH:] != _end_of(content):
        raise ValueError("its checksum is not that of its content")
    return content


def _end_of(content: bytes | memoryview) -> bytes:
    return _MARK + hashlib.sha256(content).hexdigest().encode()

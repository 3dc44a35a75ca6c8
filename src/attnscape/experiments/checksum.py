"""A checksum at the end of a result file, so that damage is noticed before HDF5 reads it.

Files are read piece by piece, so that the largest takes no more memory than the smallest.
"""

from __future__ import annotations

import hashlib
import os
from typing import BinaryIO

# HDF5 and NetCDF readers take no notice of what follows the end that a file's head names.
_MARK = b"\nattnscape sha256 "
_LENGTH = len(_MARK) + 64
_PIECE = 2**20  # bytes


def append_checksum(file: BinaryIO) -> None:
    r"""Writes the SHA-256 of a file's content after it.

    Examples:
        >>> import io
        >>> from attnscape.experiments.checksum import append_checksum
        >>> file = io.BytesIO(b"numbers")
        >>> append_checksum(file)
        >>> file.getvalue()[:20]
        b'numbers\nattnscape sh'
    """
    end = _end_of(file, file.seek(0, os.SEEK_END))
    file.write(end)


def is_intact(file: BinaryIO) -> bool:
    """Whether a file's content is what was written; True if it has no checksum, or lost it.

    It has to be asked before HDF5 reads the content, which can loop forever on a single wrong bit.

    Examples:
        >>> import io
        >>> from attnscape.experiments.checksum import append_checksum, is_intact
        >>> file = io.BytesIO(b"numbers")
        >>> append_checksum(file)
        >>> is_intact(file), is_intact(io.BytesIO(file.getvalue().replace(b"num", b"mum")))
        (True, False)
    """
    length, end = _ending(file)
    return _MARK not in end or end == _end_of(file, length)


def check(file: BinaryIO) -> None:
    """Raises ValueError unless a file is what was written, with its checksum.

    Examples:
        >>> import io
        >>> from attnscape.experiments.checksum import check
        >>> check(io.BytesIO(b"numbers"))
        Traceback (most recent call last):
            ...
        ValueError: its checksum is not that of its content
    """
    length, end = _ending(file)
    if end != _end_of(file, length):
        raise ValueError("its checksum is not that of its content")


def _ending(file: BinaryIO) -> tuple[int, bytes]:
    """The length of the content, and what follows it."""
    length = max(0, file.seek(0, os.SEEK_END) - _LENGTH)
    file.seek(length)
    return length, file.read(_LENGTH)


def _end_of(file: BinaryIO, length: int) -> bytes:
    """What should follow the content with this length; the file is there then."""
    digest = hashlib.sha256()
    file.seek(0)
    while length:
        piece = file.read(min(length, _PIECE))
        if not piece:  # somebody has cut it in between
            break
        digest.update(piece)
        length -= len(piece)
    return _MARK + digest.hexdigest().encode()

"""Datasets as NetCDF-4 files with a checksum, without a copy of the file in memory.

HDF5 crashes the process if a write fails, as it does on a full disk, and refuses files that another
program has open. So it gets files of Python's, of which it knows neither.
"""

from __future__ import annotations

import os
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO

import xarray as xr

from attnscape.experiments.checksum import append_checksum, is_intact


def write_netcdf(dataset: xr.Dataset, path: Path) -> None:
    """Writes a Dataset.

    Args:
        dataset: The Dataset.
        path: The file.

    Raises:
        OSError: If it cannot be written; what is there then is no whole file.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import xarray as xr
        >>> from attnscape.experiments.netcdf import read_netcdf, write_netcdf
        >>> path = Path(tempfile.mkdtemp()) / "one.nc"
        >>> write_netcdf(xr.Dataset({"loss": 0.5}), path)
        >>> with path.open("rb") as file:
        ...     float(read_netcdf(file)["loss"])
        0.5
    """
    with path.open("w+b", buffering=0) as file:
        unfailing = _Unfailing(file)
        dataset.to_netcdf(unfailing, engine="h5netcdf")  # pyright: ignore[reportCallIssue, reportArgumentType]
        if unfailing.error is not None:
            raise unfailing.error
    with path.open("r+b") as file:
        append_checksum(file)


def read_netcdf(file: BinaryIO) -> xr.Dataset:
    """Reads a Dataset.

    Args:
        file: An open file.

    Raises:
        ValueError: If it is damaged, or of no format that is known.
        OSError: Likewise.
        KeyError: Likewise.
        RuntimeError: Likewise.
    """
    if not is_intact(file):
        raise ValueError("its checksum is not that of its content")
    file.seek(0)
    classic = file.read(3) == b"CDF"  # `to_netcdf` also writes the classic format
    file.seek(0)
    return xr.load_dataset(file, engine="scipy" if classic else "h5netcdf")


class _Unfailing:
    """A file whose writer sees no error: the first one is kept, and nothing is written after it.

    HDF5 does not read what it has written, so that it does not notice.
    """

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self.error: BaseException | None = None

    def write(self, content: memoryview) -> int:
        """Writes all of the content, unless there was an error."""
        rest = memoryview(content).cast("B")
        while self.error is None and len(rest):
            try:
                rest = rest[self._file.write(rest) :]
            except BaseException as error:  # Ctrl-C, too, would be an error to HDF5
                self.error = error
        self._file.seek(len(rest), os.SEEK_CUR)
        return len(content)

    def truncate(self, size: int) -> int:
        """Sets the size of the file, unless there was an error."""
        if self.error is None:
            try:
                self._file.truncate(size)
            except OSError as error:
                self.error = error
        return size

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

"""Which results a folder holds: one look at its names serves many runs."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from attnscape import spec

_TIMES = 20  # the age that a look may have, in times of what it took


class Present:
    """The results in a folder, by a look that took at most 5 % of the time since then.

    In a small folder that is now; a look at 100,000 names takes a tenth of a second, and longer
    on some file systems that machines share. What others have made since is not seen yet.

    Args:
        directory: The folder; it need not exist.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from attnscape.experiments.present import Present
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "one-0123456789abcdef.nc").touch()
        >>> "0123456789abcdef" + 48 * "0" in Present(folder)
        True
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._runs = frozenset[str]()
        self._good_until = -float("inf")

    def __contains__(self, run_id: str) -> bool:
        """Whether there is a result of the run with this id, under any name."""
        began = time.monotonic()
        if began > self._good_until:
            self._runs = finished_runs(self._directory)
            ended = time.monotonic()
            self._good_until = ended + _TIMES * (ended - began)
        return spec.short(run_id) in self._runs


def finished_runs(directory: Path) -> frozenset[str]:
    """The beginnings of the ids of the runs whose results are in a folder; it need not exist."""
    found = list[str]()
    with contextlib.suppress(FileNotFoundError), os.scandir(directory) as entries:
        found = [entry.name for entry in entries]
    return frozenset(
        name.removesuffix(".nc").rpartition("-")[2] for name in found if name.endswith(".nc")
    )

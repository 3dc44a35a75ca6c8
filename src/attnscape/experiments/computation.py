"""What computes a result and has an identity, so that its result is found again."""

from __future__ import annotations

from typing import Any, Protocol

import xarray as xr

from attnscape.identity import Identity
from attnscape.training import Checkpoints, Progress, silent


class Computation(Protocol):
    """Anything that computes a result and has an identity, such as an `Experiment`."""

    @property
    def name(self) -> str:
        """Start of the file name, for people."""
        ...

    @property
    def identity(self) -> Identity:
        """Everything that distinguishes its result from others."""
        ...

    @property
    def run_id(self) -> str:
        """SHA-256 of the identity."""
        ...

    @property
    def run_steps(self) -> int:
        """Sum of the steps of all runs: the work to do."""
        ...

    @property
    def precision(self) -> str:
        """Precision of the training."""
        ...

    @property
    def at_once(self) -> int:
        """How many such computations other processes should compute at once.

        0 if another process cannot: it does not have what came from a user's file.
        """
        ...

    def spec(self) -> dict[str, Any]:
        """Description as JSON, for people; has the keys `seeds` and `steps`."""
        ...

    def run(
        self, progress: Progress = silent, checkpoints: Checkpoints | None = None
    ) -> xr.Dataset:
        """Computes the result, from where the checkpoints were left; they are of this run only."""
        ...

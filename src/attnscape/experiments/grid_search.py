"""A search over the 1-2-5 grid that waits to be run, by a plan or for an artifact."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import xarray as xr

from attnscape.experiments.computation import Computation
from attnscape.experiments.experiment import Experiment
from attnscape.experiments.tuning import Search, search


@dataclasses.dataclass(frozen=True)
class GridSearch:
    """A search for the learning rates of an experiment's optimizers, by `tuning.search`.

    Attributes:
        experiment: The experiment to tune; its learning rates, seeds and measures are not used.
    """

    experiment: Experiment

    def run(
        self, run_all: Callable[[Mapping[str, Computation]], Mapping[str, xr.Dataset]]
    ) -> Search:
        """Searches; `run_all` runs a trial by its name, or loads its result."""
        return search(self.experiment, lambda trial: run_all({trial.name: trial})[trial.name])

"""Sweeps over batch sizes: an experiment for each of them, and one result of all.

Each experiment is kept in its own file, so that it is found again in any other sweep or alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import xarray as xr

from attnscape import spec
from attnscape.errors import UsageError
from attnscape.experiments import effort, store
from attnscape.experiments.experiment import Experiment
from attnscape.training import Progress, over_batches, silent


@dataclasses.dataclass(frozen=True)
class BatchSweep:
    """An experiment, made with several batch sizes.

    Attributes:
        experiment: The experiment; its own batch size does not count.
        batches: The batch sizes.

    Raises:
        UsageError: If there is no size, a size is given twice, or below 1.

    Examples:
        >>> from functools import partial
        >>> from attnscape import Experiment, LinearTransformer, RegressionTask
        >>> from attnscape.experiments.sweep import BatchSweep
        >>> from attnscape.optimizers import adam
        >>> parts = RegressionTask(dim=2), partial(LinearTransformer.init, layers=1, dim=2)
        >>> experiment = Experiment("one", *parts, {"adam": adam}, {"adam": (0.01,)}, (0, 1), 100)
        >>> sweep = BatchSweep(experiment, (32, 128))
        >>> [each.name for each in sweep.experiments], sweep.run_steps
        (['one-batch-32', 'one-batch-128'], 400)
        >>> result = sweep.load_or_run("results")  # doctest: +SKIP
        >>> result["loss"].dims  # doctest: +SKIP
        ('optimizer', 'learning_rate', 'batch', 'seed', 'step')
    """

    experiment: Experiment
    batches: tuple[int, ...]

    def __post_init__(self) -> None:
        batches = list(self.batches)
        if not batches or len(set(batches)) != len(batches) or min(batches) < 1:
            raise UsageError(
                f"The batch sizes are {batches}; give at least one, none twice and none below 1."
            )

    @property
    def experiments(self) -> tuple[Experiment, ...]:
        """One experiment for each batch size."""
        name = self.experiment.name
        return tuple(
            dataclasses.replace(self.experiment, name=f"{name}-batch-{batch}", batch=batch)
            for batch in self.batches
        )

    @property
    def run_steps(self) -> int:
        """Sum of the steps of all runs: the work to do."""
        return len(self.batches) * self.experiment.run_steps

    @property
    def run_id(self) -> str:
        """SHA-256 of the run ids of its experiments."""
        return spec.digest([each.run_id for each in self.experiments])

    def path(self, directory: Path | str) -> Path:
        """The file of the result of all batch sizes."""
        return Path(directory) / f"{self.experiment.name}-{spec.short(self.run_id)}.nc"

    def load_or_run(
        self,
        directory: Path | str,
        progress: Progress = silent,
        waiting: Callable[[], object] = lambda: None,
    ) -> xr.Dataset:
        """Loads or computes the result of each batch size, and writes that of all beside them.

        Args:
            directory: The folder of the results.
            progress: Called repeatedly with (run-steps done, run-steps in all).
            waiting: Called if another process is computing one of them.

        Returns:
            The dim `batch` follows learning_rate; the attribute `run_ids` names the experiments.

        Raises:
            UsageError: As `attnscape.experiments.store.load_or_run`; or, before anything is
                computed, if all batch sizes together take more memory or time than there is.
        """
        effort.estimated(self.experiment, self.batches).checked()
        datasets = list[xr.Dataset]()
        for number, experiment in enumerate(self.experiments):
            before = number * experiment.run_steps

            def report(done: int, total: int, before: int = before) -> None:
                progress(before + done, self.run_steps)

            report(0, self.run_steps)
            datasets.append(store.load_or_run(experiment, directory, report, waiting))
        together = over_batches(datasets).assign_attrs(
            name=self.experiment.name,
            run_id=self.run_id,
            run_ids=[dataset.attrs["run_id"] for dataset in datasets],
        )
        store.save(together, self.path(directory))
        return together

"""Learning-rate search as a protocol: a grid, a rule, seeds of its own, and no edge unexplored.

The rule: the smallest median over tuning seeds of the final evaluation loss, where a diverged run
counts as infinite. The grid is the 1-2-5 grid of 10 values that the paper's rates lie on; where the
best rate is the grid's first or last, the grid goes on by the next values of the 1-2-5 sequence.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import xarray as xr

from attnscape.experiment import Experiment
from attnscape.measures import EvaluationLoss, at
from attnscape.training import Status

GRID = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
TUNING_SEEDS = (1000, 1001, 1002)  # apart from the seeds that results are reported on
_MOST_EXTENSIONS = 4  # of two values each; a best rate beyond them is reported as on the edge


@dataclasses.dataclass(frozen=True)
class Search:
    """What a search found.

    Attributes:
        rates: The best rate of each optimizer.
        table: A row a run: optimizer, learning_rate, seed, loss (infinite where it diverged).
        extended: Optimizers for which the grid had to go on.
        at_edge: Optimizers whose best rate is still the first or last that was tried.
        trials: The experiments that were run, one after the other.
    """

    rates: Mapping[str, float]
    table: pd.DataFrame
    extended: tuple[str, ...]
    at_edge: tuple[str, ...]
    trials: tuple[Experiment, ...] = ()

    def warning(self) -> str | None:
        """A sentence for people where a best rate lies on the edge of what was tried."""
        if not self.at_edge:
            return None
        rates = ", ".join(f"{name} {self.rates[name]:g}" for name in self.at_edge)
        return f"The best learning rate lies on the edge of the rates that were tried: {rates}."


def search(
    experiment: Experiment,
    run: Callable[[Experiment], xr.Dataset],
    *,
    grid: tuple[float, ...] = GRID,
    seeds: tuple[int, ...] = TUNING_SEEDS,
) -> Search:
    """Finds a learning rate for each optimizer of an experiment.

    Args:
        experiment: What is tuned; its own learning rates, seeds and measures are not looked at.
        run: Runs an experiment, or finds its result.
        grid: Rates to begin with, ascending.
        seeds: The tuning seeds.
    """
    due = {name: tuple(grid) for name in experiment.optimizers}
    tried: dict[str, list[float]] = {name: [] for name in due}
    table, trials, extended = pd.DataFrame(), list[Experiment](), set[str]()
    while True:
        trial = dataclasses.replace(
            experiment,
            name=f"{experiment.name}-tuning",
            optimizers={name: experiment.optimizers[name] for name in due},
            learning_rates=due,
            seeds=seeds,
            measures=(EvaluationLoss(at(experiment.steps)),),
        )
        trials.append(trial)
        table = pd.concat([table, final_losses(run(trial))], ignore_index=True)
        for name, rates in due.items():
            tried[name] = sorted([*tried[name], *rates])
        best = best_rates(table)
        due = {
            name: more for name in tried if (more := beyond(best[name], tried[name])) is not None
        }
        if not due or len(trials) > _MOST_EXTENSIONS:
            return Search(best, table, tuple(sorted(extended)), tuple(due), tuple(trials))
        extended.update(due)


def final_losses(dataset: xr.Dataset) -> pd.DataFrame:
    """A row a run: optimizer, learning_rate, seed, loss at the last step (infinite if diverged)."""
    frame = dataset[["loss", "status"]].isel(step=-1).to_dataframe().reset_index()
    frame = frame[frame["status"] != Status.not_run]
    frame["loss"] = frame["loss"].where(np.isfinite(frame["loss"]), np.inf)
    return frame[["optimizer", "learning_rate", "seed", "loss"]]


def best_rates(table: pd.DataFrame) -> dict[str, float]:
    """Of each optimizer, the rate with the smallest median loss; the smaller of equal ones."""
    medians = table.groupby(["optimizer", "learning_rate"])["loss"].median()
    return {
        str(name): float(medians[name].sort_index().idxmin())
        for name in medians.index.unique("optimizer")
    }


def beyond(best: float, tried: list[float]) -> tuple[float, float] | None:
    """The next two rates outwards if the best one is the first or last tried, else None."""
    if best == tried[-1]:
        return neighbour(best, 1), neighbour(neighbour(best, 1), 1)
    if best == tried[0]:
        return neighbour(best, -1), neighbour(neighbour(best, -1), -1)
    return None


def neighbour(rate: float, direction: int) -> float:
    """The next value of the sequence ..., 0.5, 1, 2, 5, 10, ... above (1) or below (-1) `rate`."""
    position = round(3 * math.log10(rate)) + direction
    decade, digit = divmod(position, 3)
    return float(f"{(1, 2, 5)[digit]}e{decade}")

"""Learning-rate search: a grid that is extended at its edges, a rule, and separate seeds.

The rule uses six tuning seeds on which no result is reported:

- The loss of a run is the median of the last 20 of 200 evenly spaced evaluations, and over
  evaluation batches if there are several, so that one spike at the end does not matter.
- A rate at which any run diverges is excluded, however low the other losses are. Divergence need
  not grow with the rate: a rate above an excluded one can be allowed.
- Of the remaining rates the one with the smallest median over seeds is chosen; if several are
  equal, the smallest rate.
- The grid has 10 values of the 1-2-5 sequence, and the paper's rates are among them. If the best
  rate is the first or last that was tried, the grid is extended by the next values of the
  sequence; if all rates are excluded, it is extended downwards.
- If all rates are excluded in the end, the one with the fewest diverged runs is chosen, and a
  warning says so.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Generator, Mapping
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr

from attnscape.experiments.experiment import Experiment
from attnscape.experiments.rounds import driven
from attnscape.experiments.trials import GRID, TUNING_SEEDS, trial
from attnscape.training import Status

_MOST_EXTENSIONS = 4  # of two values each; a best rate at the end is reported as on the edge


@dataclasses.dataclass(frozen=True)
class Search:
    """The outcome of a search.

    Attributes:
        rates: The rate of each optimizer.
        table: One row for each run: optimizer, learning_rate, seed, loss (infinite if it diverged).
        extended: Optimizers whose grid was extended.
        at_edge: Optimizers whose rate is still the first or last that was tried.
        trials: The experiments that were run, in order.

    Examples:
        >>> import pandas as pd
        >>> from attnscape.experiments.tuning import Search, best_rates
        >>> losses = [0.3, 0.1, float("inf")]
        >>> table = pd.DataFrame({"learning_rate": [0.01, 0.02, 0.05], "loss": losses})
        >>> table = table.assign(optimizer="adam", seed=1000)
        >>> found = Search(best_rates(table), table, extended=(), at_edge=())
        >>> found.rates["adam"], found.beside("adam", "below"), found.beside("adam", "above")
        (0.02, '0.01: 0.3', '0.05: 1 of 1 diverged')
    """

    rates: Mapping[str, float]
    table: pd.DataFrame
    extended: tuple[str, ...]
    at_edge: tuple[str, ...]
    trials: tuple[Experiment, ...] = ()

    @property
    def unstable(self) -> tuple[str, ...]:
        """Optimizers with diverged runs at every rate, also at the chosen one."""
        tried = by_rate(self.table)
        return tuple(
            name for name, rate in self.rates.items() if tried.loc[(name, rate), "diverged"]
        )

    def neighbours(self) -> pd.DataFrame:
        """The rate found and the neighbouring rates that were tried.

        The columns are optimizer, place (`below`, `found`, `above`), learning_rate, loss (median
        over seeds, infinite if half of them diverged), diverged (runs) and runs. Each optimizer has
        one row for each place, in this order, unless no rate below or above was tried.
        """
        tried = by_rate(self.table)
        rows = []
        for name, rate in self.rates.items():
            mine = tried.loc[name]
            position = mine.index.tolist().index(rate)
            for place, index in (("below", -1), ("found", 0), ("above", 1)):
                if 0 <= position + index < len(mine):
                    row = mine.iloc[position + index]
                    rows.append({"optimizer": name, "place": place, "learning_rate": row.name})
                    rows[-1] |= {column: row[column] for column in mine.columns}
        return pd.DataFrame(rows).astype({"diverged": int, "runs": int})

    def beside(self, optimizer: str, place: Literal["below", "above"]) -> str:
        """The neighbour in words, such as `0.05: 0.0013, 2 of 6 diverged`; empty if none."""
        table = self.neighbours()
        for row in table[
            (table["optimizer"] == optimizer) & (table["place"] == place)
        ].itertuples():
            diverged = f"{row.diverged} of {row.runs} diverged" if row.diverged else ""
            loss = f"{row.loss:.3g}" if math.isfinite(float(str(row.loss))) else ""
            return f"{row.learning_rate:g}: {', '.join(filter(None, [loss, diverged]))}"
        return ""

    def warning(self) -> str | None:
        """Sentences for people if the rule found no good rate for some optimizer."""
        sentences = []
        if edge := [name for name in self.at_edge if name not in self.unstable]:
            rates = ", ".join(f"{name} {self.rates[name]:g}" for name in edge)
            sentences.append(
                f"The best learning rate lies on the edge of the rates that were tried: {rates}."
            )
        if self.unstable:
            found = self.neighbours().query("place == 'found' and diverged > 0")
            words = ", ".join(
                f"{row.optimizer} {row.learning_rate:g} ({row.diverged} of {row.runs} runs)"
                for row in found.itertuples()
            )
            sentences.append(
                "At every learning rate that was tried some tuning run diverged; the one with the "
                f"fewest diverged runs stands in: {words}."
            )
        return " ".join(sentences) or None


def search(
    experiment: Experiment,
    run: Callable[[Experiment], xr.Dataset],
    *,
    grid: tuple[float, ...] = GRID,
    seeds: tuple[int, ...] = TUNING_SEEDS,
) -> Search:
    """Finds a learning rate for each optimizer of an experiment, by the rule above.

    Args:
        experiment: The experiment to tune; its learning rates, seeds and measures are not used.
        run: Runs an experiment, or loads its result.
        grid: First rates to try, ascending values of the sequence 1, 2, 5, 10, ...
        seeds: The tuning seeds.

    Examples:
        >>> from functools import partial
        >>> import xarray as xr
        >>> from attnscape import Experiment, LinearTransformer, RegressionTask
        >>> from attnscape.experiments.tuning import search
        >>> from attnscape.optimizers import adam
        >>> parts = RegressionTask(dim=2), partial(LinearTransformer.init, layers=1, dim=2)
        >>> experiment = Experiment("one", *parts, {"adam": adam}, {"adam": (1.0,)}, (0,), steps=50)
        >>> def run(trial):  # in place of Experiment.run; the best rate is 0.1
        ...     rates = list(trial.learning_rates["adam"])
        ...     losses = [[[(rate - 0.1) ** 2] for rate in rates]]
        ...     coords = {"optimizer": ["adam"], "learning_rate": rates}
        ...     loss = xr.DataArray(losses, coords, ("optimizer", "learning_rate", "seed"))
        ...     return xr.Dataset({"loss": loss.expand_dims("step"), "status": 0 * loss})
        >>> found = search(experiment, run, grid=(0.01, 0.02, 0.05))
        >>> found.rates, found.extended
        ({'adam': 0.1}, ('adam',))
    """
    return driven(search_rounds(experiment, grid=grid, seeds=seeds), run)


def search_rounds(
    experiment: Experiment,
    *,
    grid: tuple[float, ...] = GRID,
    seeds: tuple[int, ...] = TUNING_SEEDS,
) -> Generator[Experiment, xr.Dataset, Search]:
    """The search of `search` as a generator: it yields trials and is sent their results.

    So several searches can go on side by side.
    """
    due = {name: tuple(grid) for name in experiment.optimizers}
    table, trials, extended = pd.DataFrame(), list[Experiment](), set[str]()
    while True:
        trials.append(trial(experiment, due, seeds))
        table = pd.concat([table, final_losses((yield trials[-1]))], ignore_index=True)
        best = best_rates(table)
        due = {name: more for name in best if (more := beyond(best[name], table, name))}
        if not due or len(trials) > _MOST_EXTENSIONS:
            at_edge = tuple(name for name in due if is_at_edge(best[name], table, name))
            return Search(best, table, tuple(sorted(extended)), at_edge, tuple(trials))
        extended.update(due)


def is_at_edge(rate: float, table: pd.DataFrame, optimizer: str) -> bool:
    """Whether the rate is the first or last that was tried.

    Examples:
        >>> import pandas as pd
        >>> from attnscape.experiments.tuning import is_at_edge
        >>> table = pd.DataFrame({"learning_rate": [0.02, 0.05], "loss": [0.3, 0.1]})
        >>> is_at_edge(0.05, table.assign(optimizer="adam", seed=0), "adam")
        True
    """
    tried = by_rate(table).loc[optimizer].index
    return rate in (tried[0], tried[-1])


def final_losses(dataset: xr.Dataset) -> pd.DataFrame:
    """One row for each run of a trial: optimizer, learning_rate, seed, loss (infinite if diverged).

    The loss is the median over the trial's steps and evaluation batches.

    Examples:
        >>> import xarray as xr
        >>> from attnscape.experiments.tuning import final_losses
        >>> runs = ("optimizer", "learning_rate", "seed")
        >>> losses = [[[[0.3, 0.1, 0.2]]]]  # at three steps; their median counts
        >>> variables = {"loss": ((*runs, "step"), losses), "status": (runs, [[[0]]])}
        >>> coords = {"optimizer": ["adam"], "learning_rate": [0.02], "seed": [0]}
        >>> final_losses(xr.Dataset(variables, coords))["loss"].tolist()
        [0.2]
    """
    over = [dim for dim in ("step", "evaluation") if dim in dataset["loss"].dims]
    # Steps at which no run has a loss were not measured. (Diverged runs lack losses at the end.)
    measured = dataset["loss"].notnull().any([dim for dim in dataset["loss"].dims if dim != "step"])
    losses = dataset["loss"]
    if measured.any():
        losses = losses.isel(step=measured)
    for dim in over:
        losses = losses.median(dim, skipna=False)
    losses = losses.where((dataset["status"] == Status.finished) & np.isfinite(losses), np.inf)
    frame = xr.Dataset({"loss": losses, "status": dataset["status"]}).to_dataframe().reset_index()
    frame = frame[frame["status"] != Status.not_run]
    return frame[["optimizer", "learning_rate", "seed", "loss"]]


def by_rate(table: pd.DataFrame) -> pd.DataFrame:
    """One row for each (optimizer, learning_rate): loss (median), diverged, runs.

    Examples:
        >>> import pandas as pd
        >>> from attnscape.experiments.tuning import by_rate
        >>> table = pd.DataFrame({"seed": [0, 1, 2], "loss": [0.1, 0.2, float("inf")]})
        >>> by_rate(table.assign(optimizer="adam", learning_rate=0.02)).iloc[0].tolist()
        [0.2, 1.0, 3.0]
    """
    losses = table.groupby(["optimizer", "learning_rate"])["loss"]
    return pd.DataFrame(
        {
            "loss": losses.median(),
            "diverged": losses.agg(lambda each: int(np.isinf(each).sum())),
            "runs": losses.size(),
        }
    ).sort_index()


def best_rates(table: pd.DataFrame) -> dict[str, float]:
    """The rate of each optimizer by the rule above.

    Examples:
        >>> import pandas as pd
        >>> from attnscape.experiments.tuning import best_rates
        >>> losses = [0.3, 0.1, float("inf")]
        >>> table = pd.DataFrame({"learning_rate": [0.01, 0.02, 0.05], "loss": losses})
        >>> best_rates(table.assign(optimizer="adam", seed=0))
        {'adam': 0.02}
    """
    tried = by_rate(table).reset_index()
    # Rates without divergence come first; among equal counts the smallest median decides.
    tried = tried.sort_values(["diverged", "loss", "learning_rate"], kind="stable")
    best = tried.drop_duplicates("optimizer").set_index("optimizer")["learning_rate"]
    return {str(name): float(best[name]) for name in sorted(best.index)}


def beyond(best: float, table: pd.DataFrame, optimizer: str) -> tuple[float, float] | None:
    """The next two rates outwards if the grid must be extended, otherwise None.

    Examples:
        >>> import pandas as pd
        >>> from attnscape.experiments.tuning import beyond
        >>> table = pd.DataFrame({"learning_rate": [0.02, 0.05], "loss": [0.3, 0.1]})
        >>> beyond(0.05, table.assign(optimizer="adam", seed=0), "adam")
        (0.1, 0.2)
    """
    mine = by_rate(table).loc[optimizer]
    if best == mine.index[0] or mine["diverged"].all():
        below = neighbour(float(mine.index[0]), -1)
        return below, neighbour(below, -1)
    if best == mine.index[-1]:
        above = neighbour(float(mine.index[-1]), 1)
        return above, neighbour(above, 1)
    return None


def neighbour(rate: float, direction: int) -> float:
    """The value of the sequence ..., 0.5, 1, 2, 5, 10, ... after (1) or before (-1) `rate`.

    `rate` is a value of the sequence.

    Examples:
        >>> from attnscape.experiments.tuning import neighbour
        >>> neighbour(0.5, 1), neighbour(0.5, -1)
        (1.0, 0.2)
    """
    position = round(3 * math.log10(rate)) + direction
    decade, digit = divmod(position, 3)
    return float(f"{(1, 2, 5)[digit]}e{decade}")

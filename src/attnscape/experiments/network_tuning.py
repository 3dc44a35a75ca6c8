"""Learning-rate search on half-decades, for real networks and what is compared with them.

First whole decades are tried, then the half-decades beside the best one. The rule is that of
`attnscape.experiments.tuning`: rates at which a run diverges are out, and the smallest median of
final losses wins, on tuning seeds on which nothing is reported.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Mapping, Sequence

import pandas as pd
import xarray as xr

from attnscape.experiments.computation import Computation
from attnscape.experiments.rounds import Rounds, driven
from attnscape.experiments.tuning import (
    TUNING_SEEDS,
    Search,
    best_rates,
    by_rate,
    final_losses,
    is_at_edge,
)
from attnscape.optimizers import Factory

DECADES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
SEEDS = TUNING_SEEDS[:2]
_MOST = 6  # rounds: decades, extensions of them, then half-decades

Train = Callable[[Mapping[str, Factory], Mapping[str, Sequence[float]], Sequence[int]], xr.Dataset]


@dataclasses.dataclass(frozen=True)
class RateSearch:
    """A search for learning rates that an artifact needs before its own runs are known.

    Attributes:
        optimizers: The optimizers.
        trials: Function `(optimizers, learning_rates, seeds)` that gives the runs to make.
        combined: Function that makes one Dataset of their results, with the dims (optimizer,
            learning_rate, seed, step) and the losses that decide.
    """

    optimizers: Mapping[str, Factory]
    trials: Callable[
        [Mapping[str, Factory], Mapping[str, Sequence[float]], Sequence[int]],
        Mapping[str, Computation],
    ]
    combined: Callable[[Sequence[xr.Dataset]], xr.Dataset]

    def rounds(self) -> Rounds[Search]:
        """The search: it yields all runs of a round, and is sent their results."""
        rounds = _rounds(self.optimizers)
        try:
            due = next(rounds)
            while True:
                results = yield self.trials(*due)
                due = rounds.send(self.combined(list(results.values())))
        except StopIteration as end:
            return end.value


def search_networks(
    optimizers: Mapping[str, Factory],
    train: Train,
    *,
    decades: Sequence[float] = DECADES,
    seeds: Sequence[int] = SEEDS,
) -> Search:
    """Finds a learning rate for each optimizer.

    Args:
        optimizers: The optimizers.
        train: Function `(optimizers, learning_rates, seeds)` that trains, or loads, all runs.
        decades: The first rates, ascending.
        seeds: The tuning seeds.
    """
    return driven(_rounds(optimizers, decades, seeds), lambda due: train(*due))


def _rounds(
    optimizers: Mapping[str, Factory],
    decades: Sequence[float] = DECADES,
    seeds: Sequence[int] = SEEDS,
) -> Generator[
    tuple[Mapping[str, Factory], Mapping[str, Sequence[float]], Sequence[int]], xr.Dataset, Search
]:
    """The search: it yields optimizers, their rates and the seeds, and is sent what came of it."""
    due: dict[str, tuple[float, ...]] = {name: tuple(decades) for name in optimizers}
    table, extended = pd.DataFrame(), set[str]()
    for _ in range(_MOST):
        chosen = {name: optimizers[name] for name in due}
        trained = yield chosen, due, tuple(seeds)
        table = pd.concat([table, final_losses(trained)], ignore_index=True)
        best = best_rates(table)
        due = {name: more for name in best if (more := _next(best[name], table, name))}
        extended |= {name for name, more in due.items() if _is_beyond(more, table, name)}
        if not due:
            break
    best = best_rates(table)
    at_edge = tuple(name for name in due if is_at_edge(best[name], table, name))
    return Search(best, table, tuple(sorted(extended)), at_edge)


def _next(best: float, table: pd.DataFrame, optimizer: str) -> tuple[float, ...]:
    """The rates to try next: a decade further if the best rate is at an end, else half-decades."""
    tried = by_rate(table).loc[optimizer]
    rates = [float(rate) for rate in tried.index]
    if tried["diverged"].all() or best == rates[0]:
        return (_times(rates[0], -2),)
    if best == rates[-1]:
        return (_times(best, 2),)
    halves = (_times(best, -1), _times(best, 1))
    return tuple(rate for rate in halves if rate not in rates)


def _is_beyond(rates: Sequence[float], table: pd.DataFrame, optimizer: str) -> bool:
    tried = by_rate(table).loc[optimizer].index
    return any(rate < tried.min() or rate > tried.max() for rate in rates)


def _times(rate: float, halves: int) -> float:
    """The rate times 10^(halves / 2), to two digits, so that equal rates are equal numbers."""
    return float(f"{rate * 10 ** (halves / 2):.2g}")

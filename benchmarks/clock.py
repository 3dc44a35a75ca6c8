"""Timing on a machine that others use too: everything that is compared is measured in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from attnscape.optimizers import Factory
from attnscape.steppers import Group
from attnscape.tasks import Task
from attnscape.training._engine import Engine
from attnscape.training._threads import for_each_seed


def in_turns(actions: Mapping[Any, Callable[[], Any]], rounds: int) -> dict[Any, list[Any]]:
    """Calls every action once a round; each returns its own seconds (per whatever it counts)."""
    seconds: dict[Any, list[Any]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            seconds[name].append(action())
    return seconds


def seconds_of(action: Callable[[], Any], budget: float, units: int = 1) -> float:
    """Seconds a unit of `action`, repeated until `budget` seconds are spent."""
    start, times = time.perf_counter(), 0
    while True:
        action()
        times += 1
        spent = time.perf_counter() - start
        if spent >= budget:
            return spent / (times * units)


def both_clocks(action: Callable[[], Any], budget: float, units: int = 1) -> tuple[float, float]:
    """As `seconds_of`, and seconds of processors, which do not count while others have them."""
    start = time.process_time()
    times = 0

    def counted() -> None:
        nonlocal times
        action()
        times += 1

    seconds = seconds_of(counted, budget, units)
    return seconds, (time.process_time() - start) / (times * units)


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Median, the range that holds the middle 80 %, and the values themselves."""
    low, median, high = np.quantile(values, (0.1, 0.5, 0.9))
    return {
        "median": float(median),
        "low": float(low),
        "high": float(high),
        "all": [float(value) for value in values],
    }


def ratio(slower: Sequence[float], faster: Sequence[float], factor: float = 1) -> dict[str, Any]:
    """Summary of the ratios of times that were measured in the same round."""
    return summary(factor * np.array(slower) / np.array(faster))


class Training:
    """Training as `attnscape.train` does it, seeds on threads, in segments that are timed.

    The first segment, which compiles, is over when the constructor returns.

    Args:
        segment: Steps of a segment.
        task: The task.
        model: Makes the initial model of a seed.
        optimizers: The optimizers by name.
        learning_rates: The rates of each.
        seeds: The seeds.
        batch: Prompts of a step.
    """

    def __init__(
        self,
        segment: int,
        *,
        task: Task,
        model: Callable[..., Callable],
        optimizers: Mapping[str, Factory],
        learning_rates: Sequence[float],
        seeds: Sequence[int],
        batch: int,
    ):
        rates = tuple(learning_rates)
        self._engine = Engine(
            *(task, model, [Group(name, make, rates) for name, make in optimizers.items()]),
            clip=1.0, batch=batch, precision="float32", evaluation_seeds=[0], evaluation_batch=1,
        )  # fmt: skip
        self._segment, self._seeds, self._done = segment, tuple(seeds), 0
        self._runs = {seed: self._engine.start(seed) for seed in seeds}
        self._threads = self._engine.seeds_at_once(self._seeds, (), len(self._seeds))
        self.seconds_per_step()

    def seconds_per_step(self) -> float:
        """Runs the next segment; a step is one of all runs."""
        start = time.perf_counter()
        for_each_seed(self._advance, self._seeds, self._threads, lambda steps: None)
        self._done += self._segment
        return (time.perf_counter() - start) / self._segment

    def clocks_per_step(self) -> tuple[float, float]:
        """The same, and the seconds of all processors."""
        start = time.process_time()
        seconds = self.seconds_per_step()
        return seconds, (time.process_time() - start) / self._segment

    def _advance(self, seed: int, report: Callable[[int], None]) -> None:
        last = self._done + self._segment
        self._runs[seed] = self._engine.advance(self._runs[seed], self._done, last)

"""Timing on a machine that others use too: everything that is compared is measured in turns."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, wait
from typing import Any, ClassVar

import numpy as np

from attnscape import train
from attnscape.measures import Iterate, Measure, Schedule, every


def in_turns(actions: Mapping[Any, Callable[[], float]], rounds: int) -> dict[Any, list[float]]:
    """Calls every action once a round; each returns its own seconds (per whatever it counts)."""
    seconds = {name: [] for name in actions}
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


@dataclasses.dataclass(frozen=True)
class _Pause(Measure):
    """A measure of nothing, which makes `train` stop on its schedule."""

    schedule: Schedule
    needs_training: ClassVar[bool] = False

    def __call__(self, iterate: Iterate) -> dict:
        return {}

    def variables(self) -> dict:
        return {}


class PausedTraining(contextlib.AbstractContextManager):
    """`attnscape.train` in a thread that waits between segments: several can be timed in turns.

    The first segment, which compiles, is over when the constructor returns.

    Args:
        segment: Steps of a segment, at most 500 (where `train` comes up for air anyway).
        segments: How many will be asked for.
        **arguments: Of `train`, without steps, measures and progress.
    """

    def __init__(self, segment: int, segments: int, **arguments: Any):
        self._segment, self._cancelled = segment, False
        self._go, self._waits = threading.Semaphore(0), threading.Semaphore(0)
        pool = ThreadPoolExecutor(1)
        self._training = pool.submit(
            train,
            steps=segment * (segments + 1),
            measures=(_Pause(every(segment)),),
            evaluation_batch=1,
            progress=self._hold,
            **arguments,
        )
        self._training.add_done_callback(lambda _: self._waits.release())
        pool.shutdown(wait=False)
        self._wait()
        self.seconds_per_step()

    def seconds_per_step(self) -> float:
        """Runs the next segment."""
        start = time.perf_counter()
        self._go.release()
        self._wait()
        return (time.perf_counter() - start) / self._segment

    def _wait(self) -> None:
        self._waits.acquire()
        if self._training.done():
            self._training.result()

    def _hold(self, done: int, total: int) -> None:
        self._waits.release()
        self._go.acquire()
        if self._cancelled:
            raise CancelledError

    def __exit__(self, *_) -> None:
        self._cancelled = True
        self._go.release()
        wait([self._training])

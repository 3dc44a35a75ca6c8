"""What checkpoints cost: `python -m benchmarks.checkpoints [ROUNDS]`.

Processor time is counted, which other programs on the machine change little: that of all calls of
the checkpoints, against that of the whole run. A comparison of two runs' times would have to find
one percent in a noise of ten.

Trainings of Setting 1, and networks, are made with a checkpoint every half second, so that there
are some. Users have one every 30 seconds: `offers` is the share of asking whether one is due, which
is theirs too, and `users` adds one write in 30 seconds of the run's processor time. Time in which a
write waits for the disk is no processor time; the checkpoints themselves keep writes, waiting
included, below 2 % of a thread's time.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attnscape import train
from attnscape.experiments.checkpoints import CheckpointFolder
from attnscape.measures import EvaluationLoss, Measure, Parameters, TrainingLoss, every
from attnscape.networks import WORKLOADS, NetworkRun
from attnscape.optimizers import NAMED, Factory
from attnscape.optimizers.references import get_optimizer
from attnscape.training import Checkpoints
from benchmarks.clock import summary
from benchmarks.effort import TASKS, grid, model

_INTERVAL, _OF_USERS = 0.5, 30.0  # seconds between two writes
_LOSSES = (EvaluationLoss(every(50)), TrainingLoss(every(50)))
# (what it is called, runs of a seed, steps, measures); the last has large records.
_TRAININGS: tuple[tuple[str, int, int, tuple[Measure, ...]], ...] = (
    ("12 runs, losses", 12, 4_000, _LOSSES),
    ("120 runs, losses", 120, 600, _LOSSES),
    (
        "12 runs, losses and parameters every 5 steps",
        12,
        4_000,
        (*_LOSSES, Parameters(every(5))),
    ),
)
# (workload, size, optimizer, steps); the first has the shortest steps.
_NETWORKS: tuple[tuple[str, str, Factory, int], ...] = (
    ("softmax-regression", "small", NAMED["adam"], 600),
    ("mnist-lenet5", "small", NAMED["adam"], 150),
    ("mnist-lenet5", "small", get_optimizer("torch:NAdam"), 150),
)


@dataclasses.dataclass
class Spent:
    """Processor time of one run, in seconds.

    Attributes:
        run: All of it.
        offers: That of calls that wrote nothing.
        writes: That of each write.
        size: Bytes of the last file.
    """

    run: float = 0.0
    offers: float = 0.0
    writes: list[float] = dataclasses.field(default_factory=list)
    size: int = 0

    @property
    def share_of_offers(self) -> float:
        """Of the run's processor time."""
        return self.offers / (self.run - self.offers - sum(self.writes))

    @property
    def share_of_users(self) -> float:
        """As `share_of_offers`, with one write of the longest kind in 30 seconds."""
        return self.share_of_offers + max(self.writes, default=0.0) / _OF_USERS


class _Counted(CheckpointFolder):
    """Counts the processor time of each call."""

    def __init__(self, results: str) -> None:
        super().__init__(results, "0" * 64, {}, seconds=_INTERVAL)
        self.spent, self._counting = Spent(), threading.Lock()
        self._wrote = threading.local()

    def offer(self, part, step, state):
        self._count(super().offer, part, step, state)

    def finish(self, part, step, state):
        self._count(super().finish, part, step, state)

    def _count(self, call, *arguments):
        self._wrote.now = False
        began = time.thread_time()
        call(*arguments)
        took = time.thread_time() - began
        with self._counting:
            if self._wrote.now:
                self.spent.writes.append(took)
            else:
                self.spent.offers += took

    def _write(self, name, states):
        super()._write(name, states)
        self._wrote.now = True
        self.spent.size = (self._folder / f"{name}.checkpoint").stat().st_size


def spent_by(run: Callable[[Checkpoints], Any]) -> Spent:
    """The processor time of a run, which is called with checkpoints."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        kept = _Counted(folder)
        began = time.process_time()
        run(kept)
        kept.spent.run = time.process_time() - began
    return kept.spent


def _trainings() -> dict[str, Callable[[Checkpoints], Any]]:
    found = dict[str, Callable[[Checkpoints], Any]]()
    for name, runs, steps, measures in _TRAININGS:
        made = functools.partial(
            train, TASKS[1], model(3), steps=steps, measures=measures, **grid(runs)
        )
        found[name] = lambda kept, made=made: made(checkpoints=kept)
    return found


def _networks() -> dict[str, Callable[[Checkpoints], Any]]:
    found = dict[str, Callable[[Checkpoints], Any]]()
    for name, size_name, factory, steps in _NETWORKS:
        workload = WORKLOADS[name]
        size = workload.sizes[size_name]
        data = workload.data("packaged", **size.data)
        label = getattr(factory, "__name__", "torch:NAdam")
        run = NetworkRun(workload, True, data, size, label, factory, 0.001, 0, steps)
        found[f"{name}, {label}"] = lambda kept, run=run: run.run(checkpoints=kept)
    return found


def main(rounds: int = 5) -> None:
    """Prints the shares of every case: their median, and the range of the middle 80 %."""
    for name, run in {**_trainings(), **_networks()}.items():
        spent_by(run)  # compiles
        spent = [spent_by(run) for _ in range(rounds)]
        print(f"{name}: {sum(each.run for each in spent) / rounds:.1f} s of processor time")
        for label in ("offers", "users"):
            found = summary([100 * getattr(each, f"share_of_{label}") for each in spent])
            shares = f"{found['median']:.3f} % ({found['low']:.3f}, {found['high']:.3f})"
            print(f"  {label}: {shares}")
        writes = [write for each in spent for write in each.writes]
        longest, size = max(writes, default=0.0), max(each.size for each in spent)
        print(
            f"  {len(writes)} writes; the longest {1e3 * longest:.0f} ms, {size / 1e6:.2f} MB",
            flush=True,
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

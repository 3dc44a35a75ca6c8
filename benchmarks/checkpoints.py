"""What checkpoints cost a training: `python -m benchmarks.checkpoints [ROUNDS]`.

Trainings of Setting 1 with checkpoints every half second, every 30 seconds (as users have them) and
without any are timed in turns. What is written every half second makes the cost large enough to be
seen; that of users is at most a sixtieth of it.
"""

from __future__ import annotations

import functools
import sys
import tempfile
import time
from pathlib import Path

from attnscape import train
from attnscape.experiments.checkpoints import CheckpointFolder
from attnscape.measures import EvaluationLoss, Measure, Parameters, TrainingLoss, every
from benchmarks.clock import in_turns, ratio
from benchmarks.effort import TASKS, grid, model

_LOSSES = (EvaluationLoss(every(50)), TrainingLoss(every(50)))
# (what it is called, runs of a seed, steps, measures); the last has large records.
_CASES: tuple[tuple[str, int, int, tuple[Measure, ...]], ...] = (
    ("12 runs, losses", 12, 4_000, _LOSSES),
    ("120 runs, losses", 120, 600, _LOSSES),
    (
        "12 runs, losses and parameters every 5 steps",
        12,
        4_000,
        (*_LOSSES, Parameters(every(5))),
    ),
)
_SECONDS = {"none": None, "30 s": 30.0, "0.5 s": 0.5}


class _Watched(CheckpointFolder):
    """Notes how long each write took, and how large it was."""

    def __init__(self, results: str, seconds: float) -> None:
        super().__init__(results, "0" * 64, {}, seconds=seconds)
        self.writes: list[tuple[float, int]] = []

    def _write(self, name, states):
        began = time.perf_counter()
        super()._write(name, states)
        size = (self._folder / f"{name}.checkpoint").stat().st_size
        self.writes.append((time.perf_counter() - began, size))


def main(rounds: int = 5) -> None:
    """Prints, for each case, the ratios of times, and the last write's time and size."""
    for name, runs, steps, measures in _CASES:
        written = list[tuple[float, int]]()

        def timed(seconds, runs=runs, steps=steps, measures=measures, written=written):
            run = functools.partial(
                train,
                TASKS[1],
                model(3),
                steps=steps,
                measures=measures,
                **grid(runs),
            )
            with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
                kept = None if seconds is None else _Watched(folder, seconds)
                began = time.perf_counter()
                run(checkpoints=kept)
                took = time.perf_counter() - began
            if kept is not None:
                written.extend(kept.writes[-1:])
            return took

        actions = {label: functools.partial(timed, each) for label, each in _SECONDS.items()}
        actions["none"]()  # compiles
        times = in_turns(actions, rounds)
        print(f"{name}, {sum(times['none']) / rounds:.1f} s:")
        for label in ("30 s", "0.5 s"):
            found = ratio(times[label], times["none"])
            print(
                f"  every {label}: {found['median']:.4f} ({found['low']:.4f}, {found['high']:.4f})"
            )
        if written:
            seconds, size = max(written, key=lambda each: each[1])
            print(f"  the largest write: {1e3 * seconds:.0f} ms, {size / 1e6:.2f} MB", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

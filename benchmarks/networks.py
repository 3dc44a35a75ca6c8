"""Seconds of one training step of every network: `python -m benchmarks.networks`.

What it prints is what `attnscape.networks.costs` holds. Names of networks behind it leave out the
others, as in `python -m benchmarks.networks squad-distilbert`.
"""

from __future__ import annotations

import dataclasses
import sys
import time

import numpy as np

from attnscape.networks import WORKLOADS, Schedules, Size, Workload, train_run
from attnscape.networks.costs import SIZES
from attnscape.optimizers import adam

_STEPS = {"small": 30, "published": 4}


def step_seconds(workload: Workload, size: Size, steps: int) -> float:
    """The median over steps, without the first one; data are loaded before."""
    times: list[float] = []
    train_run(
        workload,
        workload.data("packaged", **size.data),
        size,
        "adam",
        adam,
        1e-4,
        0,
        steps=steps,
        schedules=Schedules(loss=0),
        progress=lambda done, total: times.append(time.perf_counter()),
    )
    return float(np.median(np.diff(times)[1:]))


def main(*names: str) -> None:
    """Prints a row for every built-in workload, or for those that are named."""
    for name in names or WORKLOADS:
        workload, seconds = WORKLOADS[name], []
        for label in SIZES:
            size = workload.sizes[label]
            if label == "published" and name == "squad-distilbert":
                # Its weights are on a hub; random ones take the same time.
                size = dataclasses.replace(size, model={})
            seconds.append(step_seconds(workload, size, _STEPS[label]))
        print(f'"{name}": ({", ".join(f"{each:.2g}" for each in seconds)}),', flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

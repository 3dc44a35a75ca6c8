"""`python -m benchmarks.cluster [--quick]`: what `--cluster local:2` costs beside no cluster.

Both make Figure 2 in an empty folder, from the command line, in turns; the ratio of the times of a
round says what the scheduler, the workers' start and the cuts cost on a machine whose processors
are busy either way. The load of the machine is shown, because others' work blurs the ratio.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import tyro

from benchmarks.clock import in_turns, ratio


@dataclasses.dataclass(frozen=True)
class Options:
    """What is measured."""

    quick: bool = False
    """3 seeds and 2,000 steps."""
    workers: int = 2
    """N of `--cluster local:N`."""
    rounds: int = 3
    """How often each is measured."""


def seconds(options: Options, cluster: bool) -> float:
    """Seconds that the command takes."""
    words = ["reproduce", "fig2", *(["--quick"] if options.quick else [])]
    words += ["--cluster", f"local:{options.workers}"] if cluster else []
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "attnscape", *words, "--out", str(Path(folder) / "out")]
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        spent = time.perf_counter() - began
    load = os.getloadavg()[0]
    print(f"{' '.join(words)}: {spent:.1f} s, load {load:.1f} afterwards", flush=True)
    return spent


def main() -> None:
    options = tyro.cli(Options)
    actions = {cluster: functools.partial(seconds, options, cluster) for cluster in (False, True)}
    taken = in_turns(actions, options.rounds)
    found = ratio(taken[True], taken[False])
    print(
        f"With a cluster of {options.workers} workers it takes {found['median']:.2f} times as long "
        f"as without ({min(found['all']):.2f} to {max(found['all']):.2f} in {options.rounds} "
        f"rounds, {os.cpu_count()} processors)."
    )


if __name__ == "__main__":
    main()

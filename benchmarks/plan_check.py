"""A real cluster of two workers with kills, beside the simulation of the same: times and tries."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import xarray as xr

from attnscape import spec
from attnscape.errors import UsageError
from attnscape.experiments import store
from attnscape.identity import Identity
from attnscape.workflows.clusters import Cluster
from attnscape.workflows.open_cluster import opened
from attnscape.workflows.run_queue import RunQueue
from benchmarks import simulation

CHUNKS, SECONDS, SERVED = 24, 2.0, 5
FAILING, DEADLY = 3, 7  # the chunk that always fails, and the one that kills its worker
KILLS = (9.0, 17.0)  # seconds after the first chunk began at which a worker is killed


@dataclasses.dataclass(frozen=True)
class Nap:
    """A chunk that takes its time; it marks in a file when it begins."""

    number: int
    marks: Path

    at_once, run_steps, precision = 1, 1, "float32"

    @property
    def name(self) -> str:
        return f"nap-{self.number}"

    @property
    def identity(self) -> Identity:
        return Identity({"name": self.name})

    @property
    def run_id(self) -> str:
        return spec.digest(self.identity.content)

    def spec(self) -> dict[str, Any]:
        return {"seeds": [0], "steps": 1}

    def run(self, progress: Any, checkpoints: Any) -> xr.Dataset:
        with self.marks.open("a") as file:
            file.write(f"{self.number} {os.getpid()} {time.time()}\n")
        time.sleep(SECONDS)
        if self.number == DEADLY:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.number == FAILING:
            raise ValueError("it always fails")
        return xr.Dataset({"loss": 1.0})


def real(folder: Path) -> dict[str, Any]:
    """The plan on two workers of this machine."""
    naps = [Nap(number, folder / "marks") for number in range(CHUNKS)]
    with opened("local:2") as made:
        assert made is not None
        made._client.run(store.find, naps[0], folder)  # workers import what they need
        cluster = Cluster(made._client, made._made, served=SERVED)
        stop = threading.Event()
        killed = list[int]()
        killer = threading.Thread(target=_kill, args=(folder / "marks", stop, killed), daemon=True)
        killer.start()
        began = time.time()
        told = ""
        with RunQueue(folder, cluster) as queue:
            try:
                queue.compute(naps, "plan", lambda words: None)
            except UsageError as error:
                told = str(error)
        ended = time.time()
        stop.set()
        killer.join()
        cluster.stop()
    lines = [line.split() for line in (folder / "marks").read_text().splitlines()]
    tries = Counter(int(number) for number, _, _ in lines)
    given_up = [nap.number for nap in naps if store.find(nap, folder) is None]
    assert told.count("was given up after") == len(given_up)
    assert len(killed) == len(KILLS)
    return {
        "seconds": ended - began,
        "given_up": given_up,
        "tries": sum(tries.values()),
        "tries_of_given_up": [tries[number] for number in given_up],
        "processes": len({pid for _, pid, _ in lines}),
    }


def _kill(marks: Path, stop: threading.Event, killed: list[int]) -> None:
    _wait_for_first(marks)
    began = float(marks.read_text().split()[2])
    for when in KILLS:
        if stop.wait(max(0.0, began + when - time.time())):
            return
        killed.append(int(marks.read_text().splitlines()[-1].split()[1]))
        with contextlib.suppress(ProcessLookupError):  # its chunk has killed it
            os.kill(killed[-1], signal.SIGKILL)


def _wait_for_first(marks: Path) -> None:
    while not (marks.exists() and marks.read_text().endswith("\n")):
        time.sleep(0.01)


def simulated(restart: float) -> dict[str, Any]:
    """The same, simulated, with the time that a new process takes."""
    cluster = simulation.Cluster(
        2, SECONDS, spread=0.0, restart=restart, checkpoint=float("inf"), served=SERVED
    )
    plan = simulation.Simulation(
        cluster,
        CHUNKS,
        failing=frozenset({FAILING}),
        deadly=frozenset({DEADLY}),
        kills={when: number for number, when in enumerate(KILLS)},
    )
    found = plan.run()
    return {
        "seconds": float(found.seconds),
        "given_up": list(found.given_up),
        "tries": sum(plan.tries_of(number) for number in range(CHUNKS)),
        "tries_of_given_up": [plan.tries_of(number) for number in found.given_up],
    }


def check() -> dict[str, Any]:
    """Both."""
    with tempfile.TemporaryDirectory() as folder:
        found = real(Path(folder))
        restart = restart_seconds()
    size = {"chunks": CHUNKS, "seconds": SECONDS, "restart": restart}
    return {**size, "real": found, "simulated": simulated(restart)}


def restart_seconds() -> float:
    """From the death of a worker until the process in its place has begun a chunk."""
    with tempfile.TemporaryDirectory() as folder, opened("local:1") as made:
        assert made is not None
        marks = Path(folder) / "marks"
        with RunQueue(Path(folder), made) as queue:
            queue.add([Nap(0, marks)])
            _wait_for_first(marks)
            os.kill(int(marks.read_text().split()[1]), signal.SIGKILL)
            died = time.time()
            queue.compute([Nap(0, marks)], "plan", lambda words: None)
        began = float(marks.read_text().splitlines()[-1].split()[2])
    return began - died

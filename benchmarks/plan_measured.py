"""What a plan of many runs costs on this machine: steps, files, the queue and Dask's scheduler."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from attnscape import LinearTransformer, RegressionTask, save, spec, train
from attnscape.experiments import store
from attnscape.experiments.experiment import Experiment
from attnscape.experiments.present import Present
from attnscape.measures import EvaluationLoss, at, every
from attnscape.optimizers import sgdm
from attnscape.workflows.open_cluster import opened
from attnscape.workflows.places import Job, Submitted
from attnscape.workflows.run_queue import RunQueue

RATES = tuple(float(rate) for rate in np.geomspace(1e-3, 1, 20))
OPTIMIZERS = ("sgdm", "adam")
_EVENTS, _TASKS = 1_000, 1_000


def processor_seconds_a_step(steps: int = 200) -> dict[str, Any]:
    """Processor time of a run-step in Setting 1, and of a program's compilation.

    L = 3, d = 5, n = 20, 1,000 prompts; imports are not in it.
    """
    parts = (
        RegressionTask(dim=5, context=20),
        functools.partial(LinearTransformer.init, layers=3, dim=5),
    )
    runs = len(RATES) * len(OPTIMIZERS)

    def spent(count: int) -> float:
        began = time.process_time()
        train(*parts, OPTIMIZERS, RATES, (0,), steps=count, measures=[EvaluationLoss(at(count))])
        return time.process_time() - began

    first = spent(steps)
    short, long = min(spent(steps) for _ in range(2)), min(spent(5 * steps) for _ in range(2))
    each = (long - short) / (4 * steps * runs)
    return {"runs_abreast": runs, "seconds": each, "compilation": first - each * steps * runs}


def bytes_a_run(losses: int = 41) -> dict[str, float]:
    """Bytes of a result file for each run in it, and of one file beside its runs."""
    task = RegressionTask(dim=2, context=3)
    model = functools.partial(LinearTransformer.init, layers=1, dim=2)

    def size(rates: int, steps: int) -> int:
        result = train(
            *(task, model, OPTIMIZERS, RATES[:rates], range(6)),
            steps=steps, batch=4, evaluation_batch=4, measures=[EvaluationLoss(every(1))],
        )  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            save(result, path := Path(folder) / "result.nc")
            return path.stat().st_size

    few, many, longer = size(5, losses - 1), size(20, losses - 1), size(20, 2 * losses - 1)
    added = 6 * len(OPTIMIZERS) * 15
    return {
        "losses": losses,
        "run": (many - few) / added,
        "loss": (longer - many) / (6 * len(OPTIMIZERS) * 20 * losses),
        "file": few - (many - few) / 3,
    }


def folder(count: int) -> dict[str, float]:
    """Seconds of looks into a folder of so many results."""
    model = functools.partial(LinearTransformer.init, layers=1, dim=2)
    experiment = Experiment(
        "plan", RegressionTask(dim=2), model, {"sgdm": sgdm}, {"sgdm": (0.1,)}, (0,), 4
    )
    with tempfile.TemporaryDirectory() as made:
        place = Path(made)
        for number in range(count):
            (place / f"run-{number:016x}.nc").touch()

        def taken(action: Callable[[], object]) -> float:
            began, times = time.process_time(), 0
            while times < 3 or time.process_time() - began < 0.2:
                action()
                times += 1
            return (time.process_time() - began) / times

        missing = taken(lambda: store.find(experiment, place))
        present = Present(place)
        listing = taken(lambda: experiment.run_id in Present(place))
        asked = taken(lambda: [experiment.run_id in present for _ in range(1_000)]) / 1_000
        (place / store.file_name(experiment)).touch()
        found = taken(lambda: store.find(experiment, place))
    return {
        "files": count,
        "find_found": found,
        "find_missing": missing,
        "listing": listing,
        "ask_present": asked,
    }


def queue(count: int) -> dict[str, float]:
    """Seconds of the command's queue for each run, on workers that need no time."""
    runs: Any = [_Named(spec.digest(number)) for number in range(count)]
    began = time.process_time()
    place: Any = _Instant()
    with tempfile.TemporaryDirectory() as folder, RunQueue(Path(folder), place) as waiting:
        waiting.compute(runs, "plan", lambda words: None)
    return {"runs": count, "seconds_a_run": (time.process_time() - began) / count}


@dataclasses.dataclass(frozen=True)
class _Named:
    """A run that only its id distinguishes from others."""

    run_id: str
    run_steps = 1
    at_once = 1
    seeds = ()

    @property
    def name(self) -> str:
        return "named"


class _Instant:
    """A cluster of 100 workers that compute a run as soon as they have it."""

    words = "100 workers"

    def __init__(self) -> None:
        self._left = 101

    @property
    def has_room(self) -> bool:
        self._left -= 1
        if self._left:
            return True
        self._left = 101
        return False

    def takes(self, run: object) -> bool:
        return True

    def status(self) -> str:
        return ""

    def stop(self) -> None:
        pass

    def submit(self, job: Job, waiting: int = 0) -> Submitted:
        future: Future[object] = Future()
        future.set_result(None)
        return Submitted(future, lambda: (1, 1))


def scheduler(workers: int = 2) -> dict[str, float]:
    """What chunks and messages cost the process that has scheduler and command, in seconds.

    The workers are real, and their tasks have the size of a chunk's message and its retries.
    """
    with opened(f"local:{workers}") as cluster:
        assert cluster is not None
        client = cluster._client
        heard, me = list[object](), psutil.Process()
        client.subscribe_topic("plan", heard.append)
        client.submit(_tell, 10, 0.0, pure=False).result()  # workers have imported this module
        idle = _spent(me, lambda: time.sleep(10)) / 10
        content = bytes(20_000)

        def tasks() -> None:
            futures = [
                client.submit(_nothing, content, number, retries=2, pure=False, key=f"t-{number}")
                for number in range(_TASKS)
            ]
            client.gather(futures)

        began = time.perf_counter()
        chunk = _spent(me, tasks) / _TASKS
        rate = _TASKS / (time.perf_counter() - began)
        before = len(heard)
        message = _spent(me, lambda: client.submit(_tell, _EVENTS, 1e-3, pure=False).result())
        while len(heard) < before + _EVENTS:
            time.sleep(0.1)
    return {
        "workers": workers,
        "chunk_seconds": chunk,
        "chunks_a_second": rate,
        "message_seconds": message / _EVENTS,
        "idle_share": idle,
    }


def _spent(process: psutil.Process, action: Callable[[], object]) -> float:
    """Processor time of this process while something is done."""
    before = sum(process.cpu_times()[:2])
    action()
    return sum(process.cpu_times()[:2]) - before


def _nothing(content: bytes, number: int) -> str:
    return f"{number} {len(content)}"


def _tell(count: int, pause: float) -> None:
    import distributed

    worker = distributed.get_worker()
    for number in range(count):
        worker.log_event("plan", ("a key as long as that of a chunk" * 3, number, count))
        time.sleep(pause)

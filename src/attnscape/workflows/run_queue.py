"""Runs that are due, computed in processes of their own, as many at once as there are processors.

A run has stretches in which Python or XLA's compiler keeps one processor busy, and small real
networks gain little from a second thread, so two runs at once take less time than one after the
other. The results are the same bits.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import TracebackType

from attnscape.errors import UsageError
from attnscape.experiments import store
from attnscape.experiments.store import Apart, Computation
from attnscape.identity import settings
from attnscape.training import Progress, processors
from attnscape.workflows.cost import Cost
from attnscape.workflows.processes import Submitted, processes
from attnscape.workflows.progress import ProgressBar

_GLANCE = 0.2  # seconds between looks at the progress


class RunQueue(contextlib.AbstractContextManager["RunQueue"]):
    """A context manager that computes runs ahead, while this process draws what is finished.

    Each result is written as soon as it is there. At the end, runs that have begun are finished
    and the others are not begun; after Ctrl-C all are stopped at once.

    Args:
        directory: The folder of the results.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._waiting: dict[str, Computation] = {}  # by run id, the next one first
        self._begun: dict[str, Submitted] = {}

    def add(self, runs: Iterable[Computation]) -> None:
        """Lets runs be computed after all others that wait, if other processes can do so."""
        self._waiting |= {k: run for k, run in self._due(runs).items() if k not in self._waiting}
        if len(self._waiting) + len(self._under_way()) > 1:
            self._submit()

    def compute(
        self, runs: Iterable[Computation], artifact: str, log: Callable[[str], None]
    ) -> None:
        """Computes runs before all others that wait, with progress.

        Does nothing with a run for which this process is the better one: it can be computed here
        only, or it would be the only one, and could not use all processors elsewhere.

        Args:
            runs: The runs.
            artifact: Name of the artifact that needs them, for messages.
            log: Called with lines about runs and their progress.

        Raises:
            UsageError: If a run cannot be made, or a process ended unexpectedly.
        """
        due = self._due(runs)
        wanted = due | {r.run_id: r for r in runs if r.run_id in self._begun}
        if not wanted or len({**wanted, **self._waiting, **self._under_way()}) < 2:
            return
        self._waiting = due | {k: run for k, run in self._waiting.items() if k not in due}
        try:
            self._submit()
            self._wait(wanted, artifact, log)
        except BrokenProcessPool:
            self._stop()
            raise UsageError(
                "A process that computed runs ended unexpectedly, perhaps because memory ran out; "
                "finished runs are kept, so run the same command again."
            ) from None
        finally:
            self._waiting = {k: run for k, run in self._waiting.items() if k not in wanted}

    def _due(self, runs: Iterable[Computation]) -> dict[str, Computation]:
        """Those to be computed by other processes; two of an artifact's keys may stand for one."""
        if processors() == 1:
            return {}
        return {
            run.run_id: run
            for run in runs
            if isinstance(run, Apart)
            and run.apart
            and run.run_id not in self._begun
            and store.find(run, self._directory) is None
        }

    def _under_way(self) -> dict[str, Submitted]:
        return {k: task for k, task in self._begun.items() if not task.future.done()}

    def _submit(self) -> None:
        while self._waiting and processes().has_room:
            run_id = next(iter(self._waiting))
            run = self._waiting.pop(run_id)
            task = functools.partial(_run, run, self._directory)
            self._begun[run_id] = processes().submit(task)

    def _wait(
        self, wanted: dict[str, Computation], artifact: str, log: Callable[[str], None]
    ) -> None:
        left = [run for key, run in wanted.items() if self._is_left(key)]
        if not left:
            return
        log(f"{artifact}: running {_in_words(left)}")
        cost = Cost(lambda words: log(f"{artifact}: {words}"))
        with ProgressBar(artifact) as bar:
            while [key for key in wanted if self._is_left(key)]:
                under_way = [task.future for task in self._under_way().values()]
                wait(under_way, _GLANCE, return_when=FIRST_COMPLETED)
                self._submit()
                done, total = map(sum, zip(*map(self._progress, left), strict=True))
                cost(done, total)
                bar(done, total)

    def _is_left(self, run_id: str) -> bool:
        """Whether a run waits or is under way; raises the error that it ended with."""
        if run_id in self._waiting:
            return True
        future = self._begun[run_id].future
        if not future.done():
            return True
        future.result()
        return False

    def _progress(self, run: Computation) -> tuple[int, int]:
        """What is done of a run, and all that there is to do."""
        if run.run_id in self._waiting:
            return 0, run.run_steps
        task = self._begun[run.run_id]
        if task.future.done():
            return run.run_steps, run.run_steps
        done, total = task.progress()
        return done, total or run.run_steps

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends the runs."""
        self._waiting = {}
        if error is not None and not isinstance(error, Exception):
            self._stop()
            return
        try:
            wait([task.future for task in self._under_way().values()])
        except KeyboardInterrupt:
            self._stop()
            raise

    def _stop(self) -> None:
        """Stops all processes; runs that had begun may begin again."""
        self._begun = {}
        processes().stop()


def _in_words(runs: Sequence[Computation]) -> str:
    """How many runs, in how many processes, and how much there is to do."""
    count, total = min(processors(), len(runs)), sum(run.run_steps for run in runs)
    where = f"{len(runs)} runs in {count} processes" if count > 1 else "1 run in 1 process"
    return f"{where}, {total:,} run-steps" if total else where


def _run(run: Computation, directory: Path, progress: Progress) -> None:
    """Computes a run in another process.

    If that has not the settings of the run's process, it does nothing: its numbers could differ.
    """
    if run.identity.content.get("settings") in (None, settings()):
        store.load_or_run(run, directory, progress)

"""Runs that are due, computed in processes of their own or on a cluster, several at once.

A run of the engine has stretches in which Python or XLA's compiler keeps only one processor busy,
and small real networks gain little from a second thread. So several runs at once take less time
than one after the other. The engine's results are the same bits. PyTorch's sums depend on its
number of threads, so a network's last bits may differ from those of a run in this process.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TYPE_CHECKING

from attnscape import native
from attnscape.errors import UsageError
from attnscape.experiments import store
from attnscape.experiments.computation import Computation
from attnscape.experiments.experiment import Experiment
from attnscape.experiments.present import Present
from attnscape.training import processors
from attnscape.workflows.cost import Cost
from attnscape.workflows.places import Job, LostError, Place, Submitted
from attnscape.workflows.processes import processes
from attnscape.workflows.progress import ProgressBar

if TYPE_CHECKING:
    from attnscape.workflows.clusters import Cluster

_GLANCE = 0.2  # seconds between looks at the progress
_OF_EACH = 1_000  # parts of a run, where each counts the same


class RunQueue(contextlib.AbstractContextManager["RunQueue"]):
    """A context manager that computes runs ahead, while this process draws what is finished.

    Each result is written as soon as it is there. At the end, runs that were given to processes
    (one more than are computed at once) are finished and the others are dropped; after Ctrl-C all
    are stopped at once.

    Args:
        directory: The folder of the results.
        cluster: Where runs are computed; by default in processes of this machine.
        planned: Called with an artifact and its runs before they are computed.
    """

    def __init__(
        self,
        directory: Path,
        cluster: Cluster | None = None,
        planned: Callable[[str, Collection[Computation]], object] = lambda artifact, runs: None,
    ) -> None:
        self._directory, self._cluster, self._planned = directory, cluster, planned
        # A run without company is better computed in this process, which has all processors.
        self._fewest = 2 if cluster is None else 1
        self._waiting: dict[str, Computation] = {}  # by run id, the next one first
        self._begun: dict[str, Submitted] = {}
        self._present = Present(directory)

    def add(self, runs: Iterable[Computation]) -> None:
        """Appends runs to the queue, except those that only this process can compute."""
        self._waiting |= self._due(runs)  # a run that waits keeps its place
        self._keep_busy()

    def compute(
        self, runs: Collection[Computation], artifact: str, log: Callable[[str], None]
    ) -> None:
        """Computes runs before all others that wait, with progress.

        Leaves to the caller what is better computed in this process: runs that only it can compute,
        and a run that is the only one, because here it can use all processors; a cluster computes
        that one, too. An error of a cluster is told when all other runs have ended.

        Args:
            runs: The runs.
            artifact: Name of the artifact that needs them, for messages.
            log: Called with lines about runs and their progress.

        Raises:
            UsageError: If a run cannot be made, or a process ended unexpectedly.
            LostError: If a cluster cannot be reached any more.
        """
        self._planned(artifact, runs)
        due = self._due(runs)
        wanted = due | {run.run_id: run for run in runs if run.run_id in self._begun}
        self._waiting = due | self._waiting
        under_way = self._under_way()
        try:
            company = len(self._waiting) + len(under_way) >= self._fewest
            if company or not under_way.keys().isdisjoint(wanted):
                self._wait(wanted, artifact, log)
        except BrokenProcessPool:
            self._stop()
            raise UsageError(
                "A process that computed runs ended unexpectedly, perhaps because memory ran out; "
                "finished runs are kept, so run the same command again."
            ) from None
        finally:
            self._waiting = {k: run for k, run in self._waiting.items() if k not in wanted}
            self._keep_busy()

    def _due(self, runs: Iterable[Computation]) -> dict[str, Computation]:
        """The runs that other processes should compute, by run id.

        An artifact may have one run under two keys.
        """
        return {
            run.run_id: run
            for run in runs
            if self._takes(run)
            and run.run_id not in self._begun
            and run.run_id not in self._present
        }

    def _takes(self, run: Computation) -> bool:
        if self._cluster is not None:
            return self._cluster.takes(run)
        return processors() > 1 and run.at_once > 0

    @property
    def _place(self) -> Place:
        return processes() if self._cluster is None else self._cluster

    def _under_way(self) -> dict[str, Submitted]:
        return {k: task for k, task in self._begun.items() if not task.future.done()}

    def _keep_busy(self) -> None:
        """Gives processes runs that wait, so that they go on while the caller does other things."""
        if len(self._waiting) + len(self._under_way()) >= self._fewest:
            with contextlib.suppress(BrokenProcessPool, LostError):  # the next `compute` tells it
                self._submit()

    def _submit(self) -> None:
        while self._place.has_room and (run := self._next()):
            # One more than that waits for its turn.
            if self._cluster is None and len(self._under_way()) > run.at_once:
                return
            run_id = run.run_id
            if isinstance(run, Experiment):
                native.warn_if_missing()  # once for all processes
            # Links stay: other machines may have them lead elsewhere.
            job = Job(run, self._directory.absolute())
            self._begun[run_id] = self._place.submit(job, len(self._waiting) - 1)
            del self._waiting[run_id]

    def _next(self) -> Computation | None:
        """The first run that nobody computes; results that others have made wait no more."""
        made = list[str]()
        try:
            for run_id, run in self._waiting.items():
                if store.is_under_way(run, self._directory):
                    continue
                if run_id not in self._present:
                    return run
                made.append(run_id)
        finally:
            for run_id in made:
                del self._waiting[run_id]
        return None

    def _wait(
        self, wanted: dict[str, Computation], artifact: str, log: Callable[[str], None]
    ) -> None:
        failures = list[UsageError]()
        left = [wanted[key] for key in self._left(wanted, failures)]
        if left:
            log(f"{artifact}: running {self._in_words(left)}")
            self._until_ended(wanted, left, artifact, log, failures)
        if failures:
            raise UsageError(" ".join(map(str, failures)))

    def _until_ended(
        self,
        wanted: dict[str, Computation],
        left: Sequence[Computation],
        artifact: str,
        log: Callable[[str], None],
        failures: list[UsageError],
    ) -> None:
        # A run-step takes another time in each kind of run; then each run counts the same.
        several_kinds = len({_kind(run) for run in left}) > 1
        unit = "" if several_kinds else "run-steps"
        cost, before = Cost(lambda words: log(f"{artifact}: {words}{where()}"), unit=unit), 0
        cluster, lack = self._cluster, ""

        def where() -> str:
            return "" if cluster is None else f" ({cluster.status()})"

        with ProgressBar(artifact, unit=unit) as bar:
            while self._left(wanted, failures):
                self._submit()
                under_way = [task.future for task in self._under_way().values()]
                if under_way:
                    wait(under_way, _GLANCE, return_when=FIRST_COMPLETED)
                else:  # others compute all that is left
                    time.sleep(_GLANCE)
                parts = [self._progress(run) for run in left]
                if several_kinds:
                    parts = [(_OF_EACH * done // max(total, 1), _OF_EACH) for done, total in parts]
                done, total = map(sum, zip(*parts, strict=True))
                bar(done, total)
                if cluster is not None:
                    bar.describe(f"{artifact}{where()}")
                    before_that, lack = lack, cluster.lack
                    if lack and lack != before_that:
                        log(f"{artifact}: {lack}")
                if done > before:  # while XLA compiles, a glance says nothing about the speed
                    cost(done, total)
                    before = done

    def _left(self, wanted: Collection[str], failures: list[UsageError]) -> list[str]:
        """The runs that wait or are under way; all are looked at, so that an error is told at once.

        On a cluster the others go on, and the errors are added to `failures`.
        """
        left = list[str]()
        for run_id in wanted:
            try:
                if self._is_left(run_id):
                    left.append(run_id)
            except UsageError as error:
                if self._cluster is None:
                    raise
                failures.append(error)
        return left

    def _is_left(self, run_id: str) -> bool:
        """Whether a run waits or is under way; raises the error that it ended with."""
        if run_id in self._waiting:
            return True
        if run_id not in self._begun:  # another process has made it
            return False
        future = self._begun[run_id].future
        if not future.done():
            return True
        if error := future.exception():
            del self._begun[run_id]  # the next who needs it may try again
            raise error
        return False

    def _progress(self, run: Computation) -> tuple[int, int]:
        """What is done of a run, and all that there is to do."""
        if run.run_id in self._waiting:
            return 0, run.run_steps
        task = self._begun.get(run.run_id)
        if task is None or task.future.done():
            done = max(run.run_steps, 1)
            return done, done
        done, total = task.progress()
        return done, total or run.run_steps

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Ends the runs."""
        self._waiting = {}
        if kind is not None and not issubclass(kind, Exception):
            if self._begun:  # otherwise processes would be made, only to be stopped
                self._stop()
            return
        try:
            while under_way := self._under_way():
                wait([task.future for task in under_way.values()], _GLANCE)
                bool(self._place.has_room)  # raises if a cluster is lost, which ends nothing
        except LostError:
            return
        except KeyboardInterrupt:
            self._stop()
            raise

    def _stop(self) -> None:
        """Stops all processes; runs that had begun may begin again."""
        self._begun = {}
        self._place.stop()

    def _in_words(self, runs: Sequence[Computation]) -> str:
        """How many runs, in how many processes, and how much there is to do."""
        total = sum(run.run_steps for run in runs)
        count = f"{len(runs)} runs" if len(runs) > 1 else "1 run"
        if self._cluster is not None:
            where = f"{count} on {self._cluster.words}"
        else:
            most = min(processors(), len(runs), *(run.at_once for run in runs))
            where = f"{count} in {most} processes" if most > 1 else "1 run in 1 process"
        return f"{where}, {total:,} run-steps" if total else where


def _kind(run: Computation) -> tuple[type, str]:
    """What the time of a run-step depends on; that of networks on their workload, too."""
    return type(run), getattr(getattr(run, "workload", None), "name", "")

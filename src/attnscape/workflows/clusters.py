"""Runs on a cluster: processes on this machine or others, which Dask starts and looks after.

A plan is cut into chunks: a run each, or some seeds of one where processors would be idle. Workers
write to the folder of the results, which all see, and return a word. Dask computes a chunk again
if its worker dies or it fails, two times; then the chunk is given up and the others go on.
"""

from __future__ import annotations

import contextlib
import pickle
import threading
import time
import uuid
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnscape.errors import UsageError
from attnscape.experiments.computation import Computation
from attnscape.files import writable_directory
from attnscape.workflows.cluster_chunks import (
    TRIES,
    AgainError,
    Chunk,
    RefusedError,
    copy,
    judge,
)
from attnscape.workflows.cluster_worker import Message, Work, setup
from attnscape.workflows.places import Job, LostError, Submitted
from attnscape.workflows.roster import GLANCE, LACKING, Roster
from attnscape.workflows.sending import Sender

if TYPE_CHECKING:
    import distributed

_SERVED = 20  # chunks that a process of a worker computes before it is replaced
MESSAGES = 500  # on progress that all workers send in a second, at most: each costs the scheduler


class Cluster:
    """The workers of a Dask scheduler, as an `attnscape.workflows.places.Place`.

    Args:
        client: The connection to the scheduler.
        made: The cluster that was made for this command, if any; it tells how many workers start.
        served: Chunks that a process of a worker computes before a new one replaces it.
        abreast: How many workers use all processors; more of them on one machine share those. By
            default each worker has its own.
    """

    def __init__(
        self,
        client: distributed.Client,
        made: Any = None,
        served: int = _SERVED,
        abreast: int | None = None,
    ) -> None:
        self._client, self._made, self._served, self._abreast = client, made, served, abreast
        self._lock = threading.RLock()
        self._under_way = dict[str, Chunk]()  # by key
        self._refusals = dict[str, str]()  # by the worker's address
        self._were_able = frozenset[str]()
        self._able_at = time.monotonic()  # when there was a worker that has refused nothing
        self._finished, self._stopped = 0, False
        self._roster = Roster(client)
        self._senders = dict[Path, Sender]()  # by the folder of the results
        self._topic = f"attnscape-{uuid.uuid4().hex}"
        client.subscribe_topic(self._topic, self._hear)

    @property
    def words(self) -> str:
        """How many workers, and how many of them cannot compute what is asked for."""
        workers = self._addresses()
        count = f"{len(workers)} workers" if len(workers) != 1 else "1 worker"
        refused = len(self._refusals.keys() & set(workers))
        return f"{count}, {refused} of them refused" if refused else count

    @property
    def lack(self) -> str:
        """A sentence if for a while nobody has answered or could compute; empty if all is well."""
        waits = not self._able() and time.monotonic() - self._able_at >= LACKING
        if self._roster.lack or not (waits and self._refusals):
            return self._roster.lack
        why = next(reversed(self._refusals.values()))
        return f"chunks wait for another worker, as those that are connected cannot help: {why}"

    def status(self) -> str:
        """What is done and under way."""
        with self._lock:
            counts = f"{self._finished} chunks done, {len(self._under_way)} under way"
        return f"{counts}, {self.words}"

    def takes(self, run: Computation) -> bool:
        """Whether this process finds the result of a run again if another one has made it."""
        return not run.identity.reasons

    @property
    def has_room(self) -> bool:
        """Whether a further job may be submitted: one more than there are workers.

        Raises:
            LostError: If the scheduler does not answer any more, or all processes have ended.
        """
        if self._client.status != "running":
            raise LostError
        expected = self._expected()
        if self._roster.is_lost:
            raise LostError(self._roster.lost)
        if self._abreast is not None and self._all_ended():
            raise LostError("All processes of the cluster have ended, and no new one starts")
        return len(self._under_way) <= expected

    def submit(self, job: Job, /, waiting: int = 0) -> Submitted:
        """Lets workers compute a job, in several chunks if processors would be idle.

        Args:
            job: The job.
            waiting: How many jobs will follow soon.
        """
        whole: Future[object] = Future()
        left = waiting + 1
        # A piece costs a compilation, which is worth it only if processors would be idle.
        workers = min(self._expected(), self._abreast or self._expected())
        pieces = job.cut(-(-workers // left))
        try:
            chunks = [self._chunk(piece) for piece in pieces]
        except UsageError as error:
            whole.set_exception(error)
            return Submitted(whole, lambda: (0, 0))

        def end(_: object) -> None:
            if all(chunk.ended.done() for chunk in chunks) and not whole.done():
                copy(chunks, whole)

        for chunk in chunks:
            chunk.ended.add_done_callback(end)
            self._send(chunk)
        return Submitted(whole, lambda: (sum(chunk.done for chunk in chunks), job.run_steps))

    def stop(self) -> None:
        """Gives up all that is under way; what a worker is computing ends there."""
        self._stopped = True
        with contextlib.suppress(Exception):  # it may be the scheduler's end that stops this
            self._client.cancel([chunk.task for chunk in self._under_way.values()], force=True)
        for sender in self._senders.values():
            sender.close()
        self._senders = {}

    def _all_ended(self) -> bool:
        """Whether nobody is left who would start a process in the place of one that died."""
        return all(each.status.name in ("closed", "failed") for each in self._made.workers.values())

    def _expected(self) -> int:
        """The workers that there are, or that are about to be."""
        return max(1, len(self._addresses()), len(getattr(self._made, "plan", ())))

    def _addresses(self) -> tuple[str, ...]:
        """The workers that there were a moment ago."""
        if self._roster.look():
            self._free()
        return self._roster.found

    def _able(self) -> frozenset[str]:
        """The workers that have refused nothing."""
        able = frozenset(self._addresses()) - self._refusals.keys()
        if able:
            self._were_able, self._able_at = able, time.monotonic()
        return able

    def _hoped_for(self) -> frozenset[str]:
        """The workers that are able or, if there are none, the last ones whose place is empty.

        While a new process takes the place of the only one that is able, a chunk waits for that.
        """
        return self._able() or self._were_able - self._refusals.keys()

    def _free(self) -> None:
        """Sends chunks again that only workers may compute which are all gone.

        Workers die, and a new process that takes the place of one has another address.
        """
        if not self._able():
            return
        with self._lock:  # the chunk of a task that ends now is sent once
            for chunk in [*self._under_way.values()]:
                if chunk.only and chunk.only.isdisjoint(self._roster.found):
                    before = chunk.task
                    self._send(chunk)
                    before.cancel(force=True)

    def _chunk(self, job: Job) -> Chunk:
        if job.directory not in self._senders:
            writable_directory(job.directory)
            self._senders[job.directory] = Sender(job.directory)
        sender = self._senders[job.directory]
        content, has_own = sender.to_bytes(job)
        key = f"{job}-{uuid.uuid4().hex}"
        pause = max(GLANCE, self._expected() / MESSAGES)
        message = Message(
            *(content, job.run.run_id, has_own, setup(), sender.folder),
            *(self._topic, key, pause, self._served),
        )
        return Chunk(job, message)

    def _send(self, chunk: Chunk) -> None:
        with self._lock:
            self._under_way[chunk.message.key] = chunk
            chunk.only = self._hoped_for() if self._refusals else frozenset()
            chunk.sent += 1
            chunk.tries += 1
            chunk.task = task = self._client.submit(
                *(pickle.loads, pickle.dumps(Work(chunk.message))),
                # A key is used once: a chunk that is sent again has the same message.
                key=f"{chunk.message.key}-{chunk.sent}",
                workers=list(chunk.only) or None,
                retries=TRIES - 1,
                pure=False,
            )
        task.add_done_callback(lambda task: self._ended(chunk, task))

    def _ended(self, chunk: Chunk, task: distributed.Future[Any]) -> None:
        """Called by Dask, on a thread of its own."""
        try:
            error = judge(chunk, task)
        except Exception:  # the scheduler is lost in between
            error = LostError()
        if isinstance(error, RefusedError):
            self._refusals[error.worker] = str(error)
            if not self._hoped_for():
                error = UsageError(f"No worker can compute {chunk.job}: {error}.")
        with self._lock:
            if task is not chunk.task:  # it was sent again
                return
            if isinstance(error, AgainError):
                self._send(chunk)
                return
            del self._under_way[chunk.message.key]
            self._finished += error is None
            chunk.task = None
        chunk.done = chunk.job.run_steps
        if error is None:
            chunk.ended.set_result(None)
        else:
            chunk.ended.set_exception(error)

    def _hear(self, event: tuple[float, tuple[str, int, str]]) -> None:
        """Called by Dask when a worker tells how far it is, first when it begins."""
        key, done, worker = event[1]
        if (chunk := self._under_way.get(key)) is not None:
            chunk.hear(done, worker)

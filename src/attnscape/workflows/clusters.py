"""Runs on a cluster: processes on this machine or others, which Dask starts and looks after.

A plan is cut into chunks: a run each, or some seeds of one where processors would be idle. Workers
write to the folder of the results, which all see, and return a word. Dask computes a chunk again
if its worker dies or it fails, two times; then the chunk is given up and the others go on.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnscape.errors import UsageError
from attnscape.experiments.computation import Computation
from attnscape.files import writable_directory
from attnscape.loading import format_user_error
from attnscape.workflows.cluster_worker import Message, Outcome, compute, setup
from attnscape.workflows.places import Job, LostError, Submitted
from attnscape.workflows.sending import Sender

if TYPE_CHECKING:
    import distributed

TRIES = 3  # of a chunk
_SERVED = 20  # chunks that a process of a worker computes before it is replaced
_GLANCE = 1.0  # seconds between two looks at the workers, and between two messages of one
MESSAGES = 500  # on progress that all workers send in a second, at most: each costs the scheduler


class _Chunk:
    """A job under way, or several tries of it."""

    def __init__(self, job: Job, message: Message) -> None:
        self.job, self.message = job, message
        self.done = 0  # run-steps
        self.ended: Future[object] = Future()
        self.task: Any = None  # Dask drops tasks that nobody holds


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
        self._lock = threading.Lock()
        self._under_way = dict[str, _Chunk]()  # by key
        self._refusals = dict[str, str]()  # by the worker's address
        self._finished, self._stopped = 0, False
        self._workers: tuple[float, tuple[str, ...]] = (-_GLANCE, ())  # and when they were asked
        self._senders = dict[Path, Sender]()  # by the folder of the results
        self._topic = f"attnscape-{uuid.uuid4().hex}"
        client.subscribe_topic(self._topic, self._hear)

    @property
    def words(self) -> str:
        """How many workers."""
        count = len(self._addresses())
        return f"{count} workers" if count != 1 else "1 worker"

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
            LostError: If the scheduler does not answer any more.
        """
        if self._client.status != "running":
            raise LostError
        return len(self._under_way) <= self._expected()

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
                _copy(chunks, whole)

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

    def _expected(self) -> int:
        """The workers that there are, or that are about to be."""
        return max(1, len(self._addresses()), len(getattr(self._made, "plan", ())))

    def _addresses(self) -> tuple[str, ...]:
        """The workers that there were a moment ago."""
        asked, found = self._workers
        if time.monotonic() - asked >= _GLANCE:
            with contextlib.suppress(Exception):  # `has_room` tells that the scheduler is lost
                found = tuple(_answer(self._client.nthreads()))
            self._workers = time.monotonic(), found
        return found

    def _chunk(self, job: Job) -> _Chunk:
        if job.directory not in self._senders:
            writable_directory(job.directory)
            self._senders[job.directory] = Sender(job.directory)
        sender = self._senders[job.directory]
        content, has_own = sender.to_bytes(job)
        key = f"{job}-{uuid.uuid4().hex}"
        pause = max(_GLANCE, self._expected() / MESSAGES)
        message = Message(
            *(content, job.run.run_id, has_own, setup(), sender.folder),
            *(self._topic, key, pause, self._served),
        )
        return _Chunk(job, message)

    def _send(self, chunk: _Chunk) -> None:
        able = [each for each in self._addresses() if each not in self._refusals]
        with self._lock:
            self._under_way[chunk.message.key] = chunk
        chunk.task = self._client.submit(
            compute,
            chunk.message,
            # A key is used once: a chunk that was refused has the same message.
            key=f"{chunk.message.key}-{len(self._refusals)}",
            workers=able if self._refusals else None,
            retries=TRIES - 1,
            pure=False,
        )
        chunk.task.add_done_callback(lambda task: self._ended(chunk, task))

    def _ended(self, chunk: _Chunk, task: distributed.Future[Any]) -> None:
        """Called by Dask, on a thread of its own."""
        try:
            error = self._judge(chunk, task)
        except Exception as failure:  # the scheduler is lost in between
            error = LostError(str(failure))
        if isinstance(error, _RefusedError):
            self._refusals[error.worker] = str(error)
            if set(self._addresses()) - self._refusals.keys():
                self._send(chunk)
                return
            error = UsageError(f"No worker can compute {chunk.job}: {error}.")
        with self._lock:
            del self._under_way[chunk.message.key]
            self._finished += error is None
        chunk.done = chunk.job.run_steps
        if error is None:
            chunk.ended.set_result(None)
        else:
            chunk.ended.set_exception(error)

    def _judge(self, chunk: _Chunk, task: distributed.Future[Any]) -> Exception | None:
        """The error that a try ended with, if any."""
        if task.status == "finished":
            outcome: Outcome = _answer(task.result())
            if outcome.refused:
                return _RefusedError(outcome.worker, outcome.refused)
            return UsageError(f"{chunk.job}: {outcome.failed}") if outcome.failed else None
        if task.status == "error":
            return UsageError(
                f"{chunk.job} was given up after {TRIES} tries: {_why(_answer(task.exception()))}."
            )
        return LostError(task.status)

    def _hear(self, event: tuple[float, tuple[str, int, int]]) -> None:
        """Called by Dask when a worker tells how far it is."""
        key, done, _ = event[1]
        if key in self._under_way:
            self._under_way[key].done = done


def _answer(found: Any) -> Any:
    """What a synchronous client has returned: its functions return coroutines in others."""
    return found


class _RefusedError(Exception):
    def __init__(self, worker: str, why: str) -> None:
        super().__init__(f"{worker} refused: {why}")
        self.worker = worker


def _copy(chunks: list[_Chunk], whole: Future[object]) -> None:
    """Ends a job as its chunks have ended."""
    errors = [error for chunk in chunks if (error := chunk.ended.exception())]
    lost = [error for error in errors if not isinstance(error, UsageError)]
    if lost:
        whole.set_exception(lost[0])
    elif errors:
        whole.set_exception(UsageError(" ".join(map(str, errors))))
    else:
        whole.set_result(None)


def _why(error: BaseException) -> str:
    import distributed

    if isinstance(error, distributed.KilledWorker):
        return "the workers that computed it died, perhaps because memory ran out"
    words = str(error) if isinstance(error, UsageError) else format_user_error(error)
    return words.rstrip(".")

"""Chunks of a plan: a job on a cluster, what became of a try, and whether it is tried again."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from attnscape.errors import UsageError
from attnscape.loading import format_user_error
from attnscape.workflows.cluster_worker import Message, Outcome
from attnscape.workflows.places import Job, LostError

if TYPE_CHECKING:
    import distributed

TRIES = 3  # of a chunk


class Chunk:
    """A job under way, or several tries of it.

    Attributes:
        job: The job.
        message: What a worker is told.
        done: Run-steps that are done.
        furthest: The most of them that were done in any try; the next one goes on from a checkpoint
            before.
        ended: Its end.
        task: Dask's handle, as long as it is under way. Dask drops tasks that nobody holds, and
            computes one that is done and held again if the worker dies that knows its outcome.
        sent: How often it was given to Dask, which has tries of its own.
        tries: The same since it was furthest.
        begun: The workers that have begun it, without those before the one that got furthest.
        only: The workers that may compute it, once others have refused.
    """

    def __init__(self, job: Job, message: Message) -> None:
        self.job: Job = job
        self.message: Message = message
        self.done: int = 0
        self.furthest: int = 0
        self.ended: Future[object] = Future()
        self.task: Any = None
        self.sent: int = 0
        self.tries: int = 0
        self.begun: set[str] = set()
        self.only: frozenset[str] = frozenset()

    def hear(self, done: int, worker: str) -> None:
        """Notes how far a worker is, first when it begins."""
        self.done = done
        if done > self.furthest:
            # The deaths before have not kept it from going on: they count no more.
            self.furthest, self.tries, self.begun = done, 0, set()
        self.begun.add(worker)


class AgainError(Exception):
    """A try ended without a fault of the chunk."""


class RefusedError(AgainError):
    """A worker cannot compute it.

    Args:
        worker: Its address.
        why: A clause.
    """

    def __init__(self, worker: str, why: str) -> None:
        super().__init__(f"{worker} refused: {why}")
        self.worker = worker


def judge(chunk: Chunk, task: distributed.Future[Any]) -> Exception | None:
    """The error that a task of Dask's ended with, if any.

    Dask blames a death on all chunks that the worker held, those included that waited on it while
    another one killed it; those are tried again, and so is one that was not seen to begin, or that
    got further than before, or that ended just before: workers may live shortly.

    Args:
        chunk: The chunk.
        task: The task.
    """
    if task.status == "finished":
        outcome: Outcome = answer(task.result())
        if outcome.refused and not chunk.message.token.exists():
            return UsageError(
                f"{chunk.job} has lost its folder {chunk.message.token.parent}, which was removed "
                "or cleared; run the same command again, and leave the folder as it is meanwhile."
            )
        if outcome.refused:
            return RefusedError(outcome.worker, outcome.refused)
        return UsageError(f"{chunk.job}: {outcome.failed}") if outcome.failed else None
    if task.status == "error":
        failure = answer(task.exception())
        if _is_death(failure) and len(chunk.begun) < TRIES and chunk.tries < TRIES:
            return AgainError(_DEATH)
        tries = max(TRIES, len(chunk.begun))  # those that a death of another cut short included
        return UsageError(f"{chunk.job} was given up after {tries} tries: {_why(failure)}.")
    if task.status in ("lost", "pending"):  # its worker died before its outcome was read
        return AgainError(_DEATH)
    return LostError()


def answer(found: Any) -> Any:
    """What a synchronous client has returned: its functions return coroutines in others."""
    return found


def copy(chunks: Sequence[Chunk], whole: Future[object]) -> None:
    """Ends a job as its chunks have ended."""
    errors = [error for chunk in chunks if (error := chunk.ended.exception())]
    lost = [error for error in errors if not isinstance(error, UsageError)]
    if lost:
        whole.set_exception(lost[0])
    elif errors:
        whole.set_exception(UsageError(" ".join(map(str, errors))))
    else:
        whole.set_result(None)


_DEATH = "the workers that computed it died, perhaps because memory ran out"


def _is_death(error: BaseException) -> bool:
    import distributed

    return isinstance(error, distributed.KilledWorker)


def _why(error: BaseException) -> str:
    if _is_death(error):
        return _DEATH
    words = str(error) if isinstance(error, UsageError) else format_user_error(error)
    return words.rstrip(".")

"""What a worker of a cluster does with a chunk: it checks that its numbers are those asked for."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

import dask.config
import distributed
import threadpoolctl

from attnscape.errors import UsageError
from attnscape.experiments import store
from attnscape.identity import settings, version
from attnscape.loading import user_errors
from attnscape.training import Progress
from attnscape.training.provenance import provenance
from attnscape.workflows.fresh import code
from attnscape.workflows.places import Job
from attnscape.workflows.sending import from_bytes

_ONE_AT_A_TIME = threading.Lock()  # should a worker have several threads
_PATIENCE = 1.0  # seconds in which the outcome of the last chunk is sent
_PACKAGES = ("torch", "transformers")  # beside those of `provenance`


@dataclasses.dataclass(frozen=True)
class Message:
    """A chunk on its way to a worker.

    Attributes:
        job: The chunk as bytes (`attnscape.workflows.sending`).
        run_id: The id of its run.
        has_own: Whether it has parts of a user's file, so that its id is computed again.
        setup: What the worker must have in common with the process that asks (`setup`).
        token: A folder beside the results; who sees it sees the folder of the results.
        topic: Where progress is told.
        key: Says whose progress it is.
        pause: Seconds between two messages on it.
        most: Chunks after which the process of a worker is replaced.
    """

    job: bytes
    run_id: str
    has_own: bool
    setup: Mapping[str, Any]
    token: Path
    topic: str
    key: str
    pause: float
    most: int


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a chunk on a worker.

    Attributes:
        worker: The worker's address.
        refused: Why this worker must not compute it; empty if it may.
        failed: A sentence on an error that would come again on any worker; empty if there is none.
    """

    worker: str
    refused: str = ""
    failed: str = ""


def setup() -> dict[str, Any]:
    """All that a process must have in common with another one, so that results are the same."""
    versions = {package: version(package) for package in _PACKAGES}
    return {**provenance(), **versions, "source code of attnscape": code(), **_settings()}


def _settings() -> dict[str, Any]:
    found = settings()
    return {"xla_threads": "several", **found}  # there is no entry unless it is one


def compute(message: Message) -> Outcome:
    """Computes a chunk and writes what came of it to the folder of the results.

    Raises:
        Exception: If it fails for a reason that may be the worker's.
    """
    worker = distributed.get_worker()
    # xarray, when it writes a file, would otherwise ask the scheduler for a lock.
    with _ONE_AT_A_TIME, _one_thread_each(), dask.config.set(scheduler="synchronous"):
        if refused := _obstacle(message):
            return Outcome(worker.address, refused=refused)
        try:
            with user_errors():
                job: Job = from_bytes(message.job)
                if message.has_own and _run_id_here(job.run) != message.run_id:
                    return Outcome(worker.address, refused=_OTHER_FILES)
                worker.log_event(message.topic, (message.key, 0, worker.address))
                job(_progress(message, worker))
        except store.ElsewhereError as error:  # the next try would not know of it
            return Outcome(
                worker.address, failed=f"{error} This is on the worker {worker.address}."
            )
        except UsageError as error:
            if error.__cause__ is not None:  # of the machine or of a user's part: it may go better
                raise
            return Outcome(worker.address, failed=str(error))
        finally:
            _leave_after(message.most, worker)
    return Outcome(worker.address)


class Work:
    """A chunk as bytes whose reading computes it, so that a scheduler needs no attnscape.

    A scheduler reads what it passes on, the names of functions included.

    Args:
        message: The chunk.
    """

    def __init__(self, message: Message) -> None:
        self._message = message

    def __reduce__(self) -> tuple[Callable[[Message], Outcome], tuple[Message]]:
        return compute, (self._message,)


_OTHER_FILES = (
    "it finds other files than this process under the paths of your own parts; use a file system "
    "that both see"
)


def _run_id_here(run: Any) -> str:
    """The id of a run with the files that this process finds."""
    return dataclasses.replace(run).run_id


def _obstacle(message: Message) -> str:
    """Why this worker cannot give the numbers that are asked for, or put them where they belong."""
    if not message.token.exists():
        return (
            f"it does not see the folder {message.token.parent}; choose one that is shared, "
            "with --out"
        )
    mine = setup()
    for name, wanted in message.setup.items():
        if mine.get(name) != wanted:
            return (
                f"its {name.replace('_', ' ')} is {mine.get(name)!r}, and here it is {wanted!r}; "
                "make them the same, so that results are"
            )
    return ""


@contextlib.contextmanager
def _one_thread_each() -> Generator[None]:
    """Context manager: one thread for PyTorch, as in the processes of one machine, and for BLAS."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        yield


def _progress(message: Message, worker: Any) -> Progress:
    said = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal said
        if time.monotonic() - said >= message.pause:
            said = time.monotonic()
            worker.log_event(message.topic, (message.key, done, worker.address))

    return progress


_served = 0


def _leave_after(most: int, worker: Any) -> None:
    """Lets a new process take this one's place when it has served often, between two chunks.

    Compiled programs and what JAX and PyTorch remember of them stay in a process until it ends. A
    lifetime in seconds would cut a chunk in two, which costs a network's run all that it had done.
    """
    global _served
    _served += 1
    if _served >= most and worker.nanny:  # who starts the new process
        leave = functools.partial(worker.close_gracefully, restart=True, reason="served often")
        worker.loop.add_callback(worker.loop.call_later, _PATIENCE, leave)

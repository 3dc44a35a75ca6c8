"""The workers of a Dask scheduler, and whether it answers.

A scheduler that is stopped and not dead, or that swaps, keeps its connections: whoever asks it
waits for ever, and nothing tells that from work that takes long.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, TypeVar

from attnscape.training.sizes import in_words
from attnscape.workflows.cluster_chunks import answer

if TYPE_CHECKING:
    import distributed

_Found = TypeVar("_Found")
GLANCE = 1.0  # seconds between two looks
LACKING = 10.0  # seconds without a worker, or without an answer, before that is said
_GIVEN_UP = 600.0  # seconds without an answer after which the scheduler is lost


class Roster:
    """Asks a scheduler who works for it, and waits for a first answer only.

    Args:
        client: The connection to the scheduler.
    """

    def __init__(self, client: distributed.Client) -> None:
        self._client, self._lock = client, threading.Lock()
        self.found: tuple[str, ...] = ()
        self._asked: Future[tuple[str, ...]] | None = None  # what is not answered yet
        self._looked = -GLANCE
        self._seen = time.monotonic()  # when there was a worker
        self._silence = 0.0  # seconds for which the scheduler has not answered
        self._patience = LACKING  # seconds to wait for the first answer; later ones may come late

    def look(self) -> bool:
        """Asks anew if the last time is a while ago; returns whether there is a new answer."""
        with self._lock:
            since = time.monotonic() - self._looked
            if since < GLANCE:
                return False
            if self._asked is None:
                self._asked, since = on_a_thread(self._workers), 0.0
                wait([self._asked], self._patience)
                self._patience = min(self._patience, GLANCE)
            self._looked = time.monotonic()
            if not self._asked.done():
                # Not more than between two looks: this process may have been stopped itself.
                self._silence += min(since, 2 * GLANCE)
                return False
            answered, self._asked = self._asked, None
            if answered.exception() is not None:  # who is lost, the client's status tells
                return False
            self.found, self._silence = answered.result(), 0.0
            if self.found:
                self._seen = self._looked
            return True

    @property
    def is_lost(self) -> bool:
        """Whether the scheduler has not answered for so long that it is given up."""
        return self._silence >= _GIVEN_UP

    @property
    def lost(self) -> str:
        """A sentence on a scheduler that is given up, without a stop."""
        return f"The scheduler of the cluster has not answered for {in_words(_GIVEN_UP)}"

    @property
    def lack(self) -> str:
        """A sentence if nobody has answered or worked for a while; empty if all is well."""
        address = getattr(self._client.scheduler, "address", "the scheduler")
        if self._silence >= LACKING:
            return (
                f"{address} does not answer; the command waits for it, for {in_words(_GIVEN_UP)} "
                "at most, and goes on when it answers again"
            )
        if self.found or time.monotonic() - self._seen < LACKING:
            return ""
        return (
            f"no worker is connected to {address}; chunks wait for one, as "
            f"`dask worker {address} --nthreads 1` starts it"
        )

    def _workers(self) -> tuple[str, ...]:
        return tuple(answer(self._client.nthreads()))


def on_a_thread(call: Callable[[], _Found]) -> Future[_Found]:
    """What a call returns, whose thread no end of this process waits for: it may never return."""
    found = Future[_Found]()

    def run() -> None:
        try:
            found.set_result(call())
        except BaseException as error:  # that of a cancelled coroutine included
            found.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return found

"""Processes that compute for this one, several tasks at once.

They serve until this process ends, so that each compiles a program once.
"""

from __future__ import annotations

import functools
import os
import signal
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from typing import Any

import jax

from attnscape import native
from attnscape.training import Progress, processors
from attnscape.workflows import fork_server
from attnscape.workflows.places import Submitted


class Processes:
    """Processes that are started when they are needed; PyTorch has one thread in each.

    They end with this process, even if that is killed. They do not warn of missing kernels.

    Args:
        count: How many processes. One more task than that may be submitted (`has_room`), so that no
            process is idle between two tasks.
    """

    def __init__(self, count: int) -> None:
        context = fork_server.context()
        # Only this process can write, so the others read the end of the pipe when it is gone.
        alive, self._alive = context.Pipe(duplex=False)
        self._free = list(range(count + 1))
        # Of each task under way: what is done, and all that there is to do.
        self._progress: Any = context.RawArray("q", 2 * len(self._free))
        arguments = alive, self._progress
        self._pool = ProcessPoolExecutor(count, context, initializer=_prepare, initargs=arguments)

    @property
    def has_room(self) -> bool:
        """Whether a further task may be submitted."""
        return bool(self._free)

    def submit(self, task: Callable[[Progress], object], waiting: int = 0) -> Submitted:
        """Lets a process compute a task, which is called with a function for its progress.

        Args:
            task: The task.
            waiting: How many follow, which changes nothing here.

        Raises:
            BrokenProcessPool: If a process ended unexpectedly.
        """
        place = self._free.pop()
        self._progress[2 * place : 2 * place + 2] = [0, 0]
        try:
            future = self._pool.submit(_compute, task, place)
        except BrokenProcessPool:
            self._free.append(place)
            raise
        future.add_done_callback(lambda _: self._free.append(place))
        return Submitted(future, functools.partial(self._read, place))

    def _read(self, place: int) -> tuple[int, int]:
        done, total = self._progress[2 * place : 2 * place + 2]
        return done, total

    def stop(self) -> None:
        """Stops all processes at once; `processes()` then gives new ones."""
        processes.cache_clear()
        self._alive.close()
        self._pool.shutdown(cancel_futures=True)


@functools.cache
def processes() -> Processes:
    """The processes that serve this one: as many as there are processors."""
    return Processes(processors())


# In a process that computes, what `Processes` reads there.
_places: Any = None


def _prepare(alive: Connection, places: Any) -> None:
    """Prepares a new process: no GPU, Ctrl-C is left to the process that started it."""
    global _places
    _places = places
    warnings.simplefilter("ignore", native.MissingKernelsWarning)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # PyTorch, which is imported later, gets one thread. XLA keeps all, because sums have other last
    # bits where it has only one.
    os.environ["OMP_NUM_THREADS"] = "1"
    jax.config.update("jax_platforms", "cpu")  # JAX takes most of a GPU's memory when it opens it
    threading.Thread(target=_end_with, args=(alive,), daemon=True).start()


def _end_with(alive: Connection) -> None:
    alive.poll(None)  # returns at the end of the pipe: nothing is ever written
    os._exit(1)


def _compute(task: Callable[[Progress], object], place: int) -> object:
    def progress(done: int, total: int) -> None:
        _places[2 * place : 2 * place + 2] = [done, total]

    return task(progress)

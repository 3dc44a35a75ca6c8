"""Processes that compute for this one, several tasks at once.

They serve until this process ends, so that each imports its libraries and compiles a program once.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection

import jax

from attnscape.errors import UsageError
from attnscape.training import processors


class Processes:
    """As many processes as there are processors, started when they are needed.

    They end with this process, even if that is killed.
    """

    def __init__(self, count: int) -> None:
        context = multiprocessing.get_context("spawn")  # forks of a process with threads can hang
        # Only this process can write, so the others read the end of the pipe when it is gone.
        alive, self._alive = context.Pipe(duplex=False)
        self._pool = ProcessPoolExecutor(count, context, initializer=_prepare, initargs=(alive,))

    @contextmanager
    def submitted(self, tasks: Iterable[Callable[[], object]]) -> Generator[list[Future[object]]]:
        """Context manager: the tasks' futures, in the tasks' order.

        If an error is raised inside, tasks that have begun are finished and the others are not
        begun. After Ctrl-C all processes are stopped at once.

        Raises:
            UsageError: If a process ended unexpectedly.
        """
        try:
            futures = [self._pool.submit(task) for task in tasks]
            try:
                yield futures
            except Exception:
                for future in futures:
                    future.cancel()
                wait(futures)
                raise
        except KeyboardInterrupt:  # also while tasks are waited for
            self.stop()
            raise
        except BrokenProcessPool:
            self.stop()
            raise UsageError(
                "A process that computed runs ended unexpectedly, perhaps because memory ran out; "
                "finished runs are kept, so run the same command again."
            ) from None

    def stop(self) -> None:
        """Stops all processes at once; `processes()` then gives new ones."""
        processes.cache_clear()
        self._alive.close()
        self._pool.shutdown(cancel_futures=True)


@functools.cache
def processes() -> Processes:
    """The processes that serve this one."""
    return Processes(processors())


def _prepare(alive: Connection) -> None:
    """Prepares a new process: one thread, no GPU, Ctrl-C is left to the process that started it."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    jax.config.update("jax_platforms", "cpu")  # JAX takes most of a GPU's memory when it opens it
    threading.Thread(target=_end_with, args=(alive,), daemon=True).start()


def _end_with(alive: Connection) -> None:
    alive.poll(None)  # returns at the end of the pipe: nothing is ever written
    os._exit(1)

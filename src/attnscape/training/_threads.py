"""Trains several seeds at once, each on a thread of its own.

A step of one seed is too small to be divided among the cores, but seeds do not depend on each
other. A seed's numbers are the same bits on any number of threads.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import queue
import threading
from collections.abc import Callable, Generator, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import jax
import scipy.linalg.cython_lapack  # noqa: F401 - the LAPACK that XLA calls, whose threads are limited
from threadpoolctl import ThreadpoolController

from attnscape import native

_Result = TypeVar("_Result")
Report = Callable[[int], None]  # called with the steps that a seed has done


class _StoppedError(Exception):
    """Another seed failed, or the user pressed Ctrl-C."""


_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # what a container may use, such as "200000 100000"


def processors() -> int:
    """The number of processors that this process may use; NPROC, which XLA reads too, sets it.

    Examples:
        >>> from attnscape.training import processors
        >>> processors() >= 1
        True
    """
    count = native.xla_threads()
    with contextlib.suppress(OSError, ValueError):  # there is no such file, or no limit ("max")
        quota, period = _QUOTA.read_text("ascii").split()
        count = min(count, int(quota) // int(period))
    return max(1, count)


def settings_reach_threads() -> bool:
    """Whether a new thread has JAX's settings, except x64, as they are on this thread.

    It has not if the user set one of them by a context manager.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(_settings).result() == _settings()


def _settings() -> dict[str, str]:
    values = {name: repr(value) for name, value in jax.config.values.items()}
    del values["jax_enable_x64"]
    return values


def for_each_seed(
    run: Callable[[int, Report], _Result],
    seeds: Sequence[int],
    threads: int,
    report: Report,
) -> list[_Result]:
    """`run(seed, report)` of every seed, in the seeds' order.

    If a seed fails, the others stop at their next report.

    Args:
        run: Trains one seed; it calls its second argument with the steps it has done.
        seeds: The seeds.
        threads: How many seeds are trained at once.
        report: Called on this thread with the steps that all seeds have done.
    """
    if threads == 1:
        return _one_by_one(run, seeds, report)
    reports: queue.SimpleQueue[tuple[int, int | None]] = queue.SimpleQueue()
    stopped = threading.Event()
    x64 = bool(jax.config.values["jax_enable_x64"])

    def on_thread(index: int) -> _Result:
        def tell(steps: int) -> None:
            if stopped.is_set():
                raise _StoppedError
            reports.put((index, steps))

        try:
            if stopped.is_set():
                raise _StoppedError
            with jax.enable_x64(x64):  # a thread does not inherit it
                return run(seeds[index], tell)
        finally:
            reports.put((index, None))

    with native.callers(threads), ThreadPoolExecutor(threads) as pool:
        try:
            # Each thread sees the caller's context variables, such as numpy's error state.
            futures = [
                pool.submit(contextvars.copy_context().run, on_thread, index)
                for index in range(len(seeds))
            ]
            _wait(futures, reports, report)
            return [future.result() for future in futures]
        finally:
            stopped.set()


def _one_by_one(
    run: Callable[[int, Report], _Result], seeds: Sequence[int], report: Report
) -> list[_Result]:
    results, before = list[_Result](), 0
    for seed in seeds:
        done = 0

        def tell(steps: int, before: int = before) -> None:
            nonlocal done
            done = steps
            report(before + steps)

        results.append(run(seed, tell))
        before += done
    return results


def _wait(
    futures: Sequence[Future[_Result]],
    reports: queue.SimpleQueue[tuple[int, int | None]],
    report: Report,
) -> None:
    """Passes the reports on until every seed is done, or one fails."""
    done, waiting = [0] * len(futures), len(futures)
    while waiting:
        index, steps = reports.get()
        if steps is None:
            futures[index].result()  # raises what the seed raised
            waiting -= 1
        else:
            done[index] = steps
            report(sum(done))


class FirstCallAlone:
    """Makes the first call of each program while no other program is called for the first time.

    The first call traces users' code and compiles it, so that their code is never traced on two
    threads at once.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._called: set[Hashable] = set()

    def __call__(self, program: Hashable, call: Callable[[], _Result]) -> _Result:
        """Returns `call()`; `program` says which program it calls."""
        if program in self._called:
            return call()
        with self._lock:
            result = call()
            self._called.add(program)
            return result


class _OneBlasThread:
    """Limits BLAS to one thread while at least one context is open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = 0
        self._limit = contextlib.ExitStack()

    @contextlib.contextmanager
    def __call__(self) -> Generator[None]:
        with self._lock:
            if self._open == 0:
                self._limit.enter_context(_pools().limit(limits=1, user_api="blas"))
            self._open += 1
        try:
            yield
        finally:
            with self._lock:
                self._open -= 1
                if self._open == 0:
                    self._limit.close()


@functools.cache
def _pools() -> ThreadpoolController:
    return ThreadpoolController()  # finding the libraries takes milliseconds


one_blas_thread = _OneBlasThread()

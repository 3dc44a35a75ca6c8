"""Finds or starts the cluster that a word of the command line names."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Generator
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from attnscape.errors import UsageError
from attnscape.loading import is_reference, load_object, user_errors
from attnscape.native import default_device, xla_threads
from attnscape.training import processors
from attnscape.workflows.places import LostError

if TYPE_CHECKING:
    import distributed

    from attnscape.workflows.clusters import Cluster

_PATIENCE = 10  # seconds in which a scheduler must answer
_LOCAL = "local:"
# Dask looks at what its processes do a hundred times a second, for pages that nobody opens: 3 % of
# a processor in each. Workers that are started here have the same settings.
_QUIET = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
    # xarray writes files in this process without asking the scheduler for a lock.
    "scheduler": "synchronous",
}
# Else Dask takes a worker away for good which is between two processes this long after one ended.
_PATIENT = {"distributed.deploy.lost-worker-timeout": "1000 days"}
_MOST = 1_000  # local workers; more is a slip of the finger


@contextlib.contextmanager
def opened(text: str | None) -> Generator[Cluster | None]:
    """Context manager: the cluster that a text names, or None without a text.

    Args:
        text: `local:N`, for N processes of this machine; the address of a scheduler, such as
            `tcp://host:8786`; or `my_cluster.py:factory`, a function without arguments that returns
            a cluster or client of `distributed`. A local cluster, and one that a factory has made,
            is closed at the end.

    Raises:
        UsageError: If Dask is not installed, the text cannot be read, or there is no such cluster;
            or in place of `LostError`, if the block ends with that.
    """
    if text is None:
        yield None
        return
    try:
        import dask.config

        from attnscape.workflows.cluster_chunks import TRIES
        from attnscape.workflows.clusters import Cluster
    except ImportError:
        raise UsageError(
            "--cluster needs Dask; install it by pip install 'attnscape[cluster]'."
        ) from None
    # What it tells of dying workers and lost connections, attnscape says in a sentence.
    for name in ("distributed", "distributed.client"):  # which has a level of its own
        logging.getLogger(name).setLevel(logging.CRITICAL)
    patience = _PATIENT if text.startswith(_LOCAL) else {}
    failures = {"distributed.scheduler.allowed-failures": TRIES - 1}
    with (
        dask.config.set({**_QUIET, **failures, **patience}),
        contextlib.ExitStack() as stack,
    ):
        client, made = _client(text, stack)
        cluster = Cluster(client, made, abreast=workers_abreast(text))
        stack.callback(cluster.stop)
        try:
            yield cluster
        except LostError as error:
            raise UsageError(
                f"{error}; everything that is finished is kept, so run the same command again."
            ) from error


def _client(text: str, stack: contextlib.ExitStack) -> tuple[distributed.Client, Any]:
    """The connection to the scheduler, and the cluster if it was made here."""
    import distributed

    if text.startswith(_LOCAL):
        made = stack.enter_context(_local(text))
    elif re.match(r"\w+://", text):
        return stack.enter_context(_connected(text)), None
    elif is_reference(text):
        with user_errors():
            factory = load_object(text)
            if not callable(factory):
                raise UsageError(f"{text} is {factory!r}; it must be a function without arguments.")
            made: Any = factory()
        if isinstance(made, distributed.Client):
            return stack.enter_context(made), made.cluster
        if not hasattr(made, "scheduler_address"):
            raise UsageError(
                f"{text} returned {type(made).__name__}; it must return a cluster or client of "
                "distributed, such as a SLURMCluster."
            )
        stack.enter_context(made)
    else:
        raise UsageError(
            f"--cluster is {text!r}; give local:4 (processes of this machine), tcp://host:8786 (a "
            "scheduler that runs), or my_cluster.py:factory."
        )
    return stack.enter_context(_connected(made)), made


def _connected(where: Any) -> distributed.Client:
    import distributed

    from attnscape.workflows.roster import on_a_thread

    # Dask waits for ever for one that takes the connection and then says nothing.
    made = on_a_thread(lambda: distributed.Client(where, timeout=_PATIENCE, set_as_default=False))
    try:
        return made.result(3 * _PATIENCE)  # in which Dask would have told all else
    except (OSError, ValueError) as error:
        raise UsageError(
            f"No scheduler answers at {where} ({str(error) or type(error).__name__}); start one "
            "there with `dask scheduler`, or correct --cluster."
        ) from error
    except Exception as error:  # whatever another version makes of the first words
        raise UsageError(
            f"The scheduler at {where} does not understand this process ({error}); start it with "
            f"the same version of Dask's distributed, which is {version('distributed')} here."
        ) from error


def _local(text: str) -> Any:
    """Processes of this machine, each with its share of the processors."""
    import distributed

    number = text.removeprefix(_LOCAL)
    if not (number.isdecimal() and 1 <= int(number) <= _MOST):
        raise UsageError(
            f"--cluster is {text!r}; give a whole number of processes from 1 to {_MOST}, as in "
            "local:4."
        )
    if default_device().platform != "cpu":
        raise UsageError(
            "--cluster local computes on processors, and JAX has an accelerator here; leave "
            "--cluster out, or set JAX_PLATFORMS to cpu."
        )
    try:
        return distributed.LocalCluster(
            n_workers=int(number),
            threads_per_worker=1,  # one chunk at a time, whose seeds have threads of XLA's
            processes=True,
            memory_limit=0,  # attnscape looks at the memory that is free
            dashboard_address=":0",
            silence_logs=logging.CRITICAL,
            env={"PJRT_NPROC": str(_threads(text)), "OMP_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"},
        )
    except (OSError, RuntimeError) as error:  # a process was killed, or found no memory
        raise UsageError(
            f"The processes of --cluster {text} do not start ({error}); see whether there is "
            "memory for so many, and run the same command again."
        ) from error


def workers_abreast(text: str) -> int | None:
    """How many workers use all processors; None where each has its own."""
    return max(1, processors() // _threads(text)) if text.startswith(_LOCAL) else None


def _threads(text: str) -> int:
    """How many threads of XLA's each of the local processes has."""
    # XLA compiles sums in another way if it has only one thread, and then bits differ.
    share = processors() // int(text.removeprefix(_LOCAL))
    return 1 if xla_threads() == 1 else max(2, share)

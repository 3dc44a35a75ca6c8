"""The server that forks processes which compute: it has imported their libraries before.

It imports them while this process does so itself, and each process that it forks has them at once.
This module imports nothing that takes long, so that the server can be started first of all.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import BaseContext

_LIBRARIES = ["attnscape.workflows.processes", "attnscape.workflows.places"]


def context() -> BaseContext:
    """The context whose processes are forked by the server, which is started if it does not run."""
    start()
    # A copy of this process would hang, as it has threads; libraries of macOS do not bear forks.
    return multiprocessing.get_context("spawn" if sys.platform == "darwin" else "forkserver")


def start() -> None:
    """Starts the server, and Python's resource tracker without its warning of leaked semaphores.

    The tracker removes them if this process is killed. Ctrl-C kills it: XLA cannot be interrupted
    otherwise. It is left to this process: the server and all that it forks never see it.
    """
    silence = "ignore:resource_tracker:UserWarning"
    sys.warnoptions.append(silence)  # passed on to the tracker
    resource_tracker.ensure_running()
    sys.warnoptions.remove(silence)
    if sys.platform == "darwin":
        return
    forkserver.set_forkserver_preload(_LIBRARIES)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # which it inherits
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

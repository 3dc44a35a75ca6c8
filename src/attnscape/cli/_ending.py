"""How the command ends: with a sentence and an exit code, without a traceback.

Exit codes: 0 if everything was made; 1 with a sentence; 2 if the arguments cannot be read; 130
after Ctrl-C and 143 after SIGTERM; 141 if the reader of the output has closed it, all as in shells.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import threading
from collections.abc import Generator
from types import FrameType
from typing import Any

from attnscape.errors import UsageError
from attnscape.loading import format_user_error

_CLOSED_PIPE = 141
_STOPPING = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
_OF_STREAMS = (errno.ENOSPC, errno.EIO, errno.EBADF, errno.EFBIG)


@contextlib.contextmanager
def orderly() -> Generator[None, None, None]:
    """Context manager: turns an exception of the block into a sentence and an exit code.

    Raises:
        SystemExit: With the exit code, if the block does not finish.
    """
    if callable(reconfigure := getattr(sys.stdout, "reconfigure", None)):
        reconfigure(errors="replace")  # a character unknown to the terminal is no error
    with _answering_signals():
        try:
            try:
                yield
            except SystemExit:
                _flush()
                raise
            _flush()
        except BrokenPipeError:
            _abandon_output()
            sys.exit(_CLOSED_PIPE)
        except Exception as error:
            sentence = _sentence(error)
            if sentence is None:
                raise
            with contextlib.suppress(OSError):
                _flush()
            _abandon_output()
            sys.exit(f"attnscape: {sentence}")


@contextlib.contextmanager
def to_its_end() -> Generator[None, None, None]:
    """Context manager: turns `sys.exit` in a user's part, with any code, into an error.

    Raises:
        UsageError: If the block is left by SystemExit.
    """
    try:
        yield
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # rich exits on a closed pipe
            raise end.__context__ from None
        raise UsageError(
            "A part of yours ended the program before its result was made "
            f"({format_user_error(end)}); let it return, or raise an error that says what is wrong."
        ) from end


def _sentence(error: Exception) -> str | None:
    """The sentence for an error caused by the user or the machine; None for a bug."""
    words = str(error)
    if isinstance(error, UsageError):
        return words
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in words:
        return (
            "The memory of this machine does not suffice; ask for fewer seeds, a smaller batch or "
            "less context."
        )
    if isinstance(error, RuntimeError | AssertionError) and _nothing_computes():
        platforms = os.environ.get("JAX_PLATFORMS", "")
        asked = f"on {platforms!r}, which JAX_PLATFORMS asks for" if platforms else "here"
        return f"JAX cannot compute {asked}; set JAX_PLATFORMS to cpu, or install what it needs."
    if isinstance(error, OSError):
        reason = os.strerror(error.errno) if error.errno else words
        if error.filename is not None:
            return (
                f"{error.filename} cannot be used ({reason}); give the right to read and write it, "
                "or choose another place."
            )
        if error.errno in _OF_STREAMS:  # errors of files have a filename
            return f"The standard output cannot be written ({reason}); send it elsewhere."
    return None


def _nothing_computes() -> bool:
    """Whether JAX is loaded and finds no device; it raises various errors in this case."""
    if "jax" not in sys.modules:
        return False
    try:
        sys.modules["jax"].devices()
    except (RuntimeError, AssertionError):
        return True
    return False


def _flush() -> None:
    if sys.stdout is not None:  # None if it was closed before Python started
        sys.stdout.flush()


def _abandon_output() -> None:
    """Sends unwritten output to /dev/null: Python would retry at exit and change the exit code."""
    with contextlib.suppress(OSError, AttributeError, ValueError):
        _flush()
        return
    with contextlib.suppress(OSError, AttributeError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def _answering_signals() -> Generator[None, None, None]:
    """Context manager: answers Ctrl-C and SIGTERM with a sentence, unless a shell ignores them."""
    before = dict[signal.Signals, Any]()
    if threading.current_thread() is threading.main_thread():
        for each in _STOPPING:
            if signal.getsignal(each) is not signal.SIG_IGN:
                before[each] = signal.signal(each, _stopped)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _stopped(number: int, frame: FrameType | None) -> None:
    """Ends the process at once.

    An exception or a regular exit is not possible: XLA calls Python while it compiles, and crashes
    on either. A file being written does not have its final name yet, so it is never mistaken for a
    complete one.
    """
    with contextlib.suppress(Exception):  # the signal may have arrived during a flush
        _flush()
    # The progress bar hides the cursor of a terminal.
    show_cursor = "\x1b[?25h" if os.isatty(2) else ""
    words = (
        f"{_STOPPING[signal.Signals(number)]}; finished runs and the checkpoints of those under "
        "way are kept: the same command goes on from there."
    )
    with contextlib.suppress(OSError):
        os.write(2, f"{show_cursor}\nattnscape: {words}\n".encode())
    os._exit(128 + number)

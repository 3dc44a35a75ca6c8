"""Errors in users' files, reported as one sentence with the file and the line."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Generator

from attnscape.errors import UsageError
from attnscape.loading._origins import is_installed_file


def format_user_error(error: BaseException) -> str:
    """The error's type and message, with the file and line of the user's code that raised it.

    Examples:
        >>> from attnscape.loading import format_user_error
        >>> format_user_error(ValueError("The rate is too large."))
        'ValueError: The rate is too large.'
    """
    try:
        message = str(error).strip().splitlines()
    except Exception:  # the error is of a user's class
        message = []
    words = f"{type(error).__name__}: {message[0]}" if message else type(error).__name__
    own = own_frames(error)
    return f"{words} ({own[-1].filename}, line {own[-1].lineno})" if own else words


@contextlib.contextmanager
def user_errors() -> Generator[None]:
    """Context manager: turns an error raised in a user's file into a sentence.

    Raises:
        UsageError: In place of an error from a user's file; other errors pass unchanged.

    Examples:
        >>> from attnscape.loading import user_errors
        >>> code = compile("1 / 0", "my_file.py", "exec")  # stands for a user's file
        >>> with user_errors():
        ...     exec(code)
        Traceback (most recent call last):
            ...
        attnscape.errors.UsageError: A part of yours failed: ZeroDivisionError: division by zero
        (my_file.py, line 1).
    """
    try:
        yield
    except UsageError:
        raise
    except (Exception, SystemExit) as error:  # sys.exit() in a user's file counts as an error
        if not own_frames(error):
            raise
        raise UsageError(f"A part of yours failed: {format_user_error(error)}.") from error


def own_frames(error: BaseException) -> list[traceback.FrameSummary]:
    """The frames of an error that lie in users' files."""
    frames = traceback.extract_tb(error.__traceback__)
    return [frame for frame in frames if not is_installed_file(frame.filename)]

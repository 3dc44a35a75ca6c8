"""Errors in users' parts, reported in one sentence with the file and the line."""

from __future__ import annotations

import contextlib
import functools
import inspect
import re
from collections.abc import Generator

import jax

from attnscape import loading
from attnscape.errors import UsageError

_FRAME = re.compile(r'File "([^"]+)", line (\d+)')
# Attributes of a part that may contain the user's function or class, to find its source.
_WITHIN = (
    "function",
    "factory",
    "shape",
    "init",
    "model",
    "make",
    "covariates",
    "weights",
    "response",
    "sample",
    "task",
    "loss",
)


class BrokenError(UsageError):
    """A part breaks its contract.

    Attributes:
        check: Name of the check that found it.
    """

    def __init__(self, check: str, sentence: str) -> None:
        super().__init__(sentence)
        self.check: str = check


@contextlib.contextmanager
def user_errors(check: str, subject: str, thing: object) -> Generator[None]:
    """Context manager: turns any error of a user's part into a sentence.

    `sys.exit` and similar exceptions count as errors of the part; Ctrl-C does not.

    Args:
        check: Name of the check.
        subject: The beginning of a sentence about the part.
        thing: The part. Its file and line are named if the error has none.

    Raises:
        BrokenError: In place of the part's error.
    """
    try:
        yield
    except (BrokenError, KeyboardInterrupt):
        raise
    except UsageError as error:
        raise BrokenError(check, placed(str(error), thing)) from error
    except (
        jax.errors.ConcretizationTypeError,
        jax.errors.TracerArrayConversionError,
        jax.errors.TracerIntegerConversionError,
        jax.errors.NonConcreteBooleanIndexError,
    ) as error:
        raise BrokenError(
            check,
            f"{subject} cannot be compiled: {format_user_error(error, thing)}; numbers are "
            "traced by JAX, so that all runs go at once: compute with jax.numpy and jax.lax.",
        ) from error
    except BaseException as error:
        raise BrokenError(check, f"{subject} failed: {format_user_error(error, thing)}.") from error


@contextlib.contextmanager
def callback_errors() -> Generator[None]:
    """Context manager: turns an error of a user's callback in a compiled program into a sentence.

    Raises:
        UsageError: If a callback fails.

    Examples:
        >>> import jax
        >>> from attnscape.validation import callback_errors
        >>> def fail(number):
        ...     raise ValueError("no luck")
        >>> with callback_errors():
        ...     jax.jit(lambda x: jax.pure_callback(fail, x, x))(1.0).block_until_ready()
        Traceback (most recent call last):
            ...
        attnscape.errors.UsageError: A callback of yours failed: ValueError: no luck.
    """
    try:
        yield
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        if not _is_of_callback(error):
            raise
        raise UsageError(f"A callback of yours failed: {format_user_error(error)}.") from error


def _is_of_callback(error: BaseException) -> bool:
    if isinstance(error, jax.errors.JaxRuntimeError):
        return "callback" in str(error).lower()
    # From the second call of a compiled program on, JAX raises a ValueError with the same text.
    return isinstance(error, ValueError) and str(error).startswith("INTERNAL: CpuCallback error")


def format_user_error(error: BaseException, thing: object = None) -> str:
    """The error in words, with the user's line that raised it or else the line of `thing`."""
    if isinstance(error, jax.errors.JaxRuntimeError) or _is_of_callback(error):
        words = _from_callback(str(error))
    elif isinstance(error, jax.errors.UnexpectedTracerError):
        location = re.search(r" \([^()]*, line \d+\)$", loading.format_user_error(error))
        words = "a number traced by JAX was kept outside of state and results and used again"
        words += location[0] if location else ""
    else:
        words = loading.format_user_error(error)
    return placed(words, thing)


def placed(sentence: str, thing: object) -> str:
    """The sentence with the file and line of `thing`, unless it already names a line."""
    where = "" if ", line " in sentence else location(thing)
    if not where:
        return sentence
    end = "." if sentence.endswith(".") else ""
    return f"{sentence.removesuffix('.')} ({where}){end}"


def location(thing: object) -> str:
    """The file and line of a user's part or of its contents; empty if unknown."""
    waiting, seen = [thing], list[int]()
    while waiting:
        each = waiting.pop(0)
        if each is None or id(each) in seen or len(seen) > 50:
            continue
        seen.append(id(each))
        if where := _source(each):
            return where
        if isinstance(each, functools.partial):
            waiting.append(each.func)
        waiting += [getattr(each, name, None) for name in ("__func__", "__wrapped__")]
        if not isinstance(each, type) and not inspect.isroutine(each):
            waiting += [getattr(each, name, None) for name in _WITHIN]
            waiting.append(type(each))
    return ""


def _source(thing: object) -> str:
    """The file and line of a user's function or class; empty if `thing` is neither."""
    if code := getattr(thing, "__code__", None):
        file, line = code.co_filename, code.co_firstlineno
    elif isinstance(thing, type):
        try:
            file, line = str(inspect.getsourcefile(thing)), inspect.getsourcelines(thing)[1]
        except (OSError, TypeError):  # it has no source file
            return ""
    else:
        return ""
    return "" if loading.is_installed_file(file) else f"{file}, line {line}"


def _from_callback(text: str) -> str:
    """The error and its line from XLA's message, which contains Python's whole traceback."""
    inner = text.rpartition("_wrapped_callback")[2]  # the lines before belong to the caller
    own = [frame for frame in _FRAME.findall(inner) if not loading.is_installed_file(frame[0])]
    words = inner.strip().splitlines()[-1].rstrip(".")
    return f"{words} ({own[-1][0]}, line {own[-1][1]})" if own else words

"""What goes wrong in a part of a user's own, as one sentence with the file and the line."""

from __future__ import annotations

import contextlib
import functools
import inspect
import re
from collections.abc import Iterator
from typing import Any

import jax

from attnscape import loading
from attnscape.errors import UsageError

_FRAME = re.compile(r'File "([^"]+)", line (\d+)')
# Of parts that are made of others: what to look at for a place.
_WITHIN = ("function", "init", "model", "make", "covariates", "weights", "response", "sample")


class BrokenError(UsageError):
    """A sentence on how a contract is broken.

    Attributes:
        check: Name of the check that found it.
    """

    def __init__(self, check: str, sentence: str) -> None:
        super().__init__(sentence)
        self.check: str = check


@contextlib.contextmanager
def telling(check: str, subject: str, thing: Any) -> Iterator[None]:
    """Turns whatever comes out of a user's part into a sentence.

    `sys.exit` and its like count as failures of the part; Ctrl-C does not.

    Args:
        check: What is being checked.
        subject: The part, as a sentence begins with it.
        thing: The part itself; its file and line are said where the error has none of a user's.

    Raises:
        BrokenError: For whatever is raised within.
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
            f"{subject} cannot be compiled: {told(error, thing)}; numbers are traced by JAX, so "
            "that all runs go at once: compute with jax.numpy and jax.lax.",
        ) from error
    except BaseException as error:
        raise BrokenError(check, f"{subject} failed: {told(error, thing)}.") from error


@contextlib.contextmanager
def telling_callbacks() -> Iterator[None]:
    """Turns the failure of a user's callback in a compiled program into a sentence.

    Raises:
        UsageError: If one fails.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "callback" not in str(error).lower():
            raise
        raise UsageError(f"A callback of yours failed: {told(error)}.") from error


def told(error: BaseException, thing: Any = None) -> str:
    """The error in words, with the user's line that it came from or else that of `thing`."""
    if isinstance(error, jax.errors.JaxRuntimeError):
        words = _from_callback(str(error))
    elif isinstance(error, jax.errors.UnexpectedTracerError):
        place = re.search(r" \([^()]*, line \d+\)$", loading.told(error))
        words = "a number traced by JAX was kept outside of state and results and used again"
        words += place[0] if place else ""
    else:
        words = loading.told(error)
    return placed(words, thing)


def placed(sentence: str, thing: Any) -> str:
    """The sentence with the file and line of a thing, unless it has one already."""
    where = "" if ", line " in sentence else place(thing)
    if not where:
        return sentence
    end = "." if sentence.endswith(".") else ""
    return f"{sentence.removesuffix('.')} ({where}){end}"


def place(thing: Any) -> str:
    """The file and line where a user wrote it, or what it is made of; empty if there is none."""
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


def _source(thing: Any) -> str:
    if code := getattr(thing, "__code__", None):
        file, line = code.co_filename, code.co_firstlineno
    elif isinstance(thing, type):
        try:
            file, line = str(inspect.getsourcefile(thing)), inspect.getsourcelines(thing)[1]
        except (OSError, TypeError):  # made by no file
            return ""
    else:
        return ""
    return "" if loading.is_installed_file(file) else f"{file}, line {line}"


def _from_callback(text: str) -> str:
    """What XLA says of a callback that failed is the text of Python's whole traceback."""
    inner = text.rpartition("_wrapped_callback")[2]  # what stands before called the program
    own = [frame for frame in _FRAME.findall(inner) if not loading.is_installed_file(frame[0])]
    words = inner.strip().splitlines()[-1].rstrip(".")
    return f"{words} ({own[-1][0]}, line {own[-1][1]})" if own else words

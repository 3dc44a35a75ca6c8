"""Results of checks, functions that run checks, and comparisons used in them."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Generator, Mapping, Sequence

import jax
import numpy as np
from jaxtyping import PyTree

from attnscape.errors import UsageError
from attnscape.validation._errors import BrokenError, format_user_error
from attnscape.validation._tracing import form, plain

_DTYPES = ("float32", "float64")


@dataclasses.dataclass(frozen=True)
class CheckResult:
    """The result of one check.

    Attributes:
        check: Name of the check.
        ok: Whether the contract is kept.
        sentence: The finding.
        warning: Whether the finding breaks no contract and is likely to be a mistake.

    Examples:
        >>> from attnscape.tasks import Sphere
        >>> from attnscape.validation import check_distribution
        >>> check_distribution(Sphere())[1]
        CheckResult(check='finite', ok=True, sentence='Its numbers are finite.', warning=False)
    """

    check: str
    ok: bool
    sentence: str
    warning: bool = False


def run_check(name: str, check: Callable[[], str]) -> CheckResult:
    """Runs one check: a function that returns a sentence, or raises if the contract is broken."""
    try:
        return CheckResult(name, True, check())
    except UsageError as error:
        return CheckResult(name, False, str(error))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a user's part may raise anything
        return CheckResult(name, False, f"It raises {format_user_error(error)}.")


def run_checks(
    quick: Callable[[str], object],
    passed: Mapping[str, str],
    slow: Sequence[tuple[str, Callable[[], str]]],
) -> list[CheckResult]:
    """Runs all checks of a part.

    Args:
        quick: Runs the checks that training runs too, in a given precision; raises UsageError.
        passed: For each check in `quick`, in their order, the sentence if it passes.
        slow: Further checks with their names. They are run only if `quick` passes.
    """
    for dtype in _DTYPES:
        try:
            with jax.enable_x64(dtype == "float64"):
                quick(dtype)
        except UsageError as error:
            names = list(passed)
            check = error.check if isinstance(error, BrokenError) else names[0]
            names = names[: names.index(check)] if check in passed else names[:1]
            found = [CheckResult(name, True, passed[name]) for name in names]
            return [*found, CheckResult(f"{check}, {dtype}", False, str(error))]
    found = [CheckResult(name, True, sentence) for name, sentence in passed.items()]
    return found + [run_check(name, check) for name, check in slow]


def in_each_dtype(name: str, check: Callable[[str], str]) -> list[tuple[str, Callable[[], str]]]:
    """The same check in single and in double precision."""
    return [(f"{name}, {dtype}", functools.partial(check, dtype)) for dtype in _DTYPES]


def require(kept: object, sentence: str) -> None:
    """Raises UsageError with the sentence unless `kept` is true."""
    if not kept:
        raise UsageError(sentence)


@contextlib.contextmanager
def precision(dtype: str) -> Generator[None]:
    """Context manager: JAX computes in the given precision."""
    with jax.enable_x64(dtype == "float64"):
        yield


def is_same(one: PyTree, other: PyTree) -> bool:
    """Whether two trees have equal structures, shapes, types and values; NaN equals NaN."""
    if form(one) != form(other):
        return False
    leaves = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(plain(a), plain(b), equal_nan=True) for a, b in leaves)


def all_finite(tree: PyTree) -> bool:
    """Whether all numbers of a tree are finite."""
    return all(np.isfinite(plain(a)).all() for a in jax.tree.leaves(tree))


def count_traces(function: Callable[..., PyTree]) -> tuple[Callable[..., PyTree], list[None]]:
    """The function, and a list that grows by one entry whenever JAX traces the function."""
    traces: list[None] = []

    def traced(*arguments: PyTree) -> PyTree:
        traces.append(None)
        return function(*arguments)

    return traced, traces

"""Work in rounds: which runs a round needs is known when those of the round before have ended."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TypeAlias, TypeVar

import xarray as xr

from attnscape.experiments.computation import Computation

AskedT = TypeVar("AskedT")
AnswerT = TypeVar("AnswerT")
FoundT = TypeVar("FoundT")
Rounds: TypeAlias = Generator[Mapping[str, Computation], Mapping[str, xr.Dataset], FoundT]


def driven(
    rounds: Generator[AskedT, AnswerT, FoundT], answer: Callable[[AskedT], AnswerT]
) -> FoundT:
    """What a generator returns whose every question is answered.

    Args:
        rounds: Yields what it needs, and is sent it.
        answer: Returns what was asked for.

    Examples:
        >>> from attnscape.experiments.rounds import driven
        >>> def greater_than_ten(number):
        ...     while number <= 10:
        ...         number = yield number
        ...     return number
        >>> driven(greater_than_ten(3), lambda number: 2 * number)
        12
    """
    try:
        asked = next(rounds)
        while True:
            asked = rounds.send(answer(asked))
    except StopIteration as end:
        return end.value


def together(all_rounds: Sequence[Rounds[FoundT]]) -> Rounds[list[FoundT]]:
    """Several computations as one, whose rounds have the runs that each needs next."""
    found, results = dict[int, FoundT](), dict[int, Mapping[str, xr.Dataset]]()
    while True:
        due = dict[int, Mapping[str, Computation]]()
        for place, rounds in enumerate(all_rounds):
            if place not in found:
                try:
                    due[place] = rounds.send(results[place]) if results else next(rounds)
                except StopIteration as end:
                    found[place] = end.value
        if not due:
            return [found[place] for place in range(len(all_rounds))]
        made = yield {
            f"{place} {key}": run for place, runs in due.items() for key, run in runs.items()
        }
        results = {
            place: {key: made[f"{place} {key}"] for key in runs} for place, runs in due.items()
        }

"""Searches for learning rates that a plan or an artifact asks for, before any run uses them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import xarray as xr

from attnscape.errors import UsageError
from attnscape.experiments.artifact import Artifact
from attnscape.experiments.computation import Computation
from attnscape.experiments.grid_search import GridSearch
from attnscape.experiments.rounds import Rounds
from attnscape.experiments.setting import Plan, Setting
from attnscape.experiments.tuning import Search

FoundT = TypeVar("FoundT")
KeyT = TypeVar("KeyT", bound=Hashable)


def with_searches(
    plan: Plan,
    artifact: Artifact[Any],
    run_all: Callable[[Mapping[str, Computation]], Mapping[str, xr.Dataset]],
    log: Callable[[str], None],
    ahead: Callable[[Iterable[Computation]], object] | None = None,
) -> Plan:
    """The plan with the learning rates that an artifact needs.

    Rates for the artifact's settings are searched for if the plan says so, and those of
    `Artifact.searches` in any case.

    Args:
        plan: The plan; rates found earlier are kept.
        artifact: The artifact.
        run_all: Runs experiments, by key, or loads their results.
        log: Called with a line about the rates found.
        ahead: As in `side_by_side`.
    """
    searches = {
        setting.name: GridSearch(setting.experiment(plan)) for setting in _searched(plan, artifact)
    }
    searches = {**artifact.searches(plan), **searches}
    due = {key: each.rounds() for key, each in searches.items() if key not in plan.searches}
    for key, found in side_by_side(due, run_all, ahead):
        if isinstance(found, UsageError):
            raise found
        plan = _with(plan, key, found, log)
    return plan


def side_by_side(
    rounds: Mapping[KeyT, Rounds[FoundT]],
    run_all: Callable[[Mapping[str, Computation]], Mapping[str, xr.Dataset]],
    ahead: Callable[[Iterable[Computation]], object] | None = None,
    wanted: Callable[[KeyT], bool] = lambda key: True,
) -> Iterator[tuple[KeyT, FoundT | UsageError]]:
    """Work in rounds, several at once: what each has found, or why it failed, as they end.

    Args:
        rounds: By key, what yields experiments and is sent their results.
        run_all: Runs experiments, by key, or loads their results.
        ahead: Called with experiments that `run_all` will be asked for, and may begin with them; by
            default nobody does, and each is ended before the next begins.
        wanted: Whether a key is still of use.
    """
    answers: dict[KeyT, Callable[[], Any]] = dict.fromkeys(rounds, lambda: None)
    while answers:
        key = next(iter(answers))
        answer = answers.pop(key)
        if not wanted(key):
            continue
        try:
            due = rounds[key].send(answer())
        except StopIteration as end:
            yield key, end.value
        except UsageError as error:
            yield key, error
        else:
            answer = functools.partial(run_all, due)
            if ahead is None:
                answers = {key: answer, **answers}
            else:
                ahead(due.values())
                answers[key] = answer  # behind those whose rounds began before


def are_due(plan: Plan, artifact: Artifact[Any]) -> bool:
    """Whether the plan lacks rates that `with_searches` finds, so the runs are not known yet."""
    settings = {setting.name for setting in _searched(plan, artifact)}
    return not settings.union(artifact.searches(plan)) <= set(plan.searches)


def _searched(plan: Plan, artifact: Artifact[Any]) -> tuple[Setting, ...]:
    """The settings whose rates are searched for because the plan says so."""
    return artifact.settings if plan.tune and artifact.takes_rates else ()


def _with(plan: Plan, key: str, found: Search, log: Callable[[str], None]) -> Plan:
    rates = ", ".join(f"{name} {rate:g}" for name, rate in found.rates.items())
    log(" ".join(filter(None, [f"{key}: found {rates}.", found.warning()])))
    return dataclasses.replace(plan, searches={**plan.searches, key: found})

"""Searches for learning rates that a plan or an artifact asks for, before any run uses them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import xarray as xr

from attnscape.experiments.artifact import Artifact
from attnscape.experiments.computation import Computation
from attnscape.experiments.grid_search import GridSearch
from attnscape.experiments.setting import Plan, Setting
from attnscape.experiments.tuning import Search


def with_searches(
    plan: Plan,
    artifact: Artifact[Any],
    run_all: Callable[[Mapping[str, Computation]], Mapping[str, xr.Dataset]],
    log: Callable[[str], None],
) -> Plan:
    """The plan with the learning rates that an artifact needs.

    Rates for the artifact's settings are searched for if the plan says so, and those of
    `Artifact.searches` in any case.

    Args:
        plan: The plan; rates found earlier are kept.
        artifact: The artifact.
        run_all: Runs experiments, by key, or loads their results.
        log: Called with a line about the rates found.
    """
    for setting in _searched(plan, artifact):
        if setting.name not in plan.searches:
            due = GridSearch(setting.experiment(plan))
            plan = _with(plan, setting.name, due.run(run_all), log)
    for key, due in artifact.searches(plan).items():
        if key not in plan.searches:
            plan = _with(plan, key, due.run(run_all), log)
    return plan


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

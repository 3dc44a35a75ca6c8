"""Searches for learning rates if a plan asks for it, before any run uses them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import xarray as xr

from attnscape.experiments.experiment import Experiment
from attnscape.experiments.setting import Plan, Setting
from attnscape.experiments.tuning import search


def with_searches(
    plan: Plan,
    settings: Sequence[Setting],
    run: Callable[[Experiment], xr.Dataset],
    log: Callable[[str], None],
) -> Plan:
    """The plan with the learning rates found for these settings; unchanged if `tune` is off.

    Args:
        plan: The plan; rates found earlier are kept.
        settings: The settings to search rates for.
        run: Runs an experiment, or loads its result.
        log: Called with a line about the rates found.
    """
    for setting in settings:
        if plan.tune and setting.name not in plan.searches:
            found = search(setting.experiment(plan), run)
            plan = dataclasses.replace(plan, searches={**plan.searches, setting.name: found})
            rates = ", ".join(f"{name} {rate:g}" for name, rate in found.rates.items())
            log(" ".join(filter(None, [f"{setting.name}: found {rates}.", found.warning()])))
    return plan

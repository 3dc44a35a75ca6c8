"""Learning rates searched for where a plan asks for it, before anything is run with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import xarray as xr

from attnscape.experiment import Experiment
from attnscape.paper.settings import Plan, Setting
from attnscape.tuning import search


def with_searches(
    plan: Plan,
    settings: Sequence[Setting],
    run: Callable[[Experiment], xr.Dataset],
    say: Callable[[str], None],
) -> Plan:
    """The plan with the learning rates of these settings found; as it is if it is not to be tuned.

    Args:
        plan: What was found in it before is kept.
        settings: What to search for.
        run: Runs an experiment, or finds its result.
        say: Called with a line for what was found.
    """
    for setting in settings:
        if plan.tune and setting.name not in plan.searches:
            found = search(setting.experiment(plan), run)
            plan = dataclasses.replace(plan, searches={**plan.searches, setting.name: found})
            rates = ", ".join(f"{name} {rate:g}" for name, rate in found.rates.items())
            say(" ".join(filter(None, [f"{setting.name}: found {rates}.", found.warning()])))
    return plan

"""The linear model's side of comparisons with real networks, tuned by the same rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from attnscape.experiments.computation import Computation
from attnscape.experiments.experiment import Experiment
from attnscape.experiments.network_tuning import RateSearch
from attnscape.experiments.setting import Plan, Setting
from attnscape.measures import EvaluationLoss, Measure, at, every
from attnscape.optimizers import Factory

_DECIDING = 20  # losses over the last tenth of the steps
LOSS = EvaluationLoss(every(50))


def experiment(
    setting: Setting,
    plan: Plan,
    optimizers: Mapping[str, Factory],
    rates: Mapping[str, Sequence[float]],
    seeds: Sequence[int],
    *,
    steps: int | None = None,
    measures: tuple[Measure, ...] = (LOSS,),
) -> Experiment:
    """Runs of a setting with other optimizers, on the plan's evaluation batches."""
    planned = setting.experiment(plan)
    return setting.experiment(
        plan,
        name=f"{planned.name}-beside-networks",
        optimizers=dict(optimizers),
        learning_rates={name: tuple(rates[name]) for name in optimizers},
        seeds=tuple(seeds),
        steps=min(planned.steps, steps or planned.steps),
        measures=measures,
    )


def rate_search(
    setting: Setting, plan: Plan, optimizers: Mapping[str, Factory], *, steps: int | None = None
) -> RateSearch:
    """The search for learning rates on a setting, by the rule for networks."""
    planned = min(setting.experiment(plan).steps, steps or setting.experiment(plan).steps)
    back = np.arange(_DECIDING) * planned / (10 * _DECIDING)
    loss = EvaluationLoss(at(*sorted({int(step) for step in np.rint(planned - back)})))

    def trials(
        optimizers: Mapping[str, Factory],
        rates: Mapping[str, Sequence[float]],
        seeds: Sequence[int],
    ) -> Mapping[str, Computation]:
        trial = experiment(setting, plan, optimizers, rates, seeds, steps=planned, measures=(loss,))
        return {trial.name: trial}

    def only(results: Sequence[xr.Dataset]) -> xr.Dataset:
        (result,) = results
        return result

    return RateSearch(optimizers, trials, only)

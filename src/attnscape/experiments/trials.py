"""A trial of a search for learning rates: an experiment with seeds and steps of the search."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from attnscape.experiments.experiment import Experiment
from attnscape.measures import EvaluationLoss, at

GRID = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
TUNING_SEEDS = (1000, 1001, 1002, 1003, 1004, 1005)  # no results are reported on these
_EVALUATIONS = 20  # losses in the last tenth of the steps; the final loss is their median


def trial(
    experiment: Experiment,
    rates: Mapping[str, Sequence[float]] | None = None,
    seeds: tuple[int, ...] = TUNING_SEEDS,
) -> Experiment:
    """A trial of `search`: an experiment's optimizers at several rates.

    Args:
        experiment: The experiment to tune; its learning rates, seeds and measures are not used.
        rates: The rates of the optimizers to try; by default those of the first trial.
        seeds: The tuning seeds.
    """
    rates = dict.fromkeys(experiment.optimizers, GRID) if rates is None else rates
    return dataclasses.replace(
        experiment,
        name=f"{experiment.name}-tuning",
        optimizers={name: experiment.optimizers[name] for name in rates},
        learning_rates=dict(rates),
        seeds=seeds,
        measures=(EvaluationLoss(at(*evaluated_steps(experiment.steps))),),
    )


def evaluated_steps(steps: int) -> tuple[int, ...]:
    """The steps of the losses whose median is the final loss: 20, or fewer in short runs."""
    back = np.arange(_EVALUATIONS) * steps / (10 * _EVALUATIONS)
    return tuple(sorted({int(step) for step in np.rint(steps - back)}))

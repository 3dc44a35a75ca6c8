"""A rough estimate of an experiment's duration before its first step, by `training.sizes`.

After some steps, their measured speed is a better estimate.
"""

from __future__ import annotations

from attnscape.experiments.experiment import Experiment
from attnscape.training import sizes

_LONG = 60.0  # seconds; a longer experiment is announced


def announced(experiment: object) -> str:
    """The announcement of an experiment's duration; empty if it is short or unknown."""
    if not isinstance(experiment, Experiment):
        return ""
    seconds = sizes.estimate(
        experiment.task,
        experiment.model,
        runs=sum(len(set(rates)) for rates in experiment.learning_rates.values()),
        seeds=experiment.seeds,
        steps=experiment.steps,
        batch=experiment.batch,
        precision=experiment.precision,
    ).seconds
    return f", roughly {sizes.in_words(seconds)} without measurements" if seconds > _LONG else ""

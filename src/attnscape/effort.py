"""How long an experiment takes, said before it begins; roughly, as `sizes` estimates it.

The speed of the first steps tells it better, where there are first steps.
"""

from __future__ import annotations

from attnscape import sizes
from attnscape.experiment import Experiment

_LONG = 60.0  # seconds that are announced


def announced(experiment: object) -> str:
    """What to say before it begins; empty where it is short, or not known."""
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

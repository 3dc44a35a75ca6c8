"""A rough estimate of an experiment's duration before its first step, by `training.sizes`.

After some steps, their measured speed is a better estimate.
"""

from __future__ import annotations

from collections.abc import Sequence

from attnscape.experiments.experiment import Experiment
from attnscape.training import sizes

_LONG = 60.0  # seconds; a longer experiment is announced


def announced(experiment: object, batches: Sequence[int] = ()) -> str:
    """The announcement of an experiment's duration; empty if it is short or unknown.

    Args:
        experiment: An experiment, or anything else, which is not estimated.
        batches: Batch sizes that it is made with, in place of its own.
    """
    if not isinstance(experiment, Experiment):
        return ""
    seconds = estimated(experiment, batches).seconds
    return f", roughly {sizes.in_words(seconds)} without measurements" if seconds > _LONG else ""


def estimated(experiment: Experiment, batches: Sequence[int] = ()) -> sizes.Sizes:
    """Memory and time of an experiment, at all of these batch sizes if any are given."""
    seeds = experiment.evaluation_seeds
    return sizes.estimate(
        experiment.task,
        experiment.model,
        runs=sum(len(set(rates)) for rates in experiment.learning_rates.values()),
        seeds=experiment.seeds,
        steps=experiment.steps,
        batch=batches or experiment.batch,
        evaluation_batch=experiment.evaluation_batch,
        evaluations=len(seeds) if isinstance(seeds, Sequence) else 1,
        measures=experiment.measures,
        precision=experiment.precision,
    )

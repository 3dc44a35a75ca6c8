"""Roughly how long an experiment takes is said before it begins."""

import dataclasses
import functools

from attnscape import Experiment, LinearTransformer, RegressionTask
from attnscape.experiments import effort
from attnscape.optimizers import sgdm

EXPERIMENT = Experiment(
    "e",
    RegressionTask(),
    functools.partial(LinearTransformer.init, layers=3, dim=5),
    {"sgdm": sgdm},
    {"sgdm": (0.1, 0.2)},
    (0, 1),
    100,
)


def test_only_what_is_long_is_announced():
    assert effort.announced(EXPERIMENT) == ""
    long = dataclasses.replace(EXPERIMENT, task=RegressionTask(context=10**7))
    assert " without measurements" in effort.announced(long)


def test_what_is_no_experiment_is_not_guessed():
    assert effort.announced(object()) == ""

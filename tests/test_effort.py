"""Roughly how long an experiment takes is said before it begins."""

import dataclasses
import functools
import os

import pytest

from attnscape import Experiment, LinearTransformer, RegressionTask, effort, native
from attnscape.optimizers import sgdm
from support import needs_kernels

EXPERIMENT = Experiment(
    "e",
    RegressionTask(),
    functools.partial(LinearTransformer.init, layers=3, dim=5),
    {"sgdm": sgdm},
    {"sgdm": (0.1, 0.2)},
    (0, 1),
    100,
)


@needs_kernels
@pytest.mark.parametrize("layers", [1, 2, 3, 8])
@pytest.mark.parametrize("dim", [5, 20, 100])
def test_gradients_are_counted_as_the_kernel_counts_them(layers, dim):
    """At 1e10 operations a second and core, without the drawing of prompts."""
    model = functools.partial(LinearTransformer.init, layers=layers, dim=dim)
    more = dataclasses.replace(EXPERIMENT, model=model, task=RegressionTask(dim=dim))
    fewer = dataclasses.replace(more, learning_rates={"sgdm": (0.1,)})
    of_runs = effort.seconds(more) - effort.seconds(fewer)
    counted = native.gradient_operations("block", layers, dim) * 1000 * 2 * 100
    assert of_runs * 1e10 * os.cpu_count() == pytest.approx(counted, rel=0.2)


def test_only_what_is_long_is_announced():
    assert effort.announced(EXPERIMENT) == ""
    long = dataclasses.replace(EXPERIMENT, task=RegressionTask(context=10**8))
    assert " without measurements" in effort.announced(long)


def test_what_has_another_model_is_not_guessed():
    assert effort.seconds(dataclasses.replace(EXPERIMENT, model=LinearTransformer.init)) is None

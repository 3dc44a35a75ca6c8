"""A run of a moment, for tests of what keeps and computes runs; importing it opens no device."""

import functools

from attnscape import LinearTransformer, RegressionTask
from attnscape.experiments.experiment import Experiment
from attnscape.optimizers import sgdm

TINY = Experiment(
    "tiny",
    RegressionTask(dim=2, context=3),
    functools.partial(LinearTransformer.init, layers=1, dim=2),
    {"sgdm": sgdm},
    {"sgdm": (0.1,)},
    seeds=(0, 1),
    steps=4,
    batch=8,
    evaluation_batch=8,
)

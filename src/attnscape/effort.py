"""How long an experiment takes, before it begins: by a count of its operations, within some times.

What is counted is the drawing of prompts and the gradients of linear attention in its reduced form;
measurements come on top. The speed of the first steps tells it better, where there are first steps.
"""

from __future__ import annotations

import functools
import os

from attnscape.experiment import Experiment
from attnscape.models import LinearTransformer
from attnscape.report.numbers import duration
from attnscape.tasks import RegressionTask

_LONG = 60.0  # seconds that are announced
# Of one core, as measured for d from 5 to 100 on machines of 2020 and later.
_OPERATIONS_A_SECOND = 1e10
_NUMBERS_A_SECOND = 2e8  # standard normals drawn and summed into moments


def announced(experiment: object) -> str:
    """What to say before it begins; empty where it is short, or not known."""
    expected = seconds(experiment)
    if expected is None or expected < _LONG:
        return ""
    return f", roughly {duration(expected)} without measurements"


def seconds(experiment: object) -> float | None:
    """Roughly, of the training; None for what is no `Experiment`, and for users' own parts."""
    if not isinstance(experiment, Experiment):
        return None
    model, task = experiment.model, experiment.task
    if not isinstance(model, functools.partial) or not isinstance(task, RegressionTask):
        return None
    if model.func != LinearTransformer.init:
        return None
    layers, d = model.keywords.get("layers", 3), task.dim
    # Within a fifth of the kernel's own count.
    gradient = (max(0, 28 * layers - 46) * d + 11 * layers) * d**2
    numbers = (task.context + 1) * d
    prompts = experiment.batch * experiment.steps * len(experiment.seeds)
    runs = experiment.run_steps / max(1, experiment.steps * len(experiment.seeds))
    of_prompt = runs * gradient / _OPERATIONS_A_SECOND
    of_prompt += numbers / _NUMBERS_A_SECOND + numbers * d / _OPERATIONS_A_SECOND
    return prompts * of_prompt / (os.cpu_count() or 1)

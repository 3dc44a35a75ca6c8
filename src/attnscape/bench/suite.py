"""The settings on which optimizers are compared, and the measures of their runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

from attnscape.experiments.setting import Setting
from attnscape.measures import Curvature, DirectionalSmoothness, EvaluationLoss, Measure, every
from attnscape.paper.settings import DEPTHS, SETTING_1, SETTING_2, SETTING_3, SPHERE
from attnscape.paper.variants import SOFTMAX
from attnscape.tasks import RegressionTask

BASELINES = ("sgdm", "adam")
DEFAULT = ("setting-1", "setting-2", "setting-3")
DIM_20 = dataclasses.replace(
    SETTING_1, name="dim-20", title="d = 20, n = 60", task=RegressionTask(dim=20, context=60)
)
_ALL = (
    SETTING_1,
    SETTING_2,
    SETTING_3,
    SPHERE,
    *(depth for depth in DEPTHS if depth.layers in (2, 8)),  # L = 3 is Setting 1
    DIM_20,
    SOFTMAX,
)
SUITE: Mapping[str, Setting] = MappingProxyType({setting.name: setting for setting in _ALL})
# The loss is measured often, since it determines the number of steps to a target.
LOSS = EvaluationLoss(every(10))


def measures(setting: Setting) -> tuple[Measure, ...]:
    """The measures of report runs: loss, smoothness, and curvature if it is affordable."""
    # With 400 parameters per matrix the Hessian dominates the cost; softmax has no dense kernel.
    if setting.name in (DIM_20.name, SOFTMAX.name):
        return (LOSS, DirectionalSmoothness(every(50)))
    return (LOSS, Curvature(every(250)), DirectionalSmoothness(every(50)))

"""The settings on which optimizers are compared, also a user's own, and their runs' measures."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax

from attnscape import objective, spec
from attnscape.experiments.setting import Plan, Setting, rates_of
from attnscape.identity import Stage, of_model, of_task
from attnscape.measures import Curvature, DirectionalSmoothness, EvaluationLoss, Measure, every
from attnscape.models import ModelFactory
from attnscape.paper.settings import DEPTHS, SETTING_1, SETTING_2, SETTING_3, SPHERE
from attnscape.paper.variants import SOFTMAX
from attnscape.tasks import RegressionTask, Task
from attnscape.validation import check_parts

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

# Curvature is for report runs of models with a dense kernel and few enough parameters.
_SMOOTHNESS = DirectionalSmoothness(every(50))
_ALL_MEASURES = (LOSS, Curvature(every(250)), _SMOOTHNESS)
_MOST_PARAMETERS = 200


@dataclasses.dataclass(frozen=True)
class OwnSetting(Setting):
    """A setting of a user's task or model; all else is that of Setting 1.

    Attributes:
        made: The user's model; None for linear attention.
    """

    made: ModelFactory | None = None

    def model(self, plan: Plan) -> Any:
        return super().model(plan) if self.made is None else self.made


def own_setting(
    label: str, title: str, task: Task | None = None, model: ModelFactory | None = None
) -> OwnSetting:
    """The setting of a user's task or model.

    Its name ends in a digest of what task and model compute, so a changed one is another setting,
    whose results are not mixed with those from before.

    Args:
        label: The beginning of its name: letters, digits and any of `_ .-`.
        title: Title in figures.
        task: The task; that of Setting 1 by default.
        model: Function from a key to a model; three layers of linear attention by default.

    Raises:
        UsageError: If task or model break their contract, or do not fit together.

    Examples:
        >>> from attnscape import RegressionTask
        >>> from attnscape.bench import own_setting
        >>> one, same, other = (
        ...     own_setting("mine", "", RegressionTask(dim=2, noise=noise)) for noise in (0, 0.0, 1)
        ... )
        >>> one.name == same.name, one.name == other.name
        (True, False)
    """
    task = SETTING_1.task if task is None else task
    setting = OwnSetting(label, title, task, rates_of(1.0, 1.0), published=False, made=model)  # pyright: ignore[reportArgumentType]
    make, clip = setting.model(Plan()), setting.clip["code"]
    check_parts(task, make, (), clip=clip, batch=setting.batch, dtype="float32")
    stage = Stage(make, task, setting.batch, 1000, clip, "float32", double=True)
    content = {"task": of_task(stage).content, "model": of_model(stage).content}
    count = sum(leaf.size for leaf in jax.tree.leaves(stage.parameters))
    curved = objective.sees_moments_only(stage.model) and count <= _MOST_PARAMETERS
    return dataclasses.replace(
        setting,
        name=f"{label}-{spec.digest(content)[:8]}",
        measures=_ALL_MEASURES if curved else (LOSS, _SMOOTHNESS),
    )


def measures(setting: Setting) -> tuple[Measure, ...]:
    """The measures of report runs: loss, smoothness, and curvature if it is affordable."""
    if isinstance(setting, OwnSetting):
        return setting.measures
    # With 400 parameters per matrix the Hessian dominates the cost; softmax has no dense kernel.
    if setting.name in (DIM_20.name, SOFTMAX.name):
        return (LOSS, _SMOOTHNESS)
    return _ALL_MEASURES

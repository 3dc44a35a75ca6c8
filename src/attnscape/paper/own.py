"""Artifacts with user's parts: a task or a model that replaces the settings' tasks or models.

The titles of panels say what was run, equal experiments are run once, and the paper's settings are
not mentioned.
"""

from __future__ import annotations

import dataclasses
import re
import textwrap
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from attnscape.experiments.artifact import AnalysisT, Artifact
from attnscape.experiments.setting import Plan, Setting
from attnscape.models import (
    AttentionTransformer,
    FactoredLinearTransformer,
    LinearTransformer,
    WithMLP,
)
from attnscape.paper.condition_curves import ConditionCurves
from attnscape.paper.landscape import Landscape
from attnscape.paper.loss_curves import LossCurves
from attnscape.paper.noise import NoiseHistograms
from attnscape.paper.settings import SETTING_1
from attnscape.paper.smoothness import SmoothnessCurves, SmoothnessScatter
from attnscape.tasks import Gaussian, OneHot, Radial, RegressionTask, ReluNetwork, Sphere, Task

_TITLES: Mapping[type[Artifact[Any]], str] = MappingProxyType(
    {
        LossCurves: "Loss of SGDM and Adam",
        NoiseHistograms: "Gradient noise at initialisation",
        ConditionCurves: "Robust condition number along training",
        SmoothnessCurves: "Directional smoothness along training",
        SmoothnessScatter: "Directional smoothness against the gradient norm",
        Landscape: "Loss, gradient noise, condition number and directional smoothness",
    }
)
_MODELS: Mapping[Any, str] = MappingProxyType(
    {
        LinearTransformer: "linear attention",
        AttentionTransformer: "softmax attention",
        FactoredLinearTransformer: "separate query and key matrices",
        WithMLP: "MLP in front",
    }
)
_LINE = 44  # characters in a line of a panel's title


def with_own_parts(artifact: Artifact[AnalysisT], plan: Plan) -> Artifact[AnalysisT]:
    """The artifact with the plan's parts in its settings, without repeated experiments.

    Raises:
        UsageError: If the experiments cannot be planned.
    """
    settings = [_own(setting, plan) for setting in artifact.settings]
    once: dict[frozenset[str], Setting] = {}
    for setting in settings:
        alone = dataclasses.replace(artifact, settings=(setting,))
        once.setdefault(run_ids(alone, plan), setting)
    return dataclasses.replace(
        artifact,
        title=_TITLES.get(type(artifact), artifact.title.partition(" (")[0]),
        statement="",
        remark="",
        settings=_titled(list(once.values()), plan),
    )


def run_ids(artifact: Artifact[Any], plan: Plan) -> frozenset[str]:
    """The run ids of an artifact's experiments.

    Raises:
        UsageError: If the experiments cannot be planned.
    """
    return frozenset(experiment.run_id for experiment in artifact.experiments(plan).values())


def _own(setting: Setting, plan: Plan) -> Setting:
    """The setting with the user's parts and with a name that says what remains of the setting."""
    if plan.tune:  # the published rates are not used
        setting = dataclasses.replace(setting, rates=SETTING_1.rates)
    usual = set(_facts(SETTING_1, plan))
    left = [re.sub(r"[^\w .=+-]", "", fact) for fact in _facts(setting, plan) if fact not in usual]
    return dataclasses.replace(
        setting,
        name=" ".join(["own", *left]),
        task=plan.task or setting.task,
        layers=setting.layers if plan.model is None else None,
    )


def _titled(settings: list[Setting], plan: Plan) -> tuple[Setting, ...]:
    """The settings with titles that name the user's parts and the differences between settings."""
    own = re.sub(r"(?:\S*/)?([^\s/]+):(\S+)", r"\2 of \1", plan.own)
    facts = [_facts(setting, plan) for setting in settings]
    shared = set(facts[0]).intersection(*facts)
    return tuple(
        dataclasses.replace(setting, title=_folded([own, *(f for f in mine if f not in shared)]))
        for setting, mine in zip(settings, facts, strict=True)
    )


def _folded(facts: Iterable[str]) -> str:
    whole = (fact.replace(" ", "\N{NO-BREAK SPACE}") for fact in facts)
    lines = textwrap.wrap(", ".join(whole), _LINE, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines).replace("\N{NO-BREAK SPACE}", " ")


def _facts(setting: Setting, plan: Plan) -> list[str]:
    """The facts about a setting that remain with the user's parts, in words."""
    facts = []
    if plan.task is None:
        facts.append(_task_in_words(setting.task))
    if plan.model is None:
        kind = getattr(setting.init, "__self__", None)
        form, scale = (getattr(setting, name)[plan.recipe] for name in ("form", "scale"))
        facts += [_MODELS.get(kind, repr(kind)), f"L = {setting.layers}"]
        facts += [f"{form} form", f"std {scale:g}"]
    rates = setting.rates[plan.recipe_of("rates")]
    facts += [f"{name} at {rate:g}" for name, rate in rates.items()]
    facts += [f"clip {setting.clip[plan.recipe_of('clip')]:g}", f"batch {setting.batch}"]
    return facts


def _task_in_words(task: Task) -> str:
    assert isinstance(task, RegressionTask)  # as all of the paper
    match task.covariates:
        case Gaussian(covariance=None):
            distribution = "N(0, I)"
        case Sphere():
            distribution = "spherical"
        case OneHot():
            distribution = "one-hot"
        case Radial():
            distribution = "heavy-tailed"
        case _:
            distribution = repr(task.covariates)
    size = f"d = {task.dim}, n = {task.context}"
    nonlinear = " nonlinear" if isinstance(task.response, ReluNetwork) else ""
    return f"{size} {distribution}{nonlinear}"

"""The settings of the paper (PAPER.md, sections 2 and 3), with its learning rates."""

from __future__ import annotations

import dataclasses
from types import MappingProxyType

from scipy import stats

from attnscape.experiments.setting import Setting, rates_of
from attnscape.tasks import Radial, RegressionTask, Sphere

_HEAVY = Radial(stats.gamma(0.1, scale=10))
_MAIN_SEEDS = 24  # four times the paper's; they take only seconds here

SETTING_1 = Setting(
    "setting-1",
    "Setting 1: n = 20, N(0, I)",
    RegressionTask(context=20),
    # Adam's rates of Settings 1 and 2 are swapped in print.
    rates_of(0.02, 0.02, paper=(0.02, 0.005)),
    found=MappingProxyType({"sgdm": 0.2, "adam": 0.01}),
    seeds=_MAIN_SEEDS,
)
SETTING_2 = Setting(
    "setting-2",
    "Setting 2: n = 5, N(0, I)",
    RegressionTask(context=5),
    rates_of(0.01, 0.005, paper=(0.01, 0.02)),
    found=MappingProxyType({"sgdm": 0.02, "adam": 0.01}),
    seeds=_MAIN_SEEDS,
)
SETTING_3 = Setting(
    "setting-3",
    "Setting 3: n = 20, heavy-tailed",
    RegressionTask(context=20, covariates=_HEAVY),
    rates_of(0.02, 0.02),
    found=MappingProxyType({"sgdm": 0.05, "adam": 0.01}),
    seeds=_MAIN_SEEDS,
)
SPHERE = Setting(
    "sphere",
    "Spherical covariates",
    RegressionTask(context=20, covariates=Sphere()),
    rates_of(5.0, 0.1),
    clip=MappingProxyType({"code": 0.1, "paper": 1.0}),
)
HEAVY_TAILED = dataclasses.replace(SETTING_3, title="Heavy-tailed covariates")


def _depth(layers: int, sgdm: float, adam: float) -> Setting:
    return Setting(
        f"depth-{layers}",
        f"L = {layers}",
        RegressionTask(context=20),
        rates_of(sgdm, adam),
        layers=layers,
    )


DEPTHS = (
    _depth(2, 0.1, 0.1),
    _depth(4, 0.05, 0.05),
    _depth(6, 0.05, 0.05),
    _depth(8, 0.05, 0.02),
)
MAIN = (SETTING_1, SETTING_2, SETTING_3)

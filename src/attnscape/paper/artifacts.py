"""All artifacts, the most important first."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from attnscape.experiments.artifact import Artifact
from attnscape.paper.ablation import ABLATION
from attnscape.paper.condition_curves import FIG11, FIG14
from attnscape.paper.condition_table import TAB_CONDITION
from attnscape.paper.exact import TAB_CONDITION_EXACT
from attnscape.paper.landscape import FIG15
from attnscape.paper.loss_curves import (
    FIG2,
    FIG2_SEARCHED,
    FIG7,
    FIG8_LEFT,
    FIG8_RIGHT,
    FIG9,
    FIG12,
)
from attnscape.paper.noise import FIG3, FIG10, FIG13
from attnscape.paper.smoothness import FIG5, FIG16
from attnscape.paper.tables import TABLE1, TABLE2

_ALL = (
    FIG2,
    FIG2_SEARCHED,
    FIG3,
    TAB_CONDITION,
    TAB_CONDITION_EXACT,
    FIG5,
    FIG16,
    FIG7,
    FIG8_LEFT,
    FIG8_RIGHT,
    FIG9,
    FIG10,
    FIG11,
    FIG12,
    FIG13,
    FIG14,
    FIG15,
    TABLE1,
    TABLE2,
    ABLATION,
)
ARTIFACTS: Mapping[str, Artifact[Any]] = MappingProxyType({each.name: each for each in _ALL})

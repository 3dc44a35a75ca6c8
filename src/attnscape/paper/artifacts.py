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
from attnscape.paper.extended.along_training import ALONG_TRAINING
from attnscape.paper.extended.attention_scores import ATTENTION_SCORES
from attnscape.paper.extended.batch_size import BATCH_SIZE
from attnscape.paper.extended.edge_of_stability import EDGE_OF_STABILITY
from attnscape.paper.extended.momentum import WITHOUT_MOMENTUM
from attnscape.paper.extended.plateaus import PLATEAUS
from attnscape.paper.extended.population import POPULATION
from attnscape.paper.extended.rotation import ROTATION
from attnscape.paper.extended.schedules import RANKING
from attnscape.paper.extended.second_order import SECOND_ORDER
from attnscape.paper.extended.softmax_heads import SOFTMAX_HEADS
from attnscape.paper.extended.spectral import FIG16_SPECTRAL
from attnscape.paper.extended.speed import SMOOTHNESS_SPEED
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
from attnscape.paper.networks.curvature import TAB_CONDITION_LEFT
from attnscape.paper.networks.losses import FIG1, FIG2_LEFT, FULL_BATCH
from attnscape.paper.networks.momentum import MOMENTUM
from attnscape.paper.networks.noise import FIG3_LEFT, FIG6
from attnscape.paper.networks.side_by_side import SIDE_BY_SIDE
from attnscape.paper.networks.smoothness import FIG16_LEFT
from attnscape.paper.networks.transfer import TRANSFER
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
    WITHOUT_MOMENTUM,
    FIG16_SPECTRAL,
    SMOOTHNESS_SPEED,
    ROTATION,
    BATCH_SIZE,
    EDGE_OF_STABILITY,
    SOFTMAX_HEADS,
    ATTENTION_SCORES,
    PLATEAUS,
    POPULATION,
    SECOND_ORDER,
    ALONG_TRAINING,
    RANKING,
    SIDE_BY_SIDE,
    TRANSFER,
    FIG1,
    FIG2_LEFT,
    FIG3_LEFT,
    FIG6,
    TAB_CONDITION_LEFT,
    FIG16_LEFT,
    MOMENTUM,
    FULL_BATCH,
)
ARTIFACTS: Mapping[str, Artifact[Any]] = MappingProxyType({each.name: each for each in _ALL})

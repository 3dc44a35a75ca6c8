"""All artifacts, most wanted first."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from attnscape.paper.artifact import Artifact
from attnscape.paper.loss_curves import FIG2, FIG9, FIG12

ARTIFACTS: Mapping[str, Artifact] = MappingProxyType(
    {artifact.name: artifact for artifact in (FIG2, FIG9, FIG12)}
)

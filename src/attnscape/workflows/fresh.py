"""Tells whether an artifact in a folder is up to date, so that it need not be drawn again."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import attnscape
from attnscape import spec
from attnscape.experiments.artifact import Artifact
from attnscape.experiments.setting import Plan
from attnscape.files import sha256
from attnscape.report.manifest import Manifest


def origin(artifact: Artifact[Any], plan: Plan) -> str:
    """SHA-256 of everything an artifact is made from: code, plan, identities of the runs."""
    run_ids = {key: each.run_id for key, each in artifact.experiments(plan).items()}
    made_from: dict[str, Any] = {"name": artifact.name, "plan": plan.as_json(), "runs": run_ids}
    return spec.digest({**spec.describe(made_from), "code": code()})


def is_fresh(artifact: Artifact[Any], plan: Plan, out: Path, manifest: Manifest | None) -> bool:
    """Whether the artifact was made in `out` by this code and plan, and all files are unchanged.

    False for artifacts outside the catalog: a manifest does not hold all that determines them.
    """
    from attnscape.paper.artifacts import ARTIFACTS  # imported here, as it takes half a second

    if manifest is None or manifest.failure or not manifest.origin:
        return False
    if ARTIFACTS.get(artifact.name) is not artifact or manifest.origin != origin(artifact, plan):
        return False
    if not all((out / run.file).is_file() for run in manifest.runs.values()):
        return False
    try:
        found = {suffix: sha256(out / name) for suffix, name in manifest.files.items()}
    except OSError:
        return False
    return found == manifest.digests


@functools.cache
def code() -> str:
    """SHA-256 of attnscape's source code."""
    package = Path(attnscape.__file__).parent
    return spec.digest(
        {str(p.relative_to(package)): sha256(p) for p in sorted(package.rglob("*.py"))}
    )

"""A finished artifact: its numbers, words and files."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from attnscape.experiments.artifact import Artifact, Results


@dataclasses.dataclass(frozen=True)
class Made:
    """A finished artifact.

    Attributes:
        artifact: The artifact.
        caption: Its caption.
        frame: Its numbers.
        comparison: Our numbers beside the printed ones, or None.
        files: The files written, by suffix (`png`, `pdf`, `csv`, `tex`, `txt`).
        results: The results it was made from.
        runs: The files of `results`.
        tables: Tables for print, by the sentence above each.
    """

    artifact: Artifact[Any]
    caption: str
    frame: pd.DataFrame
    comparison: pd.DataFrame | None
    files: dict[str, Path]
    results: Results
    runs: dict[str, Path]
    tables: Mapping[str, pd.DataFrame] = dataclasses.field(default_factory=dict)

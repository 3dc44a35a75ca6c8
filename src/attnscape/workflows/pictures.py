"""Writes the pictures of artifacts; a module by itself, as matplotlib takes long to import."""

from __future__ import annotations

from pathlib import Path

from attnscape.experiments.artifact import AnalysisT, Artifact
from attnscape.files import atomic
from attnscape.report.draw import draw
from attnscape.report.style import style, with_plain_numbers


def write_pictures(
    artifact: Artifact[AnalysisT], out: Path, analysis: AnalysisT
) -> dict[str, Path]:
    """Draws an artifact in the folder `out`; returns its pictures, of which a table has none."""
    files = dict[str, Path]()
    with style():
        figure = draw(artifact, analysis)
        if figure is None:
            return files
        for suffix, metadata in (("png", None), ("pdf", {"CreationDate": None})):
            files[suffix] = out / f"{artifact.name}.{suffix}"
            with atomic(files[suffix]) as partial:
                with_plain_numbers(figure).savefig(partial, format=suffix, metadata=metadata)
    return files

"""The page: `report.html`, everything that was made in a folder, in one file that needs no network.

Figures and styles are inside the file; downloads are links to the files beside it.
"""

from __future__ import annotations

import base64
import dataclasses
import re
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup, escape

from attnscape import results
from attnscape.paper.catalog import ARTIFACTS
from attnscape.report.manifest import Manifest, Run, Table, read_all, read_verdicts
from attnscape.report.numbers import count, number

NAME = "report.html"
_DOWNLOADS = {
    "png": "figure (PNG)",
    "pdf": "figure (PDF)",
    "csv": "numbers (CSV)",
    "tex": "table (LaTeX)",
    "txt": "caption (text)",
}
_BADGES = {"holds": "●", "holds in part": "◐", "does not hold": "○", "undecided": "?"}
_LONGEST_TABLE = 40  # rows; beyond that, an artifact without a picture is left to its CSV


def write_page(out: Path) -> Path:
    """Writes the page over what lies in the folder `out`, and gives its path."""
    path = out / NAME
    with results.atomic(path) as partial:
        partial.write_text(render(out), "utf-8")
    return path


def render(out: Path) -> str:
    """The page over what lies in the folder `out`."""
    manifests = read_all(out)
    made = [manifest for manifest in manifests.values() if manifest.was_made]
    runs = {run.run_id: run for manifest in made for run in manifest.runs.values()}
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            catalog=ARTIFACTS,
            manifests=manifests,
            sections=[_Section.of(manifest, out) for manifest in made],
            missing={n: t for n, t in ARTIFACTS.items() if n not in {m.name for m in made}},
            verdicts=read_verdicts(out, manifests),
            plans=list(dict.fromkeys(_plan_in_words(manifest) for manifest in made)),
            runs=sorted(runs.values(), key=lambda run: (run.name, run.run_id)),
            versions=_versions(runs.values()),
        )
    )


@dataclasses.dataclass(frozen=True)
class _Section:
    """What the template shows of an artifact that was made."""

    manifest: Manifest
    picture: _Picture | None
    table: Table | None
    plan: str
    downloads: list[tuple[str, str]]
    runs: list[Run]

    @classmethod
    def of(cls, manifest: Manifest, out: Path) -> _Section:
        files = manifest.files
        there = {s: name for s, name in files.items() if (out / name).is_file()}
        picture = _Picture.of(out / there["png"]) if "png" in there else None
        frame = None
        if picture is None and manifest.comparison is None and "csv" in there:
            frame = pd.read_csv(out / there["csv"])
        return cls(
            manifest,
            picture,
            Table.of(frame) if frame is not None and len(frame) <= _LONGEST_TABLE else None,
            _plan_in_words(manifest),
            [(label, there[suffix]) for suffix, label in _DOWNLOADS.items() if suffix in there],
            [run for run in manifest.runs.values() if (out / run.file).is_file()],
        )


@dataclasses.dataclass(frozen=True)
class _Picture:
    """A PNG as a data URI, with its size in pixels so that nothing jumps while it loads."""

    uri: str
    width: int
    height: int

    @classmethod
    def of(cls, path: Path) -> _Picture:
        png = path.read_bytes()
        width, height = struct.unpack(">II", png[16:24])  # of the header chunk, always the first
        return cls("data:image/png;base64," + base64.b64encode(png).decode(), width, height)


def _plan_in_words(manifest: Manifest) -> str:
    """Recipe, seeds and steps of an artifact, as they were run."""
    seeds = sorted({run.seeds for run in manifest.runs.values()})
    steps = sorted({run.steps for run in manifest.runs.values()} - {0})  # 0: at initialisation
    parts = [f"recipe {manifest.plan.get('recipe', 'unknown')}"]
    if seeds:
        parts.append(f"{_range(seeds)} seed" + "s" * (seeds[-1] > 1))
    if steps:
        parts.append(f"{_range(steps)} step" + "s" * (steps[-1] > 1))
    return ", ".join(parts)


def _range(values: list[int]) -> str:
    return count(values[0]) if len(values) == 1 else f"{count(values[0])} to {count(values[-1])}"


def _versions(runs: Iterable[Run]) -> dict[str, str]:
    """What computed the runs; several values where not all were computed alike."""
    seen: dict[str, set[str]] = {}
    for run in runs:
        facts = {**run.versions, "precision": run.precision, "kernels": run.kernels}
        for what, value in facts.items():
            seen.setdefault(what, set()).add(value)
    return {what: ", ".join(sorted(values)) for what, values in seen.items()}


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(prose=_prose, number=number, count=count, plain=_plain)
    environment.globals["badges"] = _BADGES
    environment.globals["comparison"] = _with_intervals
    return environment


def _prose(text: str) -> Markup:
    """Text as captions have it, with `code`, powers and indices such as R_SGD set as such."""
    parts = re.split(r"`([^`]+)`", text)
    parts[1::2] = [Markup("<code>{}</code>").format(code) for code in parts[1::2]]
    parts[::2] = [_raised(str(escape(words))) for words in parts[::2]]
    return Markup("").join(parts)


def _raised(html: str) -> Markup:
    html = re.sub(r"\^(\W?\w+)", r"<sup>\1</sup>", html)
    return Markup(re.sub(r"\b([A-Za-z])_(\w+)", r"\1<sub>\2</sub>", html))


def _plain(text: str) -> str:
    """Text as captions have it, for where there is no markup."""
    return text.replace("`", "")


def _with_intervals(table: Table) -> Table:
    """The table with the columns low and high drawn into ours, so that it fits a narrow page."""
    if not {"ours", "low", "high"} <= set(table.columns):
        return table
    columns = tuple(name for name in table.columns if name not in ("low", "high"))
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    return Table(
        tuple("ours [low, high]" if name == "ours" else name for name in columns),
        tuple(tuple(_interval(row) if n == "ours" else row[n] for n in columns) for row in rows),
    )


def _interval(row: Mapping[str, Any]) -> str:
    ours, low, high = (number(row[name]) for name in ("ours", "low", "high"))
    return ours if row["low"] is None and row["high"] is None else f"{ours} [{low}, {high}]"

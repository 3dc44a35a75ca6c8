"""Manifests: one JSON file per artifact of a folder; it says how the artifact was made.

The page is built from the manifests alone, so it can be rebuilt without reading any run.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
import xarray as xr

from attnscape.experiments.setting import Plan
from attnscape.files import sha256
from attnscape.paper.catalog import SECTIONS, explanation_of, section_of
from attnscape.paper.verdict import Verdict
from attnscape.report.entries import read_entries, write_entries
from attnscape.report.made import Made
from attnscape.report.numbers import number
from attnscape.report.reading import typed

_CLAIMS = "claims.json"
Cell = str | int | float | bool | None


@dataclasses.dataclass(frozen=True)
class Run:
    """A result file that an artifact was made from.

    Attributes:
        name: Name of the experiment.
        run_id: SHA-256 of its identity.
        file: Path relative to the folder.
        seeds: Number of seeds.
        steps: Updates of each run.
        precision: Precision of the training.
        kernels: The path that computed it.
        versions: Versions of Python and packages.
    """

    name: str
    run_id: str
    file: str
    seeds: int
    steps: int
    precision: str
    kernels: str
    versions: Mapping[str, str]

    @classmethod
    def of(cls, dataset: xr.Dataset, file: str) -> Run:
        """Describes a result by its attributes."""
        attributes = dataset.attrs
        spec = json.loads(attributes["spec"])
        return cls(
            name=attributes["name"],
            run_id=attributes["run_id"],
            file=file,
            seeds=len(spec["seeds"]),
            steps=spec["steps"],
            precision=attributes["precision"],
            kernels=attributes["kernels"],
            versions=json.loads(attributes["versions"]),
        )


@dataclasses.dataclass(frozen=True)
class Table:
    """A table for JSON: finite numbers, texts, and None for missing values.

    Raises:
        ValueError: If a row has more or fewer cells than there are columns.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row has {len(row)} cells for {len(self.columns)} columns")

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Table:
        """The columns and rows of a frame, without its index."""
        rows = frame.itertuples(index=False, name=None)
        return cls(tuple(map(str, frame.columns)), tuple(tuple(map(_cell, row)) for row in rows))


def _cell(value: Any) -> Cell:
    value = getattr(value, "item", lambda: value)()  # numpy's scalars
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return None if math.isnan(value) else str(value)


@dataclasses.dataclass(frozen=True)
class Manifest:
    """All that the page says about one artifact.

    Attributes:
        name: Name of the artifact.
        title: Its title, one line.
        statement: What the paper, or for an extended artifact also another, says about it.
        command: The command line that makes it again.
        plan: The fields of the plan of the last attempt; empty if unknown.
        caption: One sentence on what is shown, and after a blank line how it was made.
        notes: Important sentences, shown prominently.
        comparison: Our numbers beside the printed ones, if any are printed.
        tables: Tables shown on the page, by the sentence above each.
        files: The files written, by suffix, relative to the folder.
        runs: The runs it was made from.
        failure: Why the last attempt failed; empty if it did not.
        origin: SHA-256 of everything it was made from; empty if unknown.
        digests: SHA-256 of the contents of `files`, by suffix.
    """

    name: str
    title: str
    statement: str = ""
    command: str = ""
    plan: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    caption: str = ""
    comparison: Table | None = None
    tables: Mapping[str, Table] = dataclasses.field(default_factory=dict)
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    runs: Mapping[str, Run] = dataclasses.field(default_factory=dict)
    failure: str = ""
    notes: tuple[str, ...] = ()
    origin: str = ""
    digests: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for file in (*self.files.values(), *(run.file for run in self.runs.values())):
            path = PurePosixPath(file)
            if path.is_absolute() or ".." in path.parts:
                raise ValueError(f"{file!r} lies outside of the folder")

    @classmethod
    def of(cls, made: Made, out: Path, plan: Plan, command: str) -> Manifest:
        """Describes an artifact that was made in the folder `out`."""
        return cls(
            name=made.artifact.name,
            title=made.artifact.title,
            statement=made.artifact.statement,
            command=command,
            plan=plan.as_json(),
            caption=made.caption,
            comparison=None if made.comparison is None else Table.of(made.comparison),
            tables={
                sentence: Table.of(frame)
                for sentence, frame in made.tables.items()
                if made.artifact.tables_on_page
            },
            files={suffix: _relative(path, out) for suffix, path in made.files.items()},
            digests={suffix: sha256(path) for suffix, path in made.files.items()},
            runs={
                key: Run.of(made.results[key], _relative(path, out))
                for key, path in made.runs.items()
            },
        )

    @property
    def whose(self) -> str:
        """Words before the statement, which beyond the paper's figures may be another paper's."""
        return "The statement" if section_of(self.name) == "extended" else "The paper says"

    @property
    def explanation(self) -> str:
        """The page of the site that explains it."""
        return explanation_of(self.name)

    @property
    def shown(self) -> str:
        """The first paragraph of the caption, on what is shown."""
        return self.caption.partition("\n\n")[0]

    @property
    def details(self) -> list[str]:
        """The other paragraphs, on how it was made."""
        return [each for each in self.caption.split("\n\n")[1:] if each.strip()]

    @property
    def compared(self) -> tuple[str, Table] | None:
        """The comparison with its heading; intervals stand beside their numbers to be narrow."""
        if self.comparison is None:
            return None
        printed = "printed" in self.comparison.columns
        return "Beside the printed numbers" if printed else "In numbers", _narrow(self.comparison)

    @property
    def was_made(self) -> bool:
        """Whether there are files to show, possibly from before a failure."""
        return bool(self.files)

    def save(self, out: Path) -> None:
        """Writes `<name>.json` into the folder."""
        write_entries(out / f"{self.name}.json", dataclasses.asdict(self))


def _narrow(table: Table) -> Table:
    """The table with the columns low and high merged into ours."""
    if not {"ours", "low", "high"} <= set(table.columns):
        return table
    columns = tuple(name for name in table.columns if name not in ("low", "high"))
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    return Table(
        tuple("ours [low, high]" if name == "ours" else name for name in columns),
        tuple(tuple(_interval(row) if n == "ours" else row[n] for n in columns) for row in rows),
    )


def _interval(row: Mapping[str, Cell]) -> str:
    ours, low, high = (number(row[name]) for name in ("ours", "low", "high"))
    return ours if row["low"] is None and row["high"] is None else f"{ours} [{low}, {high}]"


def _relative(path: Path, out: Path) -> str:
    return path.relative_to(out).as_posix()


def read_all(out: Path) -> dict[str, Manifest]:
    """The manifests in a folder, by artifact, in the catalog's order.

    A file that cannot be read is replaced by a manifest that says so.
    """
    paths = {name: out / f"{name}.json" for name in SECTIONS}
    return {name: _read(name, path) for name, path in paths.items() if os.path.lexists(path)}


def _read(name: str, path: Path) -> Manifest:
    try:
        manifest = typed(Manifest, read_entries(path))
        if manifest.name != name:
            raise ValueError(f"it is that of {manifest.name!r}")
        return manifest
    except ValueError as error:
        # One unreadable file must not prevent the page of the others.
        return Manifest(
            name, SECTIONS[name], failure=f"{path.name} cannot be read ({error}); make it again."
        )


def save_verdicts(
    verdicts: Iterable[Verdict], manifests: Mapping[str, Manifest], out: Path, origin: str = ""
) -> None:
    """Writes `claims.json`: the verdicts, the runs they are based on, and their origin."""
    entries = [
        dataclasses.asdict(verdict) | {"runs": _run_ids(verdict, manifests)} for verdict in verdicts
    ]
    write_entries(out / _CLAIMS, {"verdicts": entries, "origin": origin})


def verdicts_origin(out: Path) -> str:
    """The origin of the verdicts in a folder; empty if there are none."""
    try:
        return typed(str, read_entries(out / _CLAIMS).get("origin", ""), "origin")
    except ValueError:
        return ""


def read_verdicts(out: Path, manifests: Mapping[str, Manifest]) -> list[Verdict]:
    """The verdicts in a folder, except those whose artifacts now have other runs.

    Raises:
        ValueError: If they cannot be read.
    """
    path = out / _CLAIMS
    if not os.path.lexists(path):
        return []
    entries = typed(tuple[Mapping[str, Any], ...], read_entries(path).get("verdicts"), "verdicts")
    judged = [(entry.pop("runs", None), typed(Verdict, entry)) for entry in map(dict, entries)]
    return [verdict for runs, verdict in judged if runs == _run_ids(verdict, manifests)]


def _run_ids(verdict: Verdict, manifests: Mapping[str, Manifest]) -> list[str]:
    runs = [manifests[name].runs.values() for name in verdict.artifacts if name in manifests]
    return sorted({run.run_id for of_artifact in runs for run in of_artifact})

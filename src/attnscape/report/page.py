"""The page `report.html`: all artifacts of a folder in one file that needs no network.

Figures and styles are embedded; downloads are links to the files beside it.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from importlib.metadata import metadata
from pathlib import Path
from typing import Literal

import jinja2

from attnscape import files
from attnscape.paper.catalog import ARTIFACTS, SECTIONS, Section, section_of
from attnscape.paper.verdict import Verdict
from attnscape.report.agenda import Agenda
from attnscape.report.contents import Picture, content_of, short_table
from attnscape.report.manifest import Manifest, Run, Table, read_all, read_verdicts
from attnscape.report.numbers import count, number
from attnscape.report.plans import plans_in_words, versions
from attnscape.report.prose import in_words, prose
from attnscape.report.summary import Summary

NAME = "report.html"
_DOWNLOADS = {
    "png": "figure (PNG)",
    "pdf": "figure (PDF)",
    "csv": "numbers (CSV)",
    "tex": "table (LaTeX)",
    "txt": "caption (text)",
}
_BADGES = {
    "holds": "●",
    "holds in part": "◐",
    "mixed": "◒",
    "does not hold": "○",
    "undecided": "?",
}


def write_page(out: Path) -> Path:
    """Writes the page of the folder `out` and returns its path."""
    path = out / NAME
    with files.atomic(path) as partial:
        partial.write_text(render(out), "utf-8", errors="replace")  # names need not be UTF-8
    return path


def render(out: Path) -> str:
    """The HTML of the page of the folder `out`."""
    manifests = read_all(out)
    made = [manifest for manifest in manifests.values() if manifest.was_made]
    runs = {run.run_id: run for manifest in made for run in manifest.runs.values()}
    head = _Head.of(manifests)
    verdicts, faults = _verdicts(out, manifests)
    so_far, unread = _so_far(out)
    missing = {n: t for n, t in ARTIFACTS.items() if n not in {m.name for m in made}}
    missing = missing if head.kind == "paper" else {}
    sections = [_Section.of(manifest, out) for manifest in made]
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            head=head,
            catalog=ARTIFACTS,
            manifests=manifests,
            groups=_groups(sections),
            missing=missing,
            failed=[
                manifest
                for name, manifest in manifests.items()
                if not manifest.was_made and name not in missing
            ],
            verdicts=verdicts,
            summary=Summary.of(verdicts, [(s.manifest, s.picture) for s in sections if s.picture]),
            faults=[*faults, *unread],
            so_far=so_far,
            begun={
                name: SECTIONS[name]
                for name in so_far
                if name not in missing and not (name in manifests and manifests[name].was_made)
            },
            plans=plans_in_words(made),
            runs=sorted(runs.values(), key=lambda run: (run.name, run.run_id)),
            versions=versions(runs.values()),
        )
    )


@dataclasses.dataclass(frozen=True)
class _Head:
    """Kind of the page: the paper, beyond it, real networks, a bench, or the user's parts.

    Attributes:
        kind: The kind.
        own: Words for the user's parts that replace the paper's; empty if there are none.
    """

    kind: Section | Literal["own"]
    own: str = ""

    @classmethod
    def of(cls, manifests: Mapping[str, Manifest]) -> _Head:
        """The head for the artifacts that were made or, if there are none, that were tried."""
        shown = [each for each in manifests.values() if each.was_made] or list(manifests.values())
        own = {str(each.plan["own"]) for each in shown if each.plan.get("own")}
        if own:
            return cls("own", "; ".join(sorted(own)))
        kinds: set[Section] = {section_of(each.name) for each in shown}
        return cls(kinds.pop()) if len(kinds) == 1 else cls("paper")


def _groups(sections: list[_Section]) -> list[tuple[str, str, list[_Section]]]:
    """Id, heading and sections of each group of artifacts that were made."""
    headings: Mapping[Section, tuple[str, str]] = {
        "paper": ("artifacts", "Figures and tables"),
        "extended": ("extended", "Beyond the paper's figures"),
        "networks": ("networks", "Real networks"),
        "bench": ("benches", "Bench"),
    }
    groups = [
        (id_, heading, [each for each in sections if section_of(each.manifest.name) == kind])
        for kind, (id_, heading) in headings.items()
    ]
    return [each for each in groups if each[2]] or groups[:1]


def _verdicts(out: Path, manifests: Mapping[str, Manifest]) -> tuple[list[Verdict], list[str]]:
    """The verdicts, and the reasons if they cannot be read."""
    try:
        return read_verdicts(out, manifests), []
    except ValueError as error:
        return [], [f"The verdicts cannot be read ({error}); `attnscape reproduce` judges again."]


def _so_far(out: Path) -> tuple[dict[str, str], list[str]]:
    """Of each artifact whose runs are not all finished, a sentence; and why there are none."""
    try:
        agenda = Agenda.read(out)
    except ValueError as error:
        return {}, [f"The agenda of this folder cannot be read ({error})."]
    found = {} if agenda is None else agenda.so_far(out)
    return {
        name: f"So far {count(done)} of {count(runs)} run{'s' * (runs > 1)} finished."
        for name, (done, runs) in found.items()
        if done < runs
    }, []


@dataclasses.dataclass(frozen=True)
class _Section:
    """The parts of an artifact that the template shows."""

    manifest: Manifest
    picture: Picture | None
    table: Table | None
    plan: str
    downloads: list[tuple[str, str]]
    runs: list[Run]
    faults: list[str]

    @classmethod
    def of(cls, manifest: Manifest, out: Path) -> _Section:
        files = manifest.files
        there = {s: name for s, name in files.items() if os.path.isfile(out / name)}
        picture, table, faults = None, None, list[str]()
        try:
            if "png" in there:
                picture = Picture.of(content_of(manifest, "png", out))
            elif manifest.comparison is None and "csv" in there:
                table = short_table(content_of(manifest, "csv", out))
        except (OSError, ValueError) as error:
            name = there["png"] if "png" in there else there["csv"]
            reason = (error.strerror if isinstance(error, OSError) else None) or error
            faults.append(f"{name} cannot be shown ({reason}); make it again.")
        return cls(
            manifest,
            picture,
            table,
            plans_in_words([manifest])[0],
            [(label, there[suffix]) for suffix, label in _DOWNLOADS.items() if suffix in there],
            [run for run in manifest.runs.values() if os.path.isfile(out / run.file)],
            faults,
        )


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        prose=prose, in_words=in_words, number=number, count=count, plain=_plain
    )
    environment.globals["badges"] = _BADGES
    environment.globals["site"] = _site()
    return environment


def _site() -> str | None:
    """The address of the site, as the package's metadata have it."""
    urls = metadata("attnscape").get_all("Project-URL") or []
    named = dict(url.split(", ", 1) for url in urls)
    return named.get("Documentation", "").rstrip("/") or None


def _plain(text: str) -> str:
    """A caption's text for places without markup."""
    return text.replace("`", "")

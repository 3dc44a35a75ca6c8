"""Writes the pages on the paper from the stored run: its claims, and a page for each artifact.

`docs/stored_run` holds what `python docs/store_run.py RESULTS` keeps of results. A number or a
sentence there is changed by making it again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from sphinx.application import Sphinx

from attnscape.paper.catalog import BENCH, SECTIONS, Section, explanation_of, section_of
from attnscape.paper.verdict import Verdict
from attnscape.report.contents import content_of, short_table
from attnscape.report.manifest import Cell, Manifest, Table, read_all, read_verdicts
from attnscape.report.numbers import count, number
from attnscape.report.prose import in_words, prose

STORED = Path(__file__).parents[1] / "stored_run"
_HEADINGS: dict[Section, str] = {
    "paper": "Figures and tables of the paper",
    "extended": "Beyond its figures",
    "networks": "Real networks",
}
_ORPHAN = "---\norphan: true\n---\n\n"  # else Sphinx warns of a page in no list
_MARKDOWN = re.compile(r"([\\*_|\[\]$~])")


def write_pages(app: Sphinx) -> None:
    """Writes `paper/*.md`, those only that changed, so that no page is built without need."""
    folder = Path(app.srcdir) / "paper"
    folder.mkdir(exist_ok=True)
    manifests = {name: each for name, each in read_all(STORED).items() if each.was_made}
    verdicts = read_verdicts(STORED, manifests)
    pages = {name: "\n".join(_page(each, verdicts)) + "\n" for name, each in manifests.items()}
    for name in SECTIONS.keys() - manifests.keys() - {BENCH}:
        pages[name] = (
            f"---\norphan: true\n---\n\n# {SECTIONS[name]}\n\nIt is not in the stored run.\n"
        )
    pages["claims"] = "\n".join(_claims(verdicts, manifests)) + "\n"
    pages["index"] = "\n".join(_index(manifests)) + "\n"
    for stale in {path.stem for path in folder.glob("*.md")} - pages.keys():
        (folder / f"{stale}.md").unlink()
    for name, text in pages.items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")


def _index(manifests: dict[str, Manifest]) -> Iterator[str]:
    yield "# The paper, artifact by artifact\n"
    yield (
        "What came out when every figure and table was made anew: numbers, figures and sentences "
        "of these pages are written from the files of one full run. [](claims) judges what the "
        "paper says; [](../PAPER.md) tells what it defines, where its public code does something "
        "else, and what that changes.\n"
    )
    yield "```{toctree}\n:maxdepth: 1\n\nclaims\n../PAPER\n```\n"
    for kind, heading in _HEADINGS.items():
        names = [name for name in manifests if section_of(name) == kind]
        if names:
            yield f"```{{toctree}}\n:maxdepth: 1\n:caption: {heading}\n"
            yield from names
            yield "```\n"


def _claims(verdicts: list[Verdict], manifests: dict[str, Manifest]) -> Iterator[str]:
    yield "# What the paper says, judged\n"
    yield (
        "Each sentence has a statistic, an interval over seeds and a verdict that follows from "
        "both; what it depends on stands below it.\n"
    )
    rows = [
        (f"[{each.number}](#claim-{each.number})", each.sentence, each.verdict) for each in verdicts
    ]
    yield from _table(("claim", "sentence", "verdict"), rows, marked=True)
    for each in verdicts:
        yield f"\n(claim-{each.number})=\n## {each.number}: {each.verdict}\n"
        yield f"> {_words(each.sentence)}\n"
        yield _words(each.numbers) + "\n"
        if each.dependence:
            yield _words(each.dependence) + "\n"
        for choice in each.choices:
            yield f"- {_words(choice.choice)}: **{choice.verdict}**. {_words(choice.numbers)}"
        links = ", ".join(f"[{name}]({name})" for name in each.artifacts if name in manifests)
        yield f"\nRests on {links}.\n"


def _page(manifest: Manifest, verdicts: Iterable[Verdict]) -> Iterator[str]:
    yield f"# {_words(manifest.title)}\n"
    if manifest.statement:
        whose = "The statement" if section_of(manifest.name) == "extended" else "The paper says"
        yield f"> {whose}: {_words(manifest.statement)}\n"
    shown, *details = (part for part in manifest.caption.split("\n\n") if part.strip())
    if "png" in manifest.files:
        picture = STORED / manifest.files["png"]
        yield f"```{{figure}} ../{STORED.name}/{picture.name}\n:alt: {manifest.title}"
        yield ":width: 100%\n"  # with a width, Sphinx makes it a link to the whole picture
        yield f"{_words(shown)}\n```\n"
    else:
        yield f"{_words(shown)}\n"
        if "csv" in manifest.files:
            yield from _of_table(short_table(content_of(manifest, "csv", STORED)))
    for verdict in verdicts:
        if manifest.name in verdict.artifacts:
            number_ = verdict.number
            yield f"[Claim {number_}](claims.md#claim-{number_}): **{verdict.verdict}**.\n"
    yield f"What it shows, and its traps: [](../explanations/{explanation_of(manifest.name)}.md)\n"
    for note in manifest.notes:
        yield f":::{{note}}\n{_words(note)}\n:::\n"
    if manifest.comparison is not None:
        printed = "printed" in manifest.comparison.columns
        yield "## Beside the printed numbers\n" if printed else "## In numbers\n"
        yield from _of_table(manifest.comparison)
    for heading, table in manifest.tables.items():
        yield f"**{_words(heading)}**\n"
        yield from _of_table(table)
    yield "## How it was made\n"
    yield f"```sh\n{manifest.command}\n```\n"
    for part in details:
        yield _words(part) + "\n"
    yield _provenance(manifest) + "\n"


def _provenance(manifest: Manifest) -> str:
    """From how many runs, and with what."""
    runs = manifest.runs.values()
    if not runs:
        return "It needs no run."
    versions = {f"{what} {version}" for run in runs for what, version in run.versions.items()}
    computed = ", ".join(sorted({f"{run.precision}, {run.kernels}" for run in runs}))
    return f"From {count(len(runs))} runs ({computed}; {', '.join(sorted(versions))})."


def _of_table(table: Table | None) -> Iterator[str]:
    if table is not None:
        yield from _table(table.columns, table.rows)


def _table(
    columns: Iterable[str], rows: Iterable[Iterable[Cell]], marked: bool = False
) -> Iterator[str]:
    heads = [_words(in_words(name)) for name in columns]
    yield "| " + " | ".join(heads) + " |"
    yield "| " + " | ".join("---" for _ in heads) + " |"
    for row in rows:
        first, *others = row
        cells = [str(first) if marked else _words(number(first))]
        yield "| " + " | ".join([*cells, *(_words(number(cell)) for cell in others)]) + " |"
    yield ""


def _words(text: str) -> str:
    """A text of a manifest as Markdown of one paragraph, in which nothing else has a meaning."""
    return _MARKDOWN.sub(r"\\\1", prose(" ".join(text.split())))


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("builder-inited", write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

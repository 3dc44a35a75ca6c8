"""Writes the pages on the paper from the stored run: its claims, and a page for each artifact.

`docs/stored_run` holds what `python docs/store_run.py RESULTS` keeps of results. A number or a
sentence there is changed by making it again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pages
from sphinx.application import Sphinx

from attnscape.identity import NUMBERS
from attnscape.paper.catalog import BENCH, SECTIONS, Section, section_of
from attnscape.paper.claims import CLAIMS
from attnscape.paper.verdict import Verdict
from attnscape.report.contents import content_of, short_table
from attnscape.report.manifest import Cell, Manifest, Table, read_all, read_verdicts
from attnscape.report.numbers import count, number
from attnscape.report.plans import plans_in_words, versions
from attnscape.report.prose import in_words, prose

STORED = Path(__file__).parents[1] / "stored_run"
VERSIONS = STORED.with_name("stored_numbers.json")  # of `NUMBERS` by artifact, as its runs had it
_HEADINGS: dict[Section, str] = {
    "paper": "Figures and tables of the paper",
    "extended": "Beyond its figures",
    "networks": "Real networks",
}
_ORPHAN = "---\norphan: true\n---\n\n"  # else Sphinx warns of a page in no list
_MARKDOWN = re.compile(r"([\\*_|\[\]$~])")


def write_pages(app: Sphinx) -> None:
    """Writes `paper/*.md`."""
    manifests = {name: each for name, each in read_all(STORED).items() if each.was_made}
    verdicts = read_verdicts(STORED, manifests)
    texts = {  # other pages may have links to what is not stored
        name: f"{_ORPHAN}# {title}\n\nIt is not in the stored run.\n"
        for name, title in SECTIONS.items()
        if name != BENCH
    }
    texts |= {name: "\n".join(_page(each, verdicts)) + "\n" for name, each in manifests.items()}
    texts["claims"] = "\n".join(_claims(verdicts, manifests)) + "\n"
    texts["index"] = "\n".join(_index(manifests)) + "\n"
    pages.write(Path(app.srcdir) / "paper", texts)


def _index(manifests: dict[str, Manifest]) -> Iterator[str]:
    yield "# The paper, artifact by artifact\n"
    yield (
        "What came out when every figure and table was made anew: numbers, figures and sentences "
        "of these pages are written from the files of one full run. [](claims) judges what the "
        "paper says; [](../PAPER.md) tells what it defines, where its public code does something "
        "else, and what that changes.\n"
    )
    yield from _age(manifests)
    yield "```{toctree}\n:maxdepth: 1\n\nclaims\n../PAPER\n```\n"
    for kind, heading in _HEADINGS.items():
        names = [name for name in manifests if section_of(name) == kind]
        if names:
            yield f"```{{toctree}}\n:maxdepth: 1\n:caption: {heading}\n"
            yield from names
            yield "```\n"


def _age(names: Iterable[str]) -> Iterator[str]:
    """A note on those artifacts that were made before the numbers of built-in parts changed."""
    stored: dict[str, int] = json.loads(VERSIONS.read_text())
    older = [f"[](./{name}.md)" for name in names if stored[name] != NUMBERS]
    if older:
        yield (
            ":::{note}\nMade before the package drew prompts as it does today, so that runs made "
            f"anew differ as runs of other seeds do: {', '.join(older)}.\n:::\n"
        )


def _claims(verdicts: list[Verdict], manifests: dict[str, Manifest]) -> Iterator[str]:
    yield "# What the paper says, judged\n"
    yield (
        "Each sentence has a statistic, an interval over seeds and a verdict that follows from "
        "both; what it depends on stands below it. A sentence is split into comparisons, and each "
        "holds, is reversed or is undecided, as its 95 % interval lies inside, outside or across "
        "the border of what is claimed (where some of several are selected, after Holm's "
        "correction). *Holds*: all comparisons hold. *Holds in part*: some hold, none is reversed. "
        "*Mixed*: some hold, some are reversed. *Does not hold*: none holds, at least one is "
        "reversed. *Undecided*: none is decided. What seeds can say, and what not: "
        "[](../explanations/seeds_and_intervals.md).\n"
    )
    yield from _age(sorted({name for each in verdicts for name in _judged_by(each)}))
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
        yield from _basis(each, manifests)


def _basis(verdict: Verdict, manifests: Mapping[str, Manifest]) -> Iterator[str]:
    """Links to what a verdict rests on, to what explains it, and the command that judges anew."""
    there = [manifests[name] for name in _judged_by(verdict) if name in manifests]
    explained = dict.fromkeys(f"[](../explanations/{each.explanation}.md)" for each in there)
    yield f"\nFigures and tables: {', '.join(f'[](./{each.name}.md)' for each in there)}."
    yield f"What is measured, in the paper and here: {', '.join(explained)};"
    yield "[the definitions in short](../PAPER.md#4-what-is-measured).\n"
    yield f"```sh\nattnscape reproduce {' '.join(each.name for each in there)}\n```\n"


def _judged_by(verdict: Verdict) -> tuple[str, ...]:
    """The artifacts that a claim is about, then others whose runs its numbers are from."""
    about = list(CLAIMS.values())[verdict.number - 1]
    return tuple(dict.fromkeys([*about, *verdict.artifacts]))


def _page(manifest: Manifest, verdicts: Iterable[Verdict]) -> Iterator[str]:
    yield f"# {_words(manifest.title)}\n"
    yield from _age([manifest.name])
    if manifest.statement:
        yield f"> {manifest.whose}: {_words(manifest.statement)}\n"
    if "png" in manifest.files:
        picture = STORED / manifest.files["png"]
        yield f"```{{figure}} ../{STORED.name}/{picture.name}\n:alt: {manifest.title}"
        yield ":width: 100%\n"  # with a width, Sphinx makes it a link to the whole picture
        yield f"{_words(manifest.shown)}\n```\n"
    else:
        yield f"{_words(manifest.shown)}\n"
        if "csv" in manifest.files:
            yield from _of_table(short_table(content_of(manifest, "csv", STORED)))
    for verdict in verdicts:
        if manifest.name in _judged_by(verdict):
            number_ = verdict.number
            yield f"[Claim {number_}](claims.md#claim-{number_}): **{verdict.verdict}**.\n"
    yield f"What it shows, and its traps: [](../explanations/{manifest.explanation}.md)\n"
    for note in manifest.notes:
        yield f":::{{note}}\n{_words(note)}\n:::\n"
    if manifest.compared is not None:
        heading, table = manifest.compared
        yield f"## {heading}\n"
        yield from _of_table(table)
    for heading, table in manifest.tables.items():
        yield f"**{_words(heading)}**\n"
        yield from _of_table(table)
    yield "## How it was made\n"
    yield f"```sh\n{manifest.command}\n```\n"
    for part in manifest.details:
        yield _words(part) + "\n"
    yield _provenance(manifest) + "\n"


def _provenance(manifest: Manifest) -> str:
    """From how many runs, and with what."""
    if not manifest.runs:
        return "It needs no run."
    plan = plans_in_words([manifest])[0]
    computed = ", ".join(
        f"{what} {value}" for what, value in versions(manifest.runs.values()).items()
    )
    return f"From {count(len(manifest.runs))} runs: {plan}. Computed with {computed}."


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

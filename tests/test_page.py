"""The page keeps its promises: whole, self-contained, accessible, readable on any screen."""

from __future__ import annotations

import dataclasses
import functools
import io
import itertools
import json
import re
import shutil
from email.message import Message
from html.parser import HTMLParser
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlparse

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import browser
from attnscape.files import sha256
from attnscape.paper.catalog import ARTIFACTS, SECTIONS, explanation_of
from attnscape.paper.verdict import WORDS, Choice, Verdict
from attnscape.report.entries import read_entries, write_entries
from attnscape.report.manifest import Manifest, Run, Table, read_all, read_verdicts, save_verdicts
from attnscape.report.numbers import number
from attnscape.report.page import render, write_page

FIRST, SECOND, THIRD = list(ARTIFACTS)[:3]
COMPARISON = pd.DataFrame(
    {
        "quantity": ["R_SGD / R_Adam, Setting 1, step 750", "R_SGD / R_Adam, Setting 3, step 750"],
        "ours": [1.8212, 12345.678],
        "low": [1.4, np.nan],
        "high": [2.25, np.inf],
        "printed": ["1.76 (0.40)", "9.57 (13.3)"],
    }
)


def run(name: str) -> Run:
    versions = {"python": "3.12.1", "attnscape": "0.1.0", "jax": "0.10.2"}
    run_id = (name.encode().hex() * 64)[:64]
    file = f"runs/{name}-{run_id[:16]}.nc"
    return Run(name, run_id, file, 6, 10_000, "float32", "native, 256 bits", versions)


@functools.cache
def pictures(panels: int) -> dict[str, bytes]:
    """A figure in each format; most tests look at the page only."""
    figure = Figure(figsize=(3.6 * panels, 3.2))
    for axes in figure.subplots(1, panels, squeeze=False)[0]:
        axes.plot(np.geomspace(1, 1e-3, 50))
        axes.set(yscale="log", xlabel="step", ylabel="loss")
    files = {suffix: io.BytesIO() for suffix in ("png", "pdf")}
    for suffix, file in files.items():
        figure.savefig(file, format=suffix, dpi=150)
    return {suffix: file.getvalue() for suffix, file in files.items()}


def made(out: Path, name: str, panels: int, comparison: pd.DataFrame | None) -> Manifest:
    """A manifest, with the files that it names."""
    runs = {f"setting-{i}": run(f"setting-{i}") for i in range(1, panels + 1)}
    files = {suffix: f"{name}.{suffix}" for suffix in ("csv", "txt", "png", "pdf")}
    for suffix, picture in pictures(panels).items():
        (out / files[suffix]).write_bytes(picture)
    for path in (files["csv"], files["txt"], *(run.file for run in runs.values())):
        (out / path).parent.mkdir(exist_ok=True)
        (out / path).write_text("step,loss\n0,1\n")
    return Manifest(
        name=name,
        title=ARTIFACTS[name],
        statement="Adaptive methods like Adam are strictly better than SGD in all three settings.",
        command=f"attnscape reproduce {name} --quick --seeds 6 --out 'a folder of mine'",
        plan={"recipe": "code"},
        caption='Loss, with "quotes", <angles> & recipe `code`: initial entries N(0, 0.05^2).\n\n'
        "Gradients are clipped; u^<b> and x_<i> are no markup.",
        comparison=None if comparison is None else Table.of(comparison),
        files=files,
        runs=runs,
    )


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two artifacts made, the others not, one of them for a reason; four verdicts."""
    out = tmp_path_factory.mktemp("original")
    made(out, FIRST, 3, COMPARISON).save(out)
    made(out, SECOND, 1, None).save(out)
    Manifest(THIRD, ARTIFACTS[THIRD], failure="The file runs/x.nc is damaged; delete it.").save(out)
    verdicts = [
        Verdict(
            i,
            "Adam reaches lower loss than SGDM in Settings 1, 2 and 3 (Fig. 2).",
            word,
            "Median ratio of final losses 0.31 [0.22, 0.45], 4.2e-3 [1.1e-3, 9.0e-3], 0.05 [0, 1]",
            "Holds for the mean and for the median over seeds.",
            (FIRST, SECOND),
            (Choice("searched <rates>", word, "1.20 [.90, 2.19]"),) * (i % 2),
        )
        for i, word in enumerate(WORDS, start=1)
    ]
    save_verdicts(verdicts, read_all(out), out)
    write_page(out)
    return out


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy of that folder, which a test may change."""
    return Path(shutil.copytree(original, tmp_path / "a folder"))


class Parsed(HTMLParser):
    """Start tags with their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def page(folder: Path) -> Parsed:
    return Parsed((folder / "report.html").read_text("utf-8"))


def test_every_figure_says_in_words_what_it_shows(page: Parsed):
    images = page.all("img")
    assert len(images) == 2
    for image, name in zip(images, (FIRST, SECOND), strict=True):
        assert image["alt"].startswith(ARTIFACTS[name])
        assert '"quotes", <angles> & recipe code' in image["alt"]


def test_headings_step_down_one_level_at_a_time(page: Parsed):
    levels = [int(tag[1]) for tag, _ in page.tags if tag in ("h1", "h2", "h3", "h4", "h5", "h6")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_it_is_marked_up_for_assistive_technology(page: Parsed):
    assert page.all("html") == [{"lang": "en"}]
    assert all(cell["scope"] in ("col", "row") for cell in page.all("th"))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.tags:
        assert attributes.get("aria-labelledby", ids[0]) in ids


def test_links_lead_somewhere(page: Parsed, folder: Path):
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    links = [attributes["href"] for attributes in page.all("a")]
    assert any(link.endswith(".nc") for link in links)
    for link in links:
        if link.startswith("#"):
            assert link[1:] in ids
        elif not urlparse(link).scheme:
            assert (folder / unquote(link)).is_file()


def test_nothing_is_loaded_from_elsewhere(page: Parsed, folder: Path):
    loaded = [a["src"] for _, a in page.tags if "src" in a]
    loaded += [a["href"] for a in page.all("link")]
    assert all(resource.startswith("data:") for resource in loaded)
    assert not page.all("script")
    style = (folder / "report.html").read_text("utf-8").split("<style>")[1].split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style


def test_every_verdict_is_there_in_words(page: Parsed):
    for word in WORDS:
        assert f"1 {word}" in page.text
    assert "Holds for the mean and for the median over seeds." in page.text


def test_it_opens_on_what_holds_and_what_does_not(page: Parsed):
    opening = page.text[page.text.index("In a minute") : page.text.index("Rests on")]
    places = [opening.index(f"1 {word}") for word in WORDS]
    assert places == sorted(places)
    linked = {a["href"] for a in page.all("a")}
    assert linked >= {f"#claim-{number}" for number in range(1, len(WORDS) + 1)}


def test_a_page_of_many_figures_opens_on_the_three_that_say_most(tmp_path: Path):
    names = ["fig2-searched", "fig9", "fig5", "fig3", "fig2"]
    for name in names[:3]:
        made(tmp_path, name, 2, None).save(tmp_path)
    assert 'class="glance"' not in render(tmp_path)  # it is as short itself
    for name in names[3:]:
        made(tmp_path, name, 2, None).save(tmp_path)
    html = render(tmp_path)
    opening = html[html.index('class="glance"') : html.index('aria-label="On this page"')]
    assert re.findall(r'<a href="#([\w-]+)">', opening) == ["fig2", "fig3", "fig5"]
    assert [int(width) <= 600 for width in re.findall(r'width="(\d+)"', opening)] == [True] * 3


@pytest.mark.parametrize("name", SECTIONS)
def test_every_artifact_has_an_explanation(name: str):
    pages = Path(__file__).parents[1] / "docs" / "explanations"
    assert (pages / f"{explanation_of(name)}.md").exists()


def test_the_explanation_is_a_link_where_the_site_has_an_address(folder: Path, monkeypatch):
    page = "docs/explanations/loss_curves.md"
    assert f"<code>{page}</code>" in render(folder)
    facts = Message()
    facts["Project-URL"] = "Documentation, https://attnscape.example/"
    monkeypatch.setattr("attnscape.report.page.metadata", lambda name: facts)
    assert 'href="https://attnscape.example/explanations/loss_curves.html"' in render(folder)


def test_verdicts_that_turn_with_a_choice_say_what_each_comes_to(page: Parsed):
    assert page.text.count("Verdict by choice") == (len(WORDS) + 1) // 2
    assert "searched <rates>:" in page.text
    assert "1.20 [.90, 2.19]" in page.text


def test_numbers_stand_beside_the_printed_ones(page: Parsed):
    assert "1.82 [1.40, 2.25]" in page.text
    assert "12,300 [–, inf]" in page.text  # noqa: RUF001
    assert "9.57 (13.3)" in page.text


def test_what_was_not_made_is_listed_with_its_reason(page: Parsed):
    assert f"2 of {len(ARTIFACTS)} artifacts made" in page.text
    assert "The file runs/x.nc is damaged" in page.text
    assert f"attnscape reproduce {THIRD}" in page.text


def test_an_empty_folder_has_a_page(tmp_path: Path):
    page = Parsed(render(tmp_path))
    assert f"0 of {len(ARTIFACTS)} artifacts made" in page.text
    assert not page.all("img")


def bench(out: Path) -> Manifest:
    """The manifest of a bench, with its files."""
    manifest = made(out, SECOND, 1, None)
    return dataclasses.replace(
        manifest,
        name="bench",
        title="Bench: <lion> against SGDM and Adam",
        statement="",
        command="attnscape bench lion",
        tables={"Optimizers.": Table(("optimizer", "rate"), (("a_lion", 0.1),))},
        notes=("broken was left out: <no luck>",),
    )


def test_a_folder_that_holds_only_a_bench_has_a_page_of_its_own_kind(tmp_path: Path):
    bench(tmp_path).save(tmp_path)
    html = render(tmp_path)
    page = Parsed(html)
    assert "<h1>Optimizers against each other</h1>" in html
    assert "recipe code, 6 seeds, 10,000 steps" in page.text
    for words in ("reproduced", "artifacts made", "Not yet made", "reproduce fig2", "The paper"):
        assert words not in page.text
    assert 'id="bench"' in html


def test_seeds_of_networks_whose_runs_have_one_each_are_counted(tmp_path: Path):
    one = dataclasses.replace(run("network"), seeds=1, steps=400)
    runs = {f"mnist-lenet5|{name}|{seed}": one for name in ("sgdm", "adam") for seed in range(5)}
    quantity = pd.DataFrame({"network": ["LeNet5"], "quantity": ["final loss"], "ours": [0.5]})
    manifest = dataclasses.replace(made(tmp_path, SECOND, 1, quantity), runs=runs)
    manifest.save(tmp_path)
    html = render(tmp_path)
    assert "recipe code, 5 seeds, 400 steps" in Parsed(html).text
    others = {f"setting-1|{end}": run("setting-1") for end in ("fresh", "fixed")}
    dataclasses.replace(manifest, runs=others).save(tmp_path)
    assert "recipe code, 6 seeds, 10,000 steps" in Parsed(render(tmp_path)).text
    assert '<td class="words">final loss</td>' in html


def test_a_mixed_folder_shows_the_papers_artifacts_and_the_bench(folder: Path):
    bench(folder).save(folder)
    html = render(folder)
    page = Parsed(html)
    assert f"2 of {len(ARTIFACTS)} artifacts made" in page.text
    assert html.index('id="artifacts"') < html.index(f'id="{FIRST}"') < html.index('id="benches"')
    assert html.index('id="benches"') < html.index('id="bench"')


@pytest.mark.parametrize(
    ("name", "whose"), [(FIRST, "The paper says"), ("rotation", "The statement")]
)
def test_what_others_have_said_is_not_called_the_papers(tmp_path: Path, name: str, whose: str):
    manifest = made(tmp_path, FIRST, 1, None)
    dataclasses.replace(manifest, name=name, title="A figure").save(tmp_path)
    page = Parsed(render(tmp_path)).text
    assert [words for words in ("The paper says", "The statement") if words in page] == [whose]


def test_own_parts_have_a_page_of_their_own_kind(tmp_path: Path):
    own = "task my_file.py:<task>"
    manifest = made(tmp_path, FIRST, 1, None)
    manifest = dataclasses.replace(manifest, statement="", plan={"recipe": "code", "own": own})
    manifest.save(tmp_path)
    Manifest(SECOND, "Gradient noise", failure="It is too late.", plan={"own": own}).save(tmp_path)
    page = Parsed(render(tmp_path))
    assert own in page.text
    assert "It is too late." in page.text
    for words in ("reproduced", "artifacts made", "Not yet made", "The paper says", "Ahn, Cheng"):
        assert words not in page.text


def test_the_caption_is_one_sentence_and_the_rest_on_demand(page: Parsed, folder: Path):
    html = (folder / "report.html").read_text("utf-8")
    caption = html.split("<figcaption>")[1].split("</figcaption>")[0]
    sentence, _, details = caption.partition("<details>")
    assert "N(0, 0.05<sup>2</sup>)" in sentence
    assert "Gradients are clipped" in details
    assert "<summary>How it was made</summary>" in details
    assert all("clipped" not in image["alt"] for image in page.all("img"))


def test_names_and_captions_are_text_and_never_markup(tmp_path: Path):
    bench(tmp_path).save(tmp_path)
    page = Parsed(render(tmp_path))
    for words in ("<lion>", "<no luck>", "a_lion", "u^<b> and x_<i> are no markup"):
        assert words in page.text
    assert not page.all("b")
    assert not page.all("i")


def test_the_command_is_shown_exactly(page: Parsed):
    assert "--seeds 6 --out 'a folder of mine'" in page.text


def test_manifests_and_verdicts_come_back_as_they_were_written(folder: Path, tmp_path: Path):
    manifests = read_all(folder)
    again = tmp_path / "again"
    again.mkdir()
    for manifest in manifests.values():
        manifest.save(again)
    assert read_all(again) == manifests
    verdicts = read_verdicts(folder, manifests)
    save_verdicts(verdicts, manifests, again)
    assert read_verdicts(again, manifests) == verdicts
    assert [verdict.verdict for verdict in verdicts] == list(WORDS)


def test_a_verdict_on_other_runs_than_those_shown_is_not_shown(folder: Path):
    manifest = read_all(folder)[FIRST]
    dataclasses.replace(manifest, runs={"other": run("other")}).save(folder)
    assert read_verdicts(folder, read_all(folder)) == []
    assert "Rests on" not in Parsed(render(folder)).text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        '{"schema_version": 0}',
        "[1]",
        '{"a": ',
        "null",
        "[" * 100_000,
        "\udcff",
        '{"schema_version": NaN}',
    ],
)
def test_an_unreadable_manifest_does_not_take_the_others_away(folder: Path, text: str):
    (folder / f"{SECOND}.json").write_text(text, errors="surrogateescape")
    page = Parsed(render(folder))
    assert len(page.all("img")) == 1
    assert f"{SECOND}.json cannot be read" in page.text


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("title", None, "title is null, not text"),
        ("runs", [], "runs is a list, not an object"),
        ("runs", {"a": {}}, "runs.a has no 'name'"),
        ("plan", [1], "plan is a list, not an object"),
        ("files", {"png": 3}, "files.png is a whole number, not text"),
        ("files", {"png": "../x.png"}, "'../x.png' lies outside of the folder"),
        ("comparison", {"columns": ["a"], "rows": [[1, 2]]}, "a row has 2 cells for 1 columns"),
        ("tables", {"a": {"columns": ["a"], "rows": [[{}]]}}, "is an object, not text"),
        ("name", "fig5", "it is that of 'fig5'"),
        ("colour", "red", "it has an unknown entry 'colour'"),
    ],
)
def test_a_manifest_of_other_types_gets_one_sentence(folder: Path, key, value, sentence):
    path = folder / f"{SECOND}.json"
    write_entries(path, read_entries(path) | {key: value})
    page = Parsed(render(folder))
    assert len(page.all("img")) == 1
    assert f"{SECOND}.json cannot be read (" in page.text
    assert sentence in page.text


@pytest.mark.parametrize("name", [f"{SECOND}.json", f"{SECOND}.png", "claims.json"])
def test_files_without_permission_do_not_take_the_others_away(folder: Path, monkeypatch, name):
    allowed = Path.open

    def refuse(path: Path, *arguments, **keywords):
        if path.name == name:
            raise PermissionError(13, "Permission denied", str(path))
        return allowed(path, *arguments, **keywords)

    monkeypatch.setattr(Path, "open", refuse)
    page = Parsed(render(folder))
    assert "(Permission denied)" in page.text
    assert FIRST in [attributes.get("id") for _, attributes in page.tags]


@pytest.mark.parametrize(
    "content", [b"", b"\x89PNG", b"GIF89a" * 10, b"\x89PNG\r\n\x1a\n" + bytes(30)]
)
def test_an_odd_picture_gets_a_sentence(folder: Path, content: bytes):
    (folder / f"{SECOND}.png").write_bytes(content)
    page = Parsed(render(folder))
    assert len(page.all("img")) == 1
    assert f"{SECOND}.png cannot be shown (it is no PNG); make it again." in page.text


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2,3\n1,2,3,4\n", b"a,b\n1,2,3\n", b"\xff\xfe"])
def test_a_ragged_csv_gets_a_sentence(folder: Path, content: bytes):
    manifest = read_all(folder)[SECOND]
    files = {"csv": manifest.files["csv"]}
    dataclasses.replace(manifest, files=files).save(folder)
    (folder / files["csv"]).write_bytes(content)
    page = Parsed(render(folder))
    assert f"{SECOND}.csv cannot be shown (" in page.text
    assert len(page.all("img")) == 1


@pytest.mark.parametrize(
    "entries",
    [None, [], {"verdicts": None}, {"verdicts": [None]}, {"verdicts": [{"number": "1"}]}],
)
def test_unreadable_verdicts_get_a_sentence(folder: Path, entries):
    if isinstance(entries, dict):
        write_entries(folder / "claims.json", entries)
    else:
        (folder / "claims.json").write_text(json.dumps(entries))
    page = Parsed(render(folder))
    assert "The verdicts cannot be read (" in page.text
    assert len(page.all("img")) == 2


@pytest.mark.parametrize("name", [f"{SECOND}.json", "claims.json"])
def test_a_flipped_bit_is_noticed_wherever_it_is(folder: Path, name: str):
    """One that JSON takes for the same entries, in white space, changes nothing that is shown."""
    manifests = read_all(folder)
    save_verdicts(read_verdicts(folder, manifests)[:1], manifests, folder)  # one is like another
    path = folder / name
    whole, entries = path.read_bytes(), read_entries(path)
    for byte in range(len(whole)):
        flipped = bytearray(whole)
        flipped[byte] ^= 1 << byte % 8
        path.write_bytes(flipped)
        try:
            found = read_entries(path)
        except ValueError:
            continue
        # Without the name of the checksum there is an entry that nobody knows.
        assert found == entries or len(found) == len(entries) + 1, byte


def test_an_edited_verdict_is_not_shown_as_ours(folder: Path):
    path = folder / "claims.json"
    path.write_text(path.read_text("utf-8").replace("0.31", "77.7"), "utf-8")
    page = Parsed(render(folder))
    assert "The verdicts cannot be read (it was changed after it was written)" in page.text
    assert "77.7" not in page.text


@pytest.mark.parametrize("suffix", ["png", "csv"])
def test_a_file_that_was_changed_or_leads_elsewhere_is_not_shown(
    folder: Path, tmp_path: Path, suffix: str
):
    manifest = read_all(folder)[SECOND]
    path = folder / manifest.files[suffix]
    files = {suffix: manifest.files[suffix]}
    private = tmp_path / "private"
    private.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(private)
    dataclasses.replace(manifest, files=files).save(folder)
    page = Parsed(render(folder))
    assert f"{path.name} cannot be shown (it is a link that leads out of the folder)" in page.text
    path.unlink()
    path.write_bytes(private.read_bytes())
    kept = dataclasses.replace(manifest, files=files, digests={suffix: sha256(path)})
    kept.save(folder)
    assert "cannot be shown" not in Parsed(render(folder)).text
    path.write_bytes(private.read_bytes() + b" ")
    page = Parsed(render(folder))
    assert f"{path.name} cannot be shown (it was changed after it was made)" in page.text
    assert len(page.all("img")) == 1


def test_manifests_are_json_that_any_reader_takes(folder: Path):
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    for path in folder.glob("*.json"):
        json.loads(path.read_text("utf-8"), parse_constant=refuse)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "\N{EN DASH}"),
        (0.0, "0"),
        (1.758, "1.76"),
        (-0.01234, "\N{MINUS SIGN}0.0123"),
        (9.999, "10.0"),
        (12345.678, "12,300"),
        (1.23e-7, "1.23 \N{MULTIPLICATION SIGN} 10^\N{MINUS SIGN}7"),
        (float("-inf"), "\N{MINUS SIGN}inf"),
        (10_000, "10,000"),
        ("1.76 (0.40)", "1.76 (0.40)"),
    ],
)
def test_numbers_are_written_as_people_read_them(value, text):
    assert number(value) == text


LINKS = """[...document.querySelectorAll("a[href]")].map(a => a.href)"""
BROKEN_IMAGES = """[...document.images].filter(i => !i.complete || i.naturalWidth === 0).length"""
# WCAG 2's contrast of all text with what lies behind it.
LOWEST_CONTRAST = """(() => {
  const channels = text => text.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => {
    const [R, G, B] = [r, g, b].map(c => c / 255)
      .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * R + 0.7152 * G + 0.0722 * B;
  };
  const behind = element => {
    for (; element; element = element.parentElement) {
      const color = channels(getComputedStyle(element).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  let lowest = [21, ""];
  for (const element of document.body.querySelectorAll("*")) {
    if (![...element.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    const pair = [channels(getComputedStyle(element).color), behind(element)].map(luminance);
    const contrast = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    if (contrast < lowest[0]) lowest = [contrast, element.outerHTML.slice(0, 200)];
  }
  return lowest;
})()"""


@pytest.mark.skipif(browser.binary() is None, reason="there is no Chromium or Chrome here")
@pytest.mark.usefixtures("one_browser")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1200])
def test_a_browser_shows_it_whole(folder: Path, width: int, scheme: Literal["light", "dark"]):
    url = (folder / "report.html").as_uri()
    with browser.opened(url, width, scheme) as tab:
        evaluate = tab.page.evaluate
        assert evaluate("innerWidth") == width
        assert evaluate("document.documentElement.scrollWidth") <= width
        assert evaluate("document.querySelectorAll('article').length") == 2
        assert evaluate(BROKEN_IMAGES) == 0
        contrast, where = evaluate(LOWEST_CONTRAST)
        assert contrast >= 4.5, where
        size = "parseFloat(getComputedStyle(document.querySelector('figcaption p')).fontSize)"
        assert evaluate(size) >= 16
        shown = "document.querySelector('details p').checkVisibility({contentVisibilityAuto: true})"
        assert not evaluate(shown)
        for link in map(urlparse, evaluate(LINKS)):
            if link.scheme == "file":
                assert Path(unquote(link.path)).is_file()
                found = f"document.getElementById({link.fragment!r}) !== null"
                assert not link.fragment or evaluate(found)
        assert tab.complaints == []
        assert tab.requests == [url]


@pytest.mark.skipif(browser.binary() is None, reason="there is no Chromium or Chrome here")
@pytest.mark.usefixtures("one_browser")
def test_printed_pages_show_how_everything_was_made(folder: Path):
    with browser.opened((folder / "report.html").as_uri()) as tab:
        evaluate = tab.page.evaluate
        height = "document.querySelector('details').getBoundingClientRect().height"
        closed = evaluate(height)
        tab.page.emulate_media(media="print")
        assert evaluate("document.querySelector('details p').checkVisibility()")
        assert evaluate(height) > closed + 15

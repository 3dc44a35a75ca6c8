"""The site's pages on the paper: written from the stored run alone, and all of it."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from attnscape.paper.catalog import ARTIFACTS, EXTENDED, SECTIONS
from attnscape.paper.verdict import WORDS
from attnscape.report.manifest import read_all

DOCS = Path(__file__).parents[1] / "docs"
STORED = DOCS / "stored_run"


def test_the_stored_run_has_every_artifact_and_can_be_read():
    stored = read_all(STORED)
    assert stored.keys() >= {*ARTIFACTS, *EXTENDED}
    for manifest in stored.values():
        assert manifest.failure == ""
        assert "--out" not in manifest.command  # a folder of whoever stored it
        assert (manifest.plan["seeds"], manifest.plan["steps"]) == (None, None)  # not a quick run
        for file in manifest.files.values():
            assert (STORED / file).is_file()
    files = {file for each in stored.values() for file in each.files.values()}
    files |= {f"{name}.json" for name in stored} | {"claims.json"}
    assert {path.name for path in STORED.iterdir()} == files


def test_the_numbers_of_the_pages_are_those_of_the_stored_run(tmp_path, monkeypatch):
    pytest.importorskip("sphinx", reason="Sphinx is not installed")
    monkeypatch.syspath_prepend(str(DOCS / "_ext"))
    import paper_pages

    shutil.copytree(STORED, tmp_path / "stored_run")
    caption = "One *odd* | sentence_ on R_SGD, 10^4 <b>.\n\nMore."
    stored = read_all(STORED)
    dataclasses.replace(stored["fig5"], caption=caption).save(tmp_path / "stored_run")
    (tmp_path / "paper").mkdir()
    (tmp_path / "paper" / "stale.md").touch()
    monkeypatch.setattr(paper_pages, "STORED", tmp_path / "stored_run")

    class App:
        srcdir = str(tmp_path)

    paper_pages.write_pages(App())  # type: ignore[arg-type]
    pages = {path.stem: path.read_text() for path in (tmp_path / "paper").iterdir()}
    assert pages.keys() == {*SECTIONS, "index", "claims"} - {"bench"}
    assert (
        r"One \*odd\* \| sentence\_ on R<sub>SGD</sub>, 10<sup>4</sup> &lt;b&gt;." in pages["fig5"]
    )
    verdicts = json.loads((STORED / "claims.json").read_text())["verdicts"]
    assert len(re.findall(r"^## \d+: ", pages["claims"], re.MULTILINE)) == len(verdicts) > 0
    for each in verdicts:
        assert each["verdict"] in WORDS
        assert f"## {each['number']}: {each['verdict']}" in pages["claims"]


def test_a_folder_of_which_something_failed_is_not_stored(tmp_path):
    (tmp_path / "fig5.json").write_text("{}")
    done = subprocess.run(
        [sys.executable, DOCS / "store_run.py", tmp_path], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "fig5" in done.stderr
    assert "was not made" in done.stderr

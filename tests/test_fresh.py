"""What lies in a folder is not made again, unless it is not what would be made."""

from __future__ import annotations

import dataclasses

import pytest

from attnscape.experiments.setting import Plan
from attnscape.paper.artifacts import ARTIFACTS
from attnscape.report.manifest import read_all
from attnscape.workflows import fresh, pipeline

TABLE = ARTIFACTS["table1"]


@pytest.fixture
def folder(tmp_path):
    lines: list[str] = []

    def reproduce(plan=Plan()):  # noqa: B008 - frozen
        lines.clear()
        pipeline.reproduce([TABLE], tmp_path, plan, str, lines.append)
        return "table1: is there already." in lines

    assert not reproduce()
    return tmp_path, reproduce


def test_what_is_there_is_not_made_again(folder):
    path, reproduce = folder
    before = (path / "table1.csv").stat().st_mtime_ns
    assert reproduce()
    assert (path / "table1.csv").stat().st_mtime_ns == before


@pytest.mark.parametrize("damage", ["changed", "deleted"])
def test_what_was_changed_or_deleted_since_is_made_again(folder, damage):
    path, reproduce = folder
    before = (path / "table1.csv").read_text()
    if damage == "changed":
        (path / "table1.csv").write_text(before.replace("5", "6"))
    else:
        (path / "table1.csv").unlink()
    assert not reproduce()
    assert (path / "table1.csv").read_text() == before


def test_other_code_and_another_plan_make_it_again(folder, monkeypatch):
    _, reproduce = folder
    assert not reproduce(Plan(recipe="paper"))
    assert reproduce(Plan(recipe="paper"))
    monkeypatch.setattr(fresh, "code", lambda: "other")
    assert not reproduce(Plan(recipe="paper"))


def test_an_artifact_that_is_not_the_catalogs_is_never_taken_for_it(folder):
    path, _ = folder
    other = dataclasses.replace(TABLE, remark="other")
    assert not fresh.is_fresh(other, Plan(), path, read_all(path)["table1"])


def test_what_failed_is_made_again(folder):
    path, reproduce = folder
    manifest = read_all(path)["table1"]
    dataclasses.replace(manifest, failure="it failed").save(path)
    assert not reproduce()

"""The pipeline: one artifact after the other, and a page over all that was ever made."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from attnscape.cli import _options
from attnscape.cli.commands import report
from attnscape.cli.commands import reproduce as reproduce_command
from attnscape.cli.commands._again import command_line
from attnscape.errors import UsageError
from attnscape.experiments import store
from attnscape.experiments.setting import QUICK
from attnscape.paper import claims, verdict
from attnscape.paper.artifacts import ARTIFACTS
from attnscape.report.agenda import Agenda, AgendaFile
from attnscape.report.made import Made
from attnscape.report.numbers import duration
from attnscape.workflows import pipeline

FIRST, SECOND, THIRD = list(ARTIFACTS.values())[:3]
ALL = (FIRST, SECOND, THIRD)


def fake_make(artifact, out: Path, plan, log, queue) -> Made:
    """Makes an artifact from one result that no training was needed for."""
    dataset = xr.Dataset(
        {"loss": ("seed", np.ones(2))},
        attrs={
            "name": artifact.name,
            "run_id": f"{artifact.name:0>64}",
            "spec": json.dumps({"seeds": [0, 1], "steps": 200}),
            "precision": "float32",
            "kernels": "xla",
            "versions": json.dumps({"python": "3.12.1"}),
            "schema_version": store.SCHEMA_VERSION,
        },
    )
    run = out / f"{artifact.name}.nc"
    store.save(dataset, run)
    csv = out / f"{artifact.name}.csv"
    csv.write_text("seed,loss\n0,1\n")
    frame = pd.DataFrame({"seed": [0], "loss": [1.0]})
    return Made(artifact, "A caption.", frame, None, {"csv": csv}, {"only": dataset}, {"only": run})


Reproduce = Callable[..., pipeline.Reproduced]


@pytest.fixture(autouse=True)
def _no_claims(monkeypatch):
    """The datasets here are made up: there is nothing in them to judge."""
    monkeypatch.setattr(claims, "CLAIMS", {})


@pytest.fixture
def reproduce(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reproduce:
    monkeypatch.setattr(pipeline, "make", fake_make)

    def call(*artifacts, log=lambda line: None):
        return pipeline.reproduce(artifacts, tmp_path, QUICK, "attnscape reproduce {}".format, log)

    return call


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Lets the second artifact fail."""

    def breaking(error: BaseException) -> None:
        def make(artifact, *arguments, queue):
            if artifact is SECOND:
                raise error
            return fake_make(artifact, *arguments, queue)

        monkeypatch.setattr(pipeline, "make", make)
        # As if the code had changed since: what is there already would not be made.
        monkeypatch.setattr(pipeline, "is_fresh", lambda *_: False)

    return breaking


def page(out: Path) -> str:
    return (out / pipeline.write_page(out).name).read_text("utf-8")


def test_the_page_is_there_from_the_first_artifact_on(reproduce: Reproduce, tmp_path: Path):
    seen = []
    reproduce(*ALL, log=lambda line: seen.append((line, (tmp_path / "report.html").exists())))
    starts = [there for line, there in seen if " of 3)" in line]
    assert starts == [False, True, True]
    assert [line.split(" (")[0].split(":")[0] for line, _ in seen] == [
        artifact.name for artifact in ALL for _ in ("start", "end")
    ]


def test_the_page_keeps_what_earlier_calls_made(reproduce: Reproduce, tmp_path: Path):
    reproduce(FIRST)
    reproduce(SECOND)
    assert f'id="{FIRST.name}"' in page(tmp_path)
    assert f'id="{SECOND.name}"' in page(tmp_path)


def test_an_artifact_that_fails_does_not_stop_the_others(reproduce, broken, tmp_path: Path):
    broken(UsageError("The moon is full; wait."))
    lines: list[str] = []
    assert reproduce(*ALL, log=lines.append).failed == [SECOND.name]
    assert f"{SECOND.name}: not made. The moon is full; wait." in lines
    assert "The moon is full; wait." in page(tmp_path)
    assert f'id="{THIRD.name}"' in page(tmp_path)


def test_a_failure_keeps_what_was_made_before(reproduce, broken, tmp_path: Path):
    reproduce(*ALL)
    broken(UsageError("The moon is full; wait."))
    reproduce(SECOND)
    assert page(tmp_path).count("A caption.") == 3
    assert "The moon is full; wait." in page(tmp_path)


def test_a_success_forgets_the_failure_before_it(reproduce, broken, tmp_path: Path, monkeypatch):
    broken(UsageError("The moon is full; wait."))
    reproduce(SECOND)
    monkeypatch.setattr(pipeline, "make", fake_make)
    reproduce(SECOND)
    assert "The moon is full" not in page(tmp_path)


def test_an_interruption_leaves_the_page_of_what_was_made(reproduce, broken, tmp_path: Path):
    broken(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        reproduce(*ALL)
    assert f'id="{FIRST.name}"' in (tmp_path / "report.html").read_text("utf-8")


def test_claims_are_judged_on_all_that_lies_in_the_folder(reproduce, tmp_path: Path, monkeypatch):
    def claim(found):
        numbers = ", ".join(f"{name} {float(found[name]['only'].loss.sum()):g}" for name in found)
        return verdict.Verdict(1, "All is well.", "holds", numbers, "", tuple(found))

    monkeypatch.setattr(claims, "CLAIMS", {claim: ()})
    reproduce(FIRST)
    (judged,) = reproduce(SECOND).verdicts
    assert judged.numbers == f"{FIRST.name} 2, {SECOND.name} 2"
    assert judged.numbers in page(tmp_path)
    assert (tmp_path / "claims.json").is_file()


def test_results_that_were_deleted_since_are_not_judged(reproduce, tmp_path: Path, monkeypatch):
    seen = []

    def claim(found):
        seen.append(list(found))
        return verdict.Verdict(1, "All is well.", "holds", "", "", ())

    monkeypatch.setattr(claims, "CLAIMS", {claim: ()})
    reproduce(FIRST)
    (tmp_path / f"{FIRST.name}.nc").unlink()
    reproduce(SECOND)
    assert seen == [[FIRST.name], [SECOND.name]]


def test_report_rebuilds_the_same_page(reproduce, tmp_path: Path, capsys):
    reproduce(*ALL)
    before = (tmp_path / "report.html").read_text("utf-8")
    (tmp_path / "report.html").unlink()
    report.run(_options.Report(out=tmp_path))
    assert (tmp_path / "report.html").read_text("utf-8") == before
    assert capsys.readouterr().out.strip() == str(tmp_path / "report.html")


def test_report_on_an_empty_folder_says_what_to_do(tmp_path: Path):
    with pytest.raises(UsageError, match="choose another with --out"):
        report.run(_options.Report(out=tmp_path / "nothing"))
    assert not (tmp_path / "nothing").exists()


def test_the_command_makes_the_artifact_in_the_same_way():
    options = _options.Reproduce(quick=True, seeds=4, recipe="paper", out=Path("my results"))
    assert command_line(options, "fig2") == (
        "attnscape reproduce fig2 --quick --recipe paper --seeds 4 --out 'my results'"
    )
    assert command_line(_options.Reproduce(("fig9",)), "fig2") == "attnscape reproduce fig2"


def test_reproduce_ends_with_the_names_of_what_failed(broken, tmp_path: Path, capsys):
    broken(UsageError("The moon is full; wait."))
    with pytest.raises(UsageError, match=SECOND.name):
        reproduce_command.run(
            _options.Reproduce(tuple(artifact.name for artifact in ALL), out=tmp_path)
        )
    assert str(tmp_path / "report.html") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.42, "0.4 s"),
        (12.3, "12 s"),
        (59.7, "1 min 0 s"),
        (185, "3 min 5 s"),
        (7810, "2 h 10 min"),
    ],
)
def test_durations_are_said_in_words(seconds: float, words: str):
    assert duration(seconds) == words


def test_plans_are_kept_whole(reproduce, tmp_path: Path):
    reproduce(FIRST)
    kept = json.loads((tmp_path / f"{FIRST.name}.json").read_text("utf-8"))["plan"]
    assert kept == QUICK.as_json()


class Queue:
    """In place of `RunQueue`: keeps the names of what was added."""

    def __init__(self):
        self.added = []

    def add(self, runs):
        self.added += [run.name for run in runs]


@pytest.fixture
def added(tmp_path):
    """Returns what is computed ahead of some artifacts, and the agenda."""

    def call(artifacts, plan):
        queue, agenda = Queue(), AgendaFile(tmp_path, [each.name for each in artifacts])
        pipeline._add_all(artifacts, plan, queue, agenda)
        runs = Agenda.read(tmp_path).artifacts
        return queue.added, {
            k: r if r is None else [run.name for run in r] for k, r in runs.items()
        }

    return call


def test_all_runs_that_need_no_search_are_computed_ahead_in_order(added):
    artifacts = (ARTIFACTS["fig2"], ARTIFACTS["table1"], ARTIFACTS["fig3"])
    settings = ("setting-1", "setting-2", "setting-3")
    noise = [f"{name}-noise" for name in settings]
    assert added(artifacts, QUICK) == (
        [*settings, *noise], {"fig2": [*settings], "table1": [], "fig3": noise}
    )  # fmt: skip


def test_what_needs_a_search_or_has_own_parts_is_not_computed_ahead(added):
    for plan in dataclasses.replace(QUICK, tune=True), dataclasses.replace(QUICK, own="task mine"):
        assert added((ARTIFACTS["fig2"],), plan) == ([], {"fig2": None})


def test_what_cannot_be_made_is_told_in_its_turn_and_stops_no_other(added):
    broken = dataclasses.replace(ARTIFACTS["tab-condition"], steps=(10**6,))
    settings = ["setting-1", "setting-2", "setting-3"]
    assert added((broken, ARTIFACTS["fig2"]), QUICK) == (
        settings, {"tab-condition": None, "fig2": settings}
    )  # fmt: skip

"""What `attnscape status` says while other processes compute, and what is left of those that ended.

What it says of checkpoints is in `test_checkpoints.py`.
"""

import dataclasses
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from attnscape import Experiment
from attnscape.errors import UsageError
from attnscape.experiments import checkpoints, store
from attnscape.files import Writer
from attnscape.identity import Identity
from attnscape.report.agenda import Agenda, AgendaFile
from attnscape.report.page import render
from attnscape.workflows.status import command_in, runs_in
from tests.checkpoint_support import SMALL, Walk

OTHERS = [dataclasses.replace(SMALL, name=f"other-{seed}", seeds=(seed,)) for seed in (7, 8)]


class Looks(Walk):
    """Looks at the folder before its first step."""

    def __init__(self, look):
        super().__init__()
        self.look = look

    def _walk(self, seed, kept):
        self.look()
        return super()._walk(seed, kept)


def test_a_run_is_under_way_before_its_first_checkpoint_and_then_finished(tmp_path):
    seen = []
    store.load_or_run(Looks(lambda: seen.extend(runs_in(tmp_path))), tmp_path)
    (finished,) = runs_in(tmp_path)
    for run in seen:
        assert (run.state, run.name) == ("under way", finished.name)
        assert (run.done, run.total, run.seconds_left) == (0, 8, None)
    assert len(seen) == 2
    assert finished.state == "finished"
    assert [path.suffix for path in tmp_path.iterdir()] == [".nc"]


def test_another_process_sees_it_and_that_it_was_killed(attnscape, tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-c", BEGINS, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "begun\n"
    said = attnscape("status", "--out", tmp_path)
    child.kill()
    child.communicate()
    assert "under way" in said
    assert "walk-" in said
    assert "1 under way." in said
    assert not list(tmp_path.rglob("*.checkpoint"))
    assert "1 stopped: the same command goes on" in attnscape("status", "--out", tmp_path)
    store.load_or_run(walk := Walk(), tmp_path)
    assert walk.made == 8
    assert [run.state for run in runs_in(tmp_path)] == ["finished"]


BEGINS = """
import sys, time
from attnscape.experiments import store
from tests.checkpoint_support import Walk

class Waits(Walk):
    def _walk(self, seed, kept):
        print("begun", flush=True)
        time.sleep(600)

store.load_or_run(Waits(), sys.argv[1])
"""


def test_a_run_without_checkpoints_is_known_by_its_lock(tmp_path, monkeypatch):
    """One with parts that no other process finds again."""
    seen = []
    identity = Identity({"own": 1}, reasons=("it depends on more than its code",))
    monkeypatch.setattr(Walk, "identity", property(lambda walk: identity))
    agenda = AgendaFile(tmp_path, ["fig2"])
    agenda.add_and_save("fig2", [Walk()])
    planned = command_in(tmp_path).runs

    def look():
        for each in None, planned:
            seen.extend(runs_in(tmp_path, each))

    store.load_or_run(Looks(look), tmp_path / "runs")
    assert [run.state for run in seen] == ["under way"] * 4
    short = Walk().run_id[:16]
    assert [run.name for run in seen[:2]] == [f"(run {short})", f"walk-{short}"]


def test_a_command_that_was_stopped_and_goes_on_is_under_way(tmp_path, monkeypatch):
    """Although the latest checkpoint is that of the process before."""
    monkeypatch.setattr(checkpoints, "_SECONDS", 0.0)
    monkeypatch.setattr(checkpoints, "_TIMES", 1)
    this = Writer.this()
    gone = Writer(this.host, this.process, this.started + 1)
    with monkeypatch.context() as patch:
        patch.setattr(Writer, "this", classmethod(lambda _: gone))
        patch.setattr(Walk, "steps", 3)
        patch.setattr(Walk, "run_id", "a" * 64)
        with pytest.raises(ZeroDivisionError):
            store.load_or_run(Fails(), tmp_path)
        (before,) = runs_in(tmp_path)
    monkeypatch.setattr(Walk, "run_id", "a" * 64)
    assert runs_in(tmp_path)[0].state == "stopped"
    seen = []
    store.load_or_run(Looks(lambda: seen.extend(runs_in(tmp_path))), tmp_path)
    assert seen[0].state == "under way"
    assert seen[0].done == before.done > 0


class Fails(Walk):
    def _walk(self, seed, kept):
        if seed == 1:
            raise ZeroDivisionError
        return super()._walk(seed, kept)


@pytest.fixture
def planned(tmp_path):
    """A folder whose command needs three runs, one of which is finished."""
    store.load_or_run(SMALL, tmp_path / "runs")
    agenda = AgendaFile(tmp_path, ["fig2", "fig3", "rotation", "table1"])
    agenda.add("fig2", [SMALL, *OTHERS])
    agenda.add("rotation", OTHERS)
    agenda.add("table1", [])
    agenda.save()
    return tmp_path


def test_status_lists_what_a_command_will_compute(planned, attnscape):
    said = attnscape("status", "--out", planned)
    rows = [line.split("│")[1:-1] for line in said.splitlines() if "│" in line]
    cells = [[cell.strip() for cell in row] for row in rows]
    assert ["fig2", "1 of 3", "2 left"] in cells
    assert ["fig3", "", "runs not known yet"] in cells
    assert ["rotation", "0 of 2", "2 left"] in cells
    assert ["table1", "0 of 0", "not drawn yet"] in cells
    left = [row for row in cells if row[0] == "left"]
    assert [row[1] for row in left] == [store.file_name(each)[:-3] for each in OTHERS]
    assert [row[2] for row in left] == ["0 of 1,200 steps"] * 2 or all(row[2] for row in left)
    assert "reproduce: under way, began" in said  # this process
    assert "2 left." in said
    assert "1 finished." in said


def test_an_agenda_whose_process_is_gone_is_that_of_a_stopped_command(planned, monkeypatch):
    monkeypatch.setattr("attnscape.files._started", lambda process: 1)
    assert command_in(planned).state == "stopped"
    monkeypatch.setattr("attnscape.files._host", lambda: "0" * 8)
    assert command_in(planned).state == "elsewhere"


def test_the_time_left_is_that_at_the_mean_speed_since_the_command_began(
    planned, attnscape, monkeypatch
):
    """3600 run-steps are finished, and of one of two runs of 1200 those after the first quarter."""
    assert command_in(planned).seconds_left is None  # nothing was made since
    now = time.time()
    agenda = AgendaFile(planned, ["fig2", "fig3"])
    agenda._began = now - 100
    agenda.add_and_save("fig2", [SMALL, *OTHERS])
    monkeypatch.setattr(time, "time", lambda: now)
    assert command_in(planned).seconds_left == pytest.approx(100 * 2400 / 3600)
    kept = checkpoints.CheckpointFolder(planned / "runs", OTHERS[0].run_id, {}, seconds=0.0)
    kept._steps["seed-7"] = 100  # as it would be read from a checkpoint
    kept.describe(["seed-7"], 400, None)
    kept.offer("seed-7", 300, dict)
    assert command_in(planned).seconds_left == pytest.approx(100 * 1500 / 4200)
    said = " ".join(attnscape("status", "--out", planned).split())
    assert "about 36 s of runs left at the mean speed since then, without 1 artifacts" in said
    monkeypatch.setattr("attnscape.files._started", lambda process: 1)
    assert command_in(planned).seconds_left is None  # it was stopped


def test_a_damaged_agenda_is_told(planned, attnscape):
    path = planned / ".agenda.json"
    entries = json.loads(path.read_text())
    path.write_text(json.dumps(entries | {"began": 0.0}))
    with pytest.raises(ValueError, match="it was changed after it was written"):
        Agenda.read(planned)
    with pytest.raises(SystemExit, match=r"cannot be read \(it was changed .*`attnscape reproduc"):
        attnscape("status", "--out", planned)
    assert "The agenda of this folder cannot be read (it was changed" in render(planned)


def test_the_page_says_so_far_where_runs_are_not_all_finished(planned, attnscape):
    attnscape("report", "--out", planned)
    page = (planned / "report.html").read_text()
    assert "So far 1 of 3 runs finished." in page
    assert "So far 0 of 2 runs finished." in page  # beyond the paper's, in a section of its own
    assert page.count("So far") == 2
    for each in OTHERS:
        store.load_or_run(each, planned / "runs")
    assert "So far" not in render(planned)


def test_runs_of_an_unknown_part_do_not_enter_the_agenda(tmp_path, monkeypatch):
    def fails(run):
        raise UsageError("its task cannot be used")

    monkeypatch.setattr(Experiment, "identity", property(fails))
    agenda = AgendaFile(tmp_path, ["fig2"])
    with pytest.raises(UsageError):
        agenda.add_and_save("fig2", [SMALL])
    assert not list(Path(tmp_path).iterdir())

"""The bench on a user's own task, model or table."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from attnscape import LinearTransformer, RegressionTask, train
from attnscape.bench import DEFAULT, SUITE, OwnSetting, own_setting, rank, statistics
from attnscape.cli._options import Bench
from attnscape.cli.commands import bench
from attnscape.errors import UsageError
from attnscape.experiments.setting import Plan
from attnscape.measures import EvaluationLoss, every
from attnscape.models import AttentionTransformer
from attnscape.optimizers import NAMED
from attnscape.tasks import AbsoluteError, Huber, Thresholded, WithLoss, table_task
from attnscape.workflows.members import Members, OwnParts

TASK = """
from attnscape import RegressionTask

def task():
    return RegressionTask(dim=2, context=4, noise=0.5)
"""


def small(key):
    return LinearTransformer.init(key, layers=1, dim=2)


def softmax(key):
    return AttentionTransformer.init(key, layers=1, dim=2)


def test_a_setting_is_named_by_what_task_and_model_compute(tmp_path):
    task = RegressionTask(dim=2, context=4)
    table = tmp_path / "data.csv"
    names = []
    for last in ("6", "7"):
        table.write_text("a,b,y\n1,2,3\n2,1,0\n4,5,6\n0,1,5\n3,2," + last)
        names.append(own_setting("mine", "", table_task(table, "y", context=2)).name)
    names += [
        own_setting("mine", "", each, model).name
        for each, model in [
            (task, None),
            (task, small),
            (task, softmax),
            (dataclasses.replace(task, noise=0.1), None),
        ]
    ]
    assert len(set(names)) == len(names)
    # The same by another way of writing it.
    again = own_setting("mine", "other title", RegressionTask(2, 4, noise=0.0), lambda k: small(k))
    assert again.name == names[3]


def test_curvature_is_measured_where_there_is_a_dense_kernel():
    task = RegressionTask(dim=2)
    with_curvature = [
        len(own_setting("mine", "", *parts).measures) == 3
        for parts in [(task,), (task, softmax), (RegressionTask(dim=6),)]
    ]
    assert with_curvature == [True, False, False]  # at d = 6 there are 216 parameters


@pytest.fixture
def planned(monkeypatch, tmp_path):
    """Runs the command up to the ranking, and returns what would be ranked."""
    (tmp_path / "own.py").write_text(TASK)
    (tmp_path / "own_data.csv").write_text(
        "a,price\n" + "\n".join(f"{i % 7},{i % 5}" for i in range(30))
    )
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path)

    class PlannedError(Exception):
        pass

    def stop(*arguments):
        raise PlannedError(arguments)

    monkeypatch.setattr(bench, "rank", stop)

    def plan(*before, **options):
        if before:
            Members(settings=before[0], own=before[1]).save(tmp_path / "out")
        with pytest.raises(PlannedError) as stopped:
            bench.run(Bench(out=tmp_path / "out", **options))
        _, settings, _, _, command, _, _, own, _, lost, _ = stopped.value.args[0]
        if lost:
            return settings, own, lost
        return settings, own, command((), ())

    return plan


def test_an_own_setting_stands_alone_or_beside_those_asked_for_or_shown(planned):
    (only,), own, command = planned(task="own.py:task")
    assert isinstance(only, OwnSetting)
    assert only.title == "task own.py:task"
    assert only.task == RegressionTask(dim=2, context=4, noise=0.5)
    assert "--task own.py:task" in command
    assert "--settings" not in command
    both, *_ = planned(settings=("sphere",), task="own.py:task")
    assert [setting.name for setting in both] == ["sphere", only.name]
    # A bench remembers its own setting, and settings that are given again replace what it shows.
    shown = ("sphere", only.name)
    assert [s.name for s in planned(shown, own)[0]] == ["sphere", only.name]
    assert planned(shown, own, settings=("setting-1",))[:2] == ([SUITE["setting-1"]], None)
    assert planned((only.name,), own)[0][0].name == only.name
    assert [s.name for s in planned((), None)[0]] == list(DEFAULT)


def test_a_table_is_a_setting_and_its_target_is_named(planned):
    (only,), _, command = planned(table="own_data.csv", target="price")
    assert only.title == "price of table own_data.csv"
    assert only.task.dim == 1
    assert only.name.startswith("own_data.csv-")
    assert "--table own_data.csv --target price" in command


def test_a_loss_is_a_setting_whose_name_and_title_tell_it(planned):
    (only,), own, command = planned(loss="huber:delta=0.5", threshold=True)
    assert only.name.startswith("huber_delta_0.5_threshold-")
    assert only.title == "loss huber:delta=0.5,\nsigns as responses"
    assert only.task == WithLoss(Thresholded(SUITE["setting-1"].task), Huber(0.5))
    assert "--loss huber:delta=0.5 --threshold" in command
    assert planned((only.name,), own)[0][0].name == only.name
    both, *_ = planned(settings=("sphere",), task="own.py:task", loss="absolute")
    assert both[1].title == "task own.py:task,\nloss absolute"
    task = RegressionTask(dim=2, context=4, noise=0.5)
    assert both[1].task == WithLoss(task, AbsoluteError())
    losses = ("huber", "huber:delta=0.5", "squared", "logistic")
    assert len({planned(loss=loss)[0][0].name for loss in losses}) == 4


def test_parts_written_before_losses_were_options_are_read(tmp_path):
    before = Members(settings=("sphere",), own=OwnParts("own.py:task", None, None, None, "/"))
    before.save(tmp_path)
    path = tmp_path / "bench-optimizers.json"
    content = json.loads(path.read_text())
    del content["own"]["loss"], content["own"]["threshold"], content["sha256"]
    path.write_text(json.dumps(content))
    assert Members.read(tmp_path) == before


@pytest.mark.parametrize("broken", ["vanished", "fails", "folder"])
def test_an_own_setting_that_cannot_be_made_any_more_stops_no_other(broken, planned, tmp_path):
    file = tmp_path / "own.py"
    (only,), own, _ = planned(task="own.py:task")
    if broken == "vanished":
        file.unlink()
    elif broken == "fails":
        file.write_text("def task():\n    raise ValueError('no data to-day')")
    else:
        own = dataclasses.replace(own, folder=str(tmp_path / "nowhere"))
    settings, kept, (sentence,) = planned(("sphere", only.name), own)
    assert settings == [SUITE["sphere"]]
    assert kept == own  # the next call looks for it again
    assert "The folder's own setting (task own.py:task) is left out" in sentence
    reason = {"vanished": "no file", "fails": "no data to-day", "folder": "nowhere"}[broken]
    assert reason in sentence
    with pytest.raises(UsageError, match=r"left out.* has no other setting"):
        planned((only.name,), own)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--task", "a.py:b", "--table", "c.csv"], "--task replaces --table"),
        (["--target", "price"], "--target names the column 'price' of no table"),
        (["--task", "nowhere.py:task"], "There is no file"),
        (["--loss", "hubert"], "--loss is 'hubert'; it must be squared"),
    ],
)
def test_mistakes_are_answered_before_anything_runs(words, sentence, attnscape, tmp_path):
    with pytest.raises(SystemExit, match=sentence):
        attnscape("bench", *words, "--out", tmp_path)


def test_a_baseline_is_not_given_again():
    with pytest.raises(UsageError, match="adam is a baseline"):
        rank({"adam": NAMED["adam"]})


@pytest.mark.parametrize("number", [{"seeds": 0}, {"steps": 0}, {"seeds": -1}])
def test_rank_takes_no_zero_for_its_defaults(number):
    with pytest.raises(UsageError, match=r"(seeds|steps) is (0|-1); it must be at least 1\."):
        rank({}, RegressionTask(dim=2), **number)


def test_from_python_and_from_the_command_line_come_the_same_numbers(attnscape, tmp_path):
    (tmp_path / "own.py").write_text(TASK)
    words = ("--seeds", 2, "--steps", 20, "--out", tmp_path / "out")
    attnscape("bench", "--task", tmp_path / "own.py:task", *words)
    written = pd.read_csv(tmp_path / "out" / "bench.csv")
    (name,) = written["setting"].unique()
    manifest = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert f"{name}: task own.py:task; the digits name" in manifest["caption"]
    task = RegressionTask(dim=2, context=4, noise=0.5)
    frame = rank({}, task, seeds=2, steps=20, runs=tmp_path / "out" / "runs")
    assert frame["setting"].unique().tolist() == [f"own-{name.partition('-')[2]}"]
    order = ["optimizer", "phase", "learning_rate", "seed"]
    one, other = (each.drop(columns="setting").sort_values(order) for each in (frame, written))
    pd.testing.assert_frame_equal(one, other.set_index(one.index), check_dtype=False)
    # The engine's own numbers, at the rate that was found.
    report = frame.query("optimizer == 'adam' and phase == 'report'")
    rate = report["learning_rate"].iloc[0]
    model = own_setting("own", "", task).model(Plan())
    dataset = train(
        task,
        model,
        {"adam": NAMED["adam"]},
        {"adam": (rate,)},
        seeds=(0, 1),
        steps=20,
        measures=(EvaluationLoss(every(10)),),
    )
    losses = dataset["loss"].isel(optimizer=0, learning_rate=0).transpose("seed", "step")
    np.testing.assert_allclose(report["loss"], statistics.loss_at_budget(losses.values), rtol=1e-6)


def test_a_loss_gives_the_same_numbers_from_python_and_from_the_command_line(attnscape, tmp_path):
    (tmp_path / "own.py").write_text(TASK)
    words = ("--seeds", 1, "--steps", 4, "--out", tmp_path / "out")
    own = ("--task", tmp_path / "own.py:task", "--loss", "absolute", "--threshold")
    attnscape("bench", *own, *words)
    written = pd.read_csv(tmp_path / "out" / "bench.csv")
    task = RegressionTask(dim=2, context=4, noise=0.5)
    runs = tmp_path / "out" / "runs"
    there = set(runs.iterdir())
    frame = rank({}, task, loss=AbsoluteError(), threshold=True, seeds=1, steps=4, runs=runs)
    assert set(runs.iterdir()) == there  # they are the same runs, not only the same numbers
    by = ["optimizer", "phase", "learning_rate", "seed"]
    both = [each.sort_values(by).reset_index(drop=True) for each in (frame, written)]
    pd.testing.assert_frame_equal(both[0][[*by, "loss"]], both[1][[*by, "loss"]], check_dtype=False)

"""Batch sizes as a dim, and training on the full batch: from Python and from the command line."""

import sys
from functools import partial

import numpy as np
import pytest

from attnscape import Experiment, LinearTransformer, RegressionTask, load, train
from attnscape.cli.main import main
from attnscape.errors import UsageError
from attnscape.experiments import store
from attnscape.experiments.summary import summary
from attnscape.experiments.sweep import BatchSweep
from attnscape.measures import EvaluationLoss, Parameters, at
from attnscape.optimizers import adam, sgdm
from attnscape.tasks import FixedPrompts, Huber, WithLoss
from attnscape.training import sizes
from attnscape.workflows.cost import Cost

TASK = RegressionTask(dim=2, context=3)
MODEL = partial(LinearTransformer.init, layers=1, dim=2)
TRAINED = partial(
    train, TASK, MODEL, {"sgdm": sgdm, "adam": adam}, {"sgdm": (0.1, 0.2), "adam": 0.1}, (0, 1),
    steps=4, measures=(EvaluationLoss(at(0, 4)), Parameters(at(4))), evaluation_batch=8,
)  # fmt: skip
RUNS = ("optimizer", "learning_rate", "batch", "seed")
COMMAND = ["train", "--dim", "2", "--layers", "1", "--steps", "3", "--seeds", "2"]
SIZES = ["--context", "3", "--evaluation-batch", "8"]


@pytest.fixture
def attnscape(monkeypatch, tmp_path, capsys):
    """Runs a command line in an empty folder; returns what it prints."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["attnscape", *COMMAND, *words])
        main()
        return capsys.readouterr().out

    return run


def test_each_batch_size_has_the_numbers_that_it_has_alone():
    together = TRAINED(batch=[16, 5])
    assert together["loss"].dims == (*RUNS, "step")
    assert together["status"].dims == RUNS
    assert together["batch"].values.tolist() == together.attrs["batch"] == [16, 5]
    for size in (16, 5):
        assert together.sel(batch=size, drop=True).equals(TRAINED(batch=size))


def test_one_batch_size_in_a_sequence_has_the_dim_too():
    assert TRAINED(batch=(5,)).sizes["batch"] == 1
    assert "batch" not in TRAINED(batch=5).dims


def test_progress_counts_all_batch_sizes():
    seen = []
    TRAINED(batch=[5, 6, 7], progress=lambda done, total: seen.append((done, total)))
    work = 3 * 3 * 2 * 4  # batch sizes, rates, seeds, steps
    assert {total for _, total in seen} == {work}
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert (seen[0][0], seen[-1][0]) == (0, work)


def test_the_estimate_counts_all_batch_sizes():
    estimated = partial(
        sizes.estimate, TASK, MODEL, runs=2, seeds=(0,), steps=9, measures=(EvaluationLoss(),)
    )
    few, many, both = (estimated(batch=batch) for batch in (10, 1000, (10, 1000)))
    assert both.seconds == pytest.approx(few.seconds + many.seconds)
    record = "The record of what is measured"
    assert both.memory[record] == few.memory[record] + many.memory[record]
    assert both.memory["A batch of 1000 prompts"] == many.memory["A batch of 1000 prompts"]


@pytest.mark.parametrize(
    ("batch", "sentence"),
    [
        ([5, 5], r"batch is \[5, 5\]; give at least one size, and none twice"),
        ([], r"batch is \[\]; give at least one"),
        ([5, 0], "batch is 0; it must be a whole number of at least 1"),
        ([5, 2.5], "batch is 2.5; it must be a whole number"),
        ([5, 10**12], "batch is 1000000000000; it must be at most 2147483647"),
    ],
)
def test_mistakes_are_found_before_the_first_training(batch, sentence, unchecked):
    def never(done, total):
        raise AssertionError

    with pytest.raises(UsageError, match=sentence):
        TRAINED(batch=batch, progress=never)


def test_a_summary_has_one_row_for_each_batch_size():
    together = TRAINED(batch=[16, 5])
    table = summary(together)
    assert table.columns[:3].tolist() == ["optimizer", "learning_rate", "batch"]
    for size in (16, 5):
        alone = summary(TRAINED(batch=size))
        mine = table[table["batch"] == size].drop(columns="batch").reset_index(drop=True)
        assert mine.equals(alone)


def test_a_sweep_finds_what_was_trained_before(tmp_path, monkeypatch):
    experiment = Experiment(
        "one", TASK, MODEL, {"sgdm": sgdm}, {"sgdm": (0.1,)}, (0, 1), 3, evaluation_batch=8
    )
    sweep = BatchSweep(experiment, (4, 6))
    alone = store.load_or_run(sweep.experiments[0], tmp_path)
    result = sweep.load_or_run(tmp_path)
    assert result.sel(batch=4, drop=True).equals(alone)
    assert load(sweep.path(tmp_path)).identical(load(sweep.path(tmp_path)))
    assert load(sweep.path(tmp_path)).equals(result)
    assert result.attrs["run_ids"] == [each.run_id for each in sweep.experiments]
    assert result.attrs["run_id"] == sweep.run_id != BatchSweep(experiment, (6, 4)).run_id
    monkeypatch.setattr(Experiment, "run", None)  # nothing is trained any more
    assert sweep.load_or_run(tmp_path).equals(result)


@pytest.mark.parametrize("batches", [(), (4, 4), (4, 0)])
def test_a_sweep_refuses_sizes_that_are_none(batches):
    experiment = Experiment("one", TASK, MODEL, {"sgdm": sgdm}, {"sgdm": (0.1,)}, (0,), 3)
    with pytest.raises(UsageError, match="give at least one, none twice and none below 1"):
        BatchSweep(experiment, batches)


def test_the_command_line_writes_each_batch_size_and_all(attnscape):
    words = attnscape(*SIZES, "--batch", "4", "6", "--measure", "parameters")
    paths = dict(line.split(": ") for line in words.splitlines() if line.endswith(".nc"))
    assert list(paths) == ["batch 4", "batch 6", "all batch sizes"]
    together = load(paths["all batch sizes"])
    assert together["loss"].dims == (*RUNS, "step")
    for size in (4, 6):
        alone = load(paths[f"batch {size}"])
        assert together.sel(batch=size, drop=True).equals(alone)
    python = train(
        TASK, MODEL, ["sgdm", "adam"], 0.02, (0, 1), steps=3, batch=[4, 6], evaluation_batch=8,
        measures=(EvaluationLoss(at(0, 3)),),
    )  # fmt: skip
    np.testing.assert_array_equal(together["loss"], python["loss"])
    # Each size has its row, in a table that names the column.
    assert "batch" in words
    assert (
        attnscape(*SIZES, "--batch", "4", "--measure", "parameters").splitlines()[-1]
        == (paths["batch 4"])
    )
    started = attnscape(
        *SIZES, "--batch", "4", "--start",
        f"{paths['all batch sizes']}:batch=6,optimizer=adam",
    )  # fmt: skip
    loss = load(started.splitlines()[-1])["loss"].sel(step=0)
    last = together["loss"].sel(optimizer="adam", learning_rate=0.02, batch=6, step=3)
    np.testing.assert_array_equal(loss.sel(optimizer="sgdm", learning_rate=0.02), last)


def test_without_a_batch_size_all_is_as_it_was(attnscape):
    path = attnscape(*SIZES).splitlines()[-1]
    assert attnscape(*SIZES, "--batch", "1000").splitlines()[-1] == path
    assert load(path).attrs["batch"] == 1000


def test_the_full_batch_is_trained_without_noise_on_what_it_is_evaluated_on(attnscape):
    words = attnscape("--context", "3", "--full-batch", "12", "--loss", "huber", "--batch", "5")
    paths = dict(line.split(": ") for line in words.splitlines() if line.endswith(".nc"))
    assert list(paths) == ["batch 5", "batch 12", "all batch sizes"]
    full = load(paths["batch 12"])
    assert full.attrs["training_set"].startswith("12 prompts drawn once with seed 0, the same for")
    # The loss before each update is that of the next batch, which is the whole set.
    np.testing.assert_allclose(full["training_loss"], full["loss"], rtol=1e-6)
    task = WithLoss(FixedPrompts(TASK, 12), Huber())
    python = train(
        task, MODEL, ["sgdm", "adam"], 0.02, (0, 1), steps=3, batch=[5, 12], evaluation_batch=12
    )
    np.testing.assert_array_equal(load(paths["all batch sizes"])["loss"], python["loss"])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--batch", "4", "4"], "--batch 4 was given twice"),
        (["--batch", "4", "0"], "--batch is 0; it must be at least 1"),
        (["--full-batch", "0"], "--full-batch is 0; it must be at least 1"),
        (["--full-batch", "9", "--batch", "9"], "--batch 9 is no part of the 9 prompts"),
        (["--full-batch", "9", "--evaluation-batch", "9"], "--full-batch replaces --evaluation-ba"),
        (["--full-batch", "9", "--evaluation-seed", "1"], "--full-batch replaces --evaluation-see"),
    ],
)
def test_mistakes_on_the_command_line_are_told(words, sentence, attnscape):
    with pytest.raises(SystemExit, match=sentence):
        attnscape(*words)


def test_a_part_that_is_compiled_first_does_not_look_slow():
    lines, now = [], [0.0]
    cost = Cost(lines.append, clock=lambda: now[0])
    first = [(0, 0), (5, 1), (0.1, 5000)]
    compiled, then = [(0, 5000), (4, 5001), (4, 5002)], [(1.5, 7500), (1.5, 9900)]
    for seconds, done in [*first, *compiled, *then]:
        now[0] += seconds
        cost(done, 10_000)
    assert lines == []

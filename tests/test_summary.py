"""The summary of a result: medians over seeds with their intervals, diverged runs counted."""

import functools

import numpy as np
import pytest

from attnscape import LinearTransformer, RegressionTask, load, train
from attnscape.estimators import median
from attnscape.experiment import Experiment
from attnscape.measures import EvaluationLoss, at
from attnscape.optimizers import sgdm
from attnscape.results import obtain

MODEL = functools.partial(LinearTransformer.init, layers=1, dim=2)
TASK = RegressionTask(dim=2, context=3)
RATES = {"slow": [0.01], "fast": [0.01, 1e30]}


@pytest.fixture(scope="module")
def result():
    return train(
        TASK, MODEL, {"slow": sgdm, "fast": sgdm}, RATES, range(6), steps=6, batch=8,
        evaluation_batch=8, clip=None, measures=(EvaluationLoss(at(0, 4)),),
    )  # fmt: skip


def test_a_row_a_run_group_with_the_median_and_its_interval(result):
    summary = result.attnscape.summary()
    groups = list(zip(summary.optimizer, summary.learning_rate, strict=True))
    assert groups == [("slow", 0.01), ("fast", 0.01), ("fast", 1e30)]
    # Step 6 was not measured: the last measured loss is that of step 4.
    losses = result.loss.sel(optimizer="slow", learning_rate=0.01, step=4).values.astype(float)
    interval = median(losses)
    row = summary.iloc[0]
    assert (row.loss, row.low, row.high) == (interval.estimate, interval.low, interval.high)
    assert (row.smallest, row.largest, row.runs) == (losses.min(), losses.max(), 6)
    assert row.loss == np.median(losses)
    assert row.diverged == 0


def test_diverged_runs_count_as_infinite(result):
    row = result.attnscape.summary().iloc[2]
    assert (row.loss, row.diverged) == (np.inf, 1)
    assert (row.low, row.high) == (np.inf, np.inf)


def test_notebooks_show_the_summary(result):
    html = result.attnscape._repr_html_()
    assert html.count("<tr") == 1 + 3
    assert f"{result.attnscape.summary().loss[0]:.4g}" in html


def test_a_result_that_was_read_has_the_same_summary(tmp_path):
    experiment = Experiment("e", TASK, MODEL, {"sgdm": sgdm}, {"sgdm": [0.01]}, (0, 1), 3)
    written = obtain(experiment, tmp_path)
    read = load(next(tmp_path.glob("e-*.nc")))
    assert read.attnscape.summary().equals(written.attnscape.summary())


def test_no_loss_of_before_stands_in_where_all_runs_diverged(result):
    lost = result.sel(optimizer=["fast"], learning_rate=[1e30])
    row = lost.attnscape.summary().iloc[0]
    assert (row.loss, row.smallest, row.diverged) == (np.inf, np.inf, 1)

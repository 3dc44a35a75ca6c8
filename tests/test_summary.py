"""The summary of a result: medians over seeds with their intervals, diverged runs counted."""

import functools
import json
import subprocess
import sys

import numpy as np
import pytest

from attnscape import LinearTransformer, RegressionTask, load, save, train
from attnscape.errors import UsageError
from attnscape.experiments.experiment import Experiment
from attnscape.experiments.store import load_or_run
from attnscape.measures import EvaluationLoss, at
from attnscape.optimizers import sgdm
from attnscape.statistics import median

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
    ends = (interval.estimate, interval.low, interval.high)
    np.testing.assert_array_equal((row.loss, row.low, row.high), ends)
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
    written = load_or_run(experiment, tmp_path)
    read = load(next(tmp_path.glob("e-*.nc")))
    assert read.attnscape.summary().equals(written.attnscape.summary())


def test_no_loss_of_before_stands_in_where_all_runs_diverged(result):
    lost = result.sel(optimizer=["fast"], learning_rate=[1e30])
    row = lost.attnscape.summary().iloc[0]
    assert (row.loss, row.smallest, row.diverged) == (np.inf, np.inf, 1)


def test_where_all_runs_diverged_before_any_measurement_the_summary_says_so():
    lost = train(
        TASK, MODEL, ["sgdm"], 1e30, (0, 1), steps=6, batch=8, evaluation_batch=8, clip=None,
        measures=(EvaluationLoss(at(5)),),
    )  # fmt: skip
    row = lost.attnscape.summary().iloc[0]
    assert (row.step, row.loss, row.smallest, row.diverged) == (6, np.inf, np.inf, 1)
    assert np.isnan([row.low, row.high]).all()


def test_a_summary_without_a_loss_is_refused_with_what_it_is_made_of(result):
    with pytest.raises(UsageError, match="Dataset has no loss; a summary is made of what train"):
        result.drop_vars("loss").attnscape.summary()


def test_of_several_evaluation_batches_each_seeds_median_counts():
    several = train(
        TASK, MODEL, ["sgdm"], 0.01, range(5), steps=2, batch=8, evaluation_batch=8,
        evaluation_seeds=(0, 1, 2), measures=(EvaluationLoss(at(2)),),
    )  # fmt: skip
    row = several.attnscape.summary().iloc[0]
    losses = several.loss.isel(optimizer=0, learning_rate=0, step=-1)
    assert row.loss == np.median(np.median(losses.values.astype(float), axis=1))


@pytest.mark.parametrize("engine", [None, "h5netcdf", "scipy"])
def test_what_train_gives_can_be_saved_and_loaded(result, tmp_path, engine):
    if engine:
        result.to_netcdf(tmp_path / "plain.nc", engine=engine)
    else:
        save(result, tmp_path / "plain.nc")
    read = load(tmp_path / "plain.nc")
    assert read.attnscape.summary().equals(result.attnscape.summary())
    assert (read.attrs["steps"], read.attrs["batch"], read.attrs["clip"]) == (6, 8, "none")
    assert json.loads(read.attrs["versions"])["numpy"] == np.__version__


def test_the_accessor_is_there_however_the_dataset_came_and_costs_no_import():
    script = (
        "import sys, attnscape; assert 'xarray' not in sys.modules;"
        "import xarray; assert hasattr(xarray.Dataset, 'attnscape');"
        "assert 'jax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    script = "import xarray, attnscape; assert hasattr(xarray.Dataset, 'attnscape')"
    subprocess.run([sys.executable, "-c", script], check=True)

"""Figure 2, made at a tiny scale: the files, their columns, and the same bytes every time."""

import dataclasses
import shutil

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.figure import Figure

from attnscape.experiments import store
from attnscape.experiments.experiment import Experiment
from attnscape.experiments.setting import Plan
from attnscape.measures import EvaluationLoss
from attnscape.paper.artifacts import ARTIFACTS
from attnscape.report.draw import loss_curves
from attnscape.workflows.make import make

# Of what Figure 2 measures, only what it shows, and two of its settings: the rest takes long to
# compile.
SETTINGS = [
    dataclasses.replace(s, measures=(EvaluationLoss(),), batch=100)
    for s in ARTIFACTS["fig2"].settings[:2]
]
FIG2 = dataclasses.replace(ARTIFACTS["fig2"], settings=tuple(SETTINGS), losses_only=False)
TINY = Plan(seeds=2, steps=100)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("made")


@pytest.fixture(scope="module")
def made(folder):
    return make(FIG2, folder, TINY, lambda _: None)


def test_an_artifact_is_png_pdf_csv_and_caption(made, folder):
    assert made.files == {suffix: folder / f"fig2.{suffix}" for suffix in made.files}
    assert made.files.keys() >= {"png", "pdf", "csv", "txt"}
    assert made.files["png"].read_bytes().startswith(b"\x89PNG")
    assert made.files["pdf"].read_bytes().startswith(b"%PDF")


def test_the_csv_has_a_row_a_measured_loss(made):
    frame = pd.read_csv(made.files["csv"])
    assert list(frame) == [
        "setting",
        "optimizer",
        "learning_rate",
        "seed",
        "step",
        "evaluation",
        "loss",
    ]
    assert len(frame) == 2 * 2 * 2 * 3 * 8  # settings, optimizers, seeds, steps, batches
    assert set(frame["step"]) == {0, 50, 100}
    setting = frame[(frame["setting"] == "setting-2") & (frame["optimizer"] == "adam")]
    assert set(setting["learning_rate"]) == {0.005}
    assert np.isfinite(frame["loss"]).all()


def test_the_caption_says_what_the_lines_and_bands_are(made):
    caption = made.files["txt"].read_text()
    for words in ("100 steps", "2 seeds", "mean over seeds (lines)", "smallest to largest seed"):
        assert words in caption


def test_the_second_time_nothing_is_trained_and_the_files_are_the_same(made, folder, monkeypatch):
    before = {path: path.read_bytes() for path in made.files.values()}
    monkeypatch.setattr(Experiment, "run", lambda *_: pytest.fail("trained again"))
    again = make(FIG2, folder, TINY, lambda line: pytest.fail(line))
    assert {path: path.read_bytes() for path in again.files.values()} == before


def test_training_again_gives_the_same_numbers(made, tmp_path):
    said = []
    only = dataclasses.replace(FIG2, settings=(SETTINGS[1],))
    again = make(only, tmp_path, TINY, said.append)
    assert said == ["fig2: running setting-2, 400 run-steps"]
    header, *lines = again.files["csv"].read_text().splitlines()
    first = made.files["csv"].read_text().splitlines()
    assert [header, *lines] == [
        line for line in first if line.startswith(("setting,", "setting-2"))
    ]
    (key,) = again.runs
    xr.testing.assert_identical(store.load(again.runs[key]), store.load(made.runs[key]))


def test_curves_end_where_a_run_diverges():
    losses = {0: [4.0, 2.0, 1.0], 1: [8.0, np.nan, np.nan]}
    frame = pd.DataFrame(
        [
            ("sgdm", 0.1, seed, step, 0, loss)
            for seed in losses
            for step, loss in enumerate(losses[seed])
        ],
        columns=["optimizer", "learning_rate", "seed", "step", "evaluation", "loss"],
    )
    axis = Figure().subplots()
    loss_curves.panel(axis, frame)
    np.testing.assert_array_equal(axis.lines[0].get_ydata(), [6, np.nan, np.nan])


def test_a_figure_does_not_depend_on_the_rc_of_who_makes_it(made, folder, tmp_path):
    shutil.copytree(folder / "runs", tmp_path / "runs")  # nothing is trained again
    own = {"text.usetex": True, "lines.linewidth": 9, "savefig.dpi": 7, "axes.facecolor": "red"}
    with mpl.rc_context(own):
        again = make(FIG2, tmp_path, TINY, lambda _: None)
    for suffix in ("png", "pdf"):
        assert again.files[suffix].read_bytes() == made.files[suffix].read_bytes()


@pytest.mark.parametrize("one_scale", [False, True])
def test_no_loss_of_the_first_batch_lies_outside_its_panel(one_scale):
    steps = np.arange(0, 1001, 100)
    rows = [
        {"setting": setting, "optimizer": "adam", "learning_rate": 0.1, "seed": seed}
        | {"step": step, "evaluation": evaluation, "loss": loss * (1e6 if evaluation else 1)}
        for setting, loss in (("high", 1.0), ("low", 1e-6))
        for seed in range(2)
        for step in steps
        for evaluation in range(2)
    ]
    frame = pd.DataFrame(rows)
    drawn = loss_curves.figure(frame, {"high": "", "low": ""}, one_scale=one_scale)
    for axis, loss in zip(drawn.axes, (1.0, 1e-6), strict=True):
        low, high = axis.get_ylim()
        assert low < loss < high

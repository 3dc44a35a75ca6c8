"""Figures of directional smoothness: their numbers, and what becomes of negative values."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.figure import Figure

from attnscape.experiments.setting import Plan
from attnscape.measures import DirectionalSmoothness
from attnscape.paper.settings import SETTING_1, SETTING_2
from attnscape.paper.smoothness import FIG5, FIG16, ScatterAnalysis, negative_shares
from attnscape.report.draw import smoothness
from attnscape.report.made import Made
from attnscape.training import Status
from attnscape.workflows.make import make

_SETTINGS = tuple(
    dataclasses.replace(setting, measures=(DirectionalSmoothness(),), batch=100)
    for setting in (SETTING_1, SETTING_2)
)
_L0, _L1 = 2.0, 3.0


def _dataset(smoothness: np.ndarray, norm: np.ndarray) -> xr.Dataset:
    """The result of runs (optimizer, seed, step) at one learning rate."""
    dims = ("optimizer", "learning_rate", "seed", "step")
    status = np.full((len(smoothness), 1, smoothness.shape[1]), Status.finished)
    return xr.Dataset(
        {
            "directional_smoothness": (dims, smoothness[:, None]),
            "evaluation_gradient_norm": (dims, norm[:, None]),
            "status": (dims[:3], status),
        },
        {
            "optimizer": ["adam", "sgdm"][: len(smoothness)],
            "learning_rate": [0.02],
            "seed": range(smoothness.shape[1]),
            "step": range(smoothness.shape[2]),
        },
    )


@pytest.fixture(scope="module")
def line() -> xr.Dataset:
    """Smoothness L0 + L1 |gradient| with noise that makes some values negative; 3 seeds."""
    rng = np.random.default_rng(0)
    norm = rng.exponential(1, (1, 3, 400))
    return _dataset(_L0 + _L1 * norm + 2 * rng.standard_normal(norm.shape), norm)


@pytest.fixture(scope="module")
def fitted(line: xr.Dataset) -> ScatterAnalysis:
    return FIG16.analyse({"setting-1": line})


@pytest.fixture(scope="module")
def curves(tmp_path_factory: pytest.TempPathFactory) -> Made:
    artifact = dataclasses.replace(FIG5, settings=_SETTINGS[:1])
    plan = Plan(seeds=2, steps=200, evaluations=2)
    return make(artifact, tmp_path_factory.mktemp("curves"), plan, print)


@pytest.fixture(scope="module")
def scatter(tmp_path_factory: pytest.TempPathFactory) -> Made:
    artifact = dataclasses.replace(FIG16, settings=_SETTINGS[1:])
    plan = Plan(seeds=2, steps=60, evaluations=2)
    return make(artifact, tmp_path_factory.mktemp("scatter"), plan, print)


def test_makes_all_files(curves: Made, scatter: Made):
    for made in (curves, scatter):
        assert set(made.files) == {"csv", "txt", "png", "pdf"}
        assert all(path.stat().st_size > 0 for path in made.files.values())


def test_curves_have_a_row_a_run_and_measured_step(curves: Made):
    frame = pd.read_csv(curves.files["csv"])
    assert list(frame.columns) == [
        "setting",
        "optimizer",
        "learning_rate",
        "seed",
        "step",
        "evaluation",
        "directional_smoothness",
    ]
    assert len(frame) == 2 * 2 * 5 * 2  # optimizers, seeds, steps, batches
    assert set(frame["step"]) == {0, 50, 100, 150, 200}


def test_scatter_measures_adam_at_every_step_of_every_seed(scatter: Made):
    frame = scatter.frame
    assert set(frame["optimizer"]) == {"adam"}
    assert frame.groupby(["seed", "evaluation"])["step"].apply(list).to_dict() == {
        (seed, batch): list(range(61)) for seed in (0, 1) for batch in range(2)
    }
    assert frame[["evaluation_gradient_norm", "directional_smoothness"]].notna().all(axis=None)


def test_scatter_stops_at_step_2000():
    (experiment, *_) = FIG16.experiments(Plan()).values()
    assert experiment.steps == 2_000
    assert experiment.seeds == tuple(range(6))


def test_measuring_every_step_sees_the_same_run_as_every_50th(curves: Made):
    artifact = dataclasses.replace(FIG16, settings=_SETTINGS[:1])
    (experiment,) = artifact.experiments(Plan(seeds=2, steps=100, evaluations=2)).values()
    every = experiment.run()["directional_smoothness"].sel(optimizer="adam")
    some = curves.results["setting-1"]["directional_smoothness"].sel(optimizer="adam")
    for step in (0, 50, 100):
        np.testing.assert_array_equal(every.sel(step=step), some.sel(step=step))


def test_shares_of_negative_values_are_counted_over_what_was_measured():
    values = np.array([[[1.0, -1.0, 2.0, np.nan]], [[-1.0, -1.0, 1.0, 1.0]]])
    frame = FIG5.analyse({"setting-1": _dataset(values, np.ones_like(values))}).frame
    assert negative_shares(frame) == "setting-1 adam 33.3%, sgdm 50.0%"


def test_curves_mark_negative_steps_below():
    values = np.array([[[1.0, -1.0, 2.0, -3.0]]])
    frame = FIG5.analyse({"setting-1": _dataset(values, np.ones_like(values))}).frame
    axis = Figure().subplots()
    smoothness.curves_panel(axis, frame)
    (ticks,) = (line for line in axis.lines if line.get_marker() == "|")
    np.testing.assert_array_equal(ticks.get_xdata(), [1, 3])


def test_fit_finds_the_line(fitted: ScatterAnalysis):
    fit = fitted.growth["setting-1"].fit
    assert fit.least_squares.L0.covers(_L0)
    assert fit.least_squares.L1.covers(_L1)
    assert fit.envelope.share_above == pytest.approx(0.05, abs=0.01)


def test_scatter_counts_negative_points_and_draws_every_point_once(
    line: xr.Dataset, fitted: ScatterAnalysis
):
    artifact = dataclasses.replace(FIG16, settings=_SETTINGS[:1])
    fit = fitted.growth["setting-1"].fit
    values = line["directional_smoothness"].sel(seed=0)
    negative = int((values < 0).sum())
    assert negative > 5
    assert fit.negative == negative
    axis = Figure().subplots()
    smoothness.scatter_panel(axis, fitted.frame, fit, 400)
    drawn = [np.asarray(points.get_offsets()).shape[0] for points in axis.collections]
    assert drawn == [values.size - negative, negative]
    assert f"{negative} of 400 points are negative" in artifact.caption(fitted, Plan())


def test_comparison_has_the_fits_and_the_growth_over_seeds(fitted: ScatterAnalysis):
    table = FIG16.comparison(fitted).set_index("quantity")
    assert table.loc["L1, least squares", "ours"] == pytest.approx(_L1, rel=0.1)
    growth = table.loc["rank correlation, mean over seeds and batches"]
    assert 0 < growth["ours"] < 1
    assert np.isnan(growth["low"])  # of three seeds

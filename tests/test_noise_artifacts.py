"""Figures of gradient noise: their numbers, and tail statistics on noise of known law."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.figure import Figure
from scipy import stats

from attnscape.experiments.setting import Plan
from attnscape.measures import GradientNoise
from attnscape.paper.noise import FIG3, NoiseHistograms, Tails, noise_of_seeds, noise_tails
from attnscape.paper.settings import SETTING_1, SETTING_3
from attnscape.report.draw import noise
from attnscape.report.made import Made
from attnscape.statistics import GaussianNorm
from attnscape.workflows.make import make

_SPREAD = 1 / np.arange(1, 21)  # eigenvalues of the synthetic covariance
_SAMPLES = 5_000


def _dataset(noise: np.ndarray) -> xr.Dataset:
    """The result that holds noise vectors (seed, sample, parameter)."""
    covariance = np.einsum("nsi,nsj->nij", noise, noise) / noise.shape[1]
    dims = ("optimizer", "learning_rate", "seed", "step", "batch_size")
    place = (None, None, slice(None), None, None)
    return xr.Dataset(
        {
            "noise_norm": ((*dims, "sample"), np.linalg.norm(noise, axis=-1)[place]),
            "noise_covariance_eigenvalues": (
                (*dims, "eigenvalue"),
                np.linalg.eigvalsh(covariance)[place],
            ),
        },
        {"seed": range(len(noise)), "step": [0], "batch_size": [1000]},
    )


def _tails(noise: np.ndarray) -> Tails:
    return noise_tails(noise_of_seeds(_dataset(noise)))


@pytest.fixture(scope="module")
def gaussian() -> np.ndarray:
    """Gaussian noise of two seeds, the second ten times as large."""
    z = np.random.default_rng(0).standard_normal((2, _SAMPLES, _SPREAD.size)) * _SPREAD**0.5
    return z * np.array([1, 10])[:, None, None]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    settings = tuple(dataclasses.replace(s, batch=50) for s in (SETTING_1, SETTING_3))
    small = dataclasses.replace(FIG3, settings=settings)
    return make(small, tmp_path_factory.mktemp("noise"), Plan(seeds=2, steps=200), print)


def test_makes_all_files(made: Made):
    assert set(made.files) == {"csv", "txt", "png", "pdf"}
    assert all(path.stat().st_size > 0 for path in made.files.values())


def test_frame_has_a_row_a_stochastic_gradient(made: Made):
    frame = pd.read_csv(made.files["csv"])
    assert list(frame.columns) == [
        "setting",
        "seed",
        "sample",
        "noise_norm",
        "normal_quantile",
        "gaussian_norm_quantile",
    ]
    sizes = frame.groupby(["setting", "seed"]).size()
    assert sizes.to_dict() == {(s, n): 200 for s in ("setting-1", "setting-3") for n in (0, 1)}


def test_frame_holds_the_norms_of_the_run_and_the_quantiles_of_probplot(made: Made):
    run = made.results["setting-3"]["noise_norm"].sel(seed=1).squeeze().values
    frame = made.frame.query("setting == 'setting-3' and seed == 1")
    (quantiles, ordered), _ = stats.probplot(run)
    np.testing.assert_array_equal(run[frame["sample"]], frame["noise_norm"])
    np.testing.assert_allclose(frame["noise_norm"], ordered)
    np.testing.assert_allclose(frame["normal_quantile"], quantiles, rtol=1e-12)


def test_caption_says_how_many_samples_and_which_seeds(made: Made):
    assert "200 stochastic gradients (fewer than the paper's 10,000)" in made.caption
    assert "of seed 0" in made.caption
    assert "2 seeds pooled" in made.caption


def test_a_short_plan_takes_fewer_samples():
    def samples(plan: Plan) -> int:
        (measure,) = SETTING_1.noise_experiment(plan).measures
        assert isinstance(measure, GradientNoise)
        return measure.samples

    assert samples(Plan()) == 10_000
    assert samples(Plan(steps=2_000)) == 2_000
    assert samples(Plan(steps=50_000)) == 10_000


def test_gaussian_noise_has_the_tails_of_its_reference(gaussian: np.ndarray):
    tails = _tails(gaussian)
    assert tails.excess.n == 2 * _SAMPLES
    assert tails.excess.ratio.covers(1)
    assert tails.kurtosis.covers(tails.gaussian_kurtosis)
    assert tails.hill.pareto.covers(tails.gaussian_hill)
    assert not tails.kurtosis.covers(0)  # the skew that a normal q-q plot takes for a tail


def test_scale_of_a_seed_does_not_matter(gaussian: np.ndarray):
    scaled = gaussian * np.array([1, 8])[:, None, None]
    first, second = (_tails(z) for z in (gaussian, scaled))
    assert first.excess.count == second.excess.count
    assert first.kurtosis.estimate == pytest.approx(second.kurtosis.estimate)


def test_pareto_noise_shows_its_index_and_exceeds_its_reference():
    index, rng = 3.0, np.random.default_rng(1)
    directions = rng.standard_normal((2, _SAMPLES, _SPREAD.size))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    radii = 1 + rng.pareto(index, (2, _SAMPLES, 1))
    tails = _tails(radii * directions)
    assert tails.hill.pareto.covers(index)
    assert tails.hill.pareto.below(tails.gaussian_hill)
    assert tails.excess.ratio.above(5)
    # A law of index 3 has no kurtosis: there is nothing that an interval could cover.
    assert np.isnan(tails.kurtosis.low)
    assert "not estimable" in str(tails)


def test_comparison_holds_the_tail_statistics(gaussian: np.ndarray):
    artifact = NoiseHistograms("fig", "", "", (SETTING_1,))
    analysis = artifact.analyse({"setting-1": _dataset(gaussian)})
    table, tails = artifact.comparison(analysis).set_index("quantity"), _tails(gaussian)
    assert analysis.tails["setting-1"] == tails
    assert len(table) == 3
    assert table.loc["excess kurtosis", "ours"] == tails.kurtosis.estimate
    assert table.loc["excess kurtosis", "gaussian"] == tails.gaussian_kurtosis


def test_drawn_density_is_that_of_the_reference(gaussian: np.ndarray):
    dataset = _dataset(gaussian)
    frame = FIG3.analyse({"setting-1": dataset}).frame
    axis = Figure().subplots()
    noise.panel(axis, frame[frame["seed"] == 0])
    line = next(line for line in axis.lines if "Gaussian" in str(line.get_label()))
    eigenvalues = dataset["noise_covariance_eigenvalues"].sel(seed=0).squeeze().values
    x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
    inner = slice(2, -2)  # differences at the ends are one-sided
    expected = GaussianNorm(eigenvalues).pdf(x)
    np.testing.assert_allclose(y[inner], expected[inner], atol=0.02 * expected.max())

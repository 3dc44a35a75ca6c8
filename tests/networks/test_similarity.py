"""The statistics of similarity: each of its own seed, and none of a run that diverged."""

import numpy as np
import pytest
import xarray as xr

from attnscape.paper.networks.landscape import growth_slopes, smoothness_frame
from attnscape.paper.networks.similarity import of_network
from attnscape.training import Status

SEEDS, STEPS = 4, 21


@pytest.fixture
def runs():
    """SGDM and Adam with made-up measurements: the smoothness grows as a power of the norm."""
    generator = np.random.default_rng(0)
    norm = np.exp(generator.normal(size=(2, 1, SEEDS, STEPS)))
    power = np.array([1.0, 2.0, 3.0, 4.0])[:, None]
    dims = ("optimizer", "learning_rate", "seed")
    variables = {
        "evaluation_gradient_norm": norm,
        "directional_smoothness": norm**power,
        "gradient_difference_smoothness": norm**power,
        "loss": np.exp(generator.normal(size=norm.shape)),
        "condition_number": 1 + generator.random(norm.shape),
        "condition_number_low": np.ones(norm.shape),
        "condition_number_high": np.full(norm.shape, 3.0),
    }
    return xr.Dataset(
        {name: ((*dims, "step"), value) for name, value in variables.items()}
        | {"status": (dims, np.full((2, 1, SEEDS), Status.finished))},
        {
            "optimizer": ["sgdm", "adam"],
            "learning_rate": [0.1],
            "seed": range(SEEDS),
            "step": range(STEPS),
        },
    )


def test_without_divergence_every_seed_has_every_statistic_along_runs(runs):
    found = of_network(runs, None)
    np.testing.assert_allclose(found["growth"], [1, 2, 3, 4])
    for row in ("loss", "condition", "smoothness"):
        assert np.isfinite(found[row]).all()
    assert np.isnan(found["noise"]).all()


@pytest.mark.parametrize(
    ("optimizer", "growth"), [("sgdm", [1, 2, 3, 4]), ("adam", [1, 2, np.nan, 4])]
)
def test_a_diverged_run_leaves_no_statistic_of_its_seed(runs, optimizer, growth):
    """Not even of the steps before: those of runs that survive say something else."""
    runs["status"].loc[{"optimizer": optimizer, "seed": 2}] = Status.diverged
    late = {"optimizer": optimizer, "seed": 2, "step": slice(15, None)}
    for name in ("directional_smoothness", "evaluation_gradient_norm", "condition_number"):
        runs[name].loc[late] = np.nan
    found = of_network(runs, None)
    for row in ("condition", "smoothness"):
        assert np.isnan(found[row]).tolist() == [False, False, True, False]
    assert not np.isfinite(found["loss"][2])
    np.testing.assert_allclose(found["growth"], growth)


def test_a_seed_without_points_does_not_move_the_others(runs):
    runs["directional_smoothness"].loc[{"optimizer": "adam", "seed": 1}] = np.nan
    slopes = growth_slopes(smoothness_frame(runs, "adam"), runs["seed"].values)
    np.testing.assert_allclose(slopes, [1, np.nan, 3, 4])

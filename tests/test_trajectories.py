"""Paths of runs from what was recorded, against the same arrays by hand."""

import functools

import numpy as np
import pytest
import xarray as xr

from attnscape import LinearTransformer, RegressionTask, train
from attnscape.errors import UsageError
from attnscape.experiments.paths import eigenvector_overlap, trajectory
from attnscape.measures import EvaluationLoss, TopEigenvectors, every
from attnscape.statistics import subspace_overlap


def test_a_path_has_its_labels_whatever_the_order_of_dims():
    """Runs on straight lines, at their own speed; nothing was measured at one of the steps."""
    times, speeds = np.array([0.0, 1.0, np.nan, 4.0, 9.0]), np.array([1.0, 3.0])
    direction = np.array([0.6, 0.0, 0.8])
    given = xr.DataArray(
        np.einsum("t,s,p->tps", times, speeds, direction) + 5,
        dims=("step", "parameter", "seed"),
        coords={"step": [0, 1, 2, 4, 9], "seed": [7, 8], "parameter": ["P0", "P0", "Q0"]},
    )
    path = trajectory(given)
    assert path["step"].values.tolist() == [0, 1, 4, 9]
    assert path["distance_from_start"].dims == ("seed", "step")
    np.testing.assert_allclose(path["distance_from_start"].sel(seed=8), [0, 3, 12, 27], atol=1e-12)
    np.testing.assert_allclose(path["distance_from_previous"].sel(seed=7), [np.nan, 1, 3, 5])
    np.testing.assert_allclose(path["displacement_angle"], [[np.nan, 0, 0, np.nan]] * 2, atol=1e-6)


def test_overlaps_of_a_training_are_those_of_its_measured_steps():
    runs = train(
        RegressionTask(dim=2, context=5),
        functools.partial(LinearTransformer.init, layers=1, dim=2),
        ["adam"], 0.1, [0, 1], steps=4, batch=20, evaluation_batch=20, evaluation_seeds=[0, 1],
        measures=(TopEigenvectors(every(2), count=2), EvaluationLoss(every(1))),
    )  # fmt: skip
    overlaps = eigenvector_overlap(runs["top_eigenvectors"])
    assert overlaps.dims == ("optimizer", "learning_rate", "seed", "evaluation", "step")
    assert overlaps["step"].values.tolist() == [2, 4]
    at = runs["top_eigenvectors"].sel(optimizer="adam", learning_rate=0.1, seed=1, evaluation=0)
    expected = subspace_overlap(at.sel(step=4), at.sel(step=2))
    taken = overlaps.sel(optimizer="adam", learning_rate=0.1, seed=1, evaluation=0, step=4)
    assert float(taken) == pytest.approx(float(expected), rel=1e-12)
    # The loss of one layer is quadratic in Q, so its Hessian and eigenvectors stay as they are.
    np.testing.assert_allclose(overlaps, 1, atol=1e-9)


def test_what_is_no_path_is_refused():
    with pytest.raises(UsageError, match="it must also have parameter, step"):
        trajectory(xr.DataArray([1.0], dims="seed"))
    with pytest.raises(UsageError, match="1 steps were measured; at least 2"):
        eigenvector_overlap(
            xr.DataArray(np.ones((1, 1, 1)), dims=("step", "eigenvector", "parameter"))
        )

"""The artifact on plateaus: the rule for drops, the predicted losses, the models."""

from __future__ import annotations

import jax
import numpy as np
import pytest
import xarray as xr

from attnscape.experiments.setting import FULL, Plan
from attnscape.paper.extended import plateaus as artifact
from attnscape.paper.extended.plateaus import PLATEAUS, plateaus, predicted_losses
from attnscape.tasks import Gaussian, RegressionTask
from attnscape.training import Status
from attnscape.workflows.make import make

_STEPS = np.arange(1.0, 5_001)


def _stairs(levels: list[float], drops: list[float]) -> np.ndarray:
    """log(loss) falls from one level to the next within a few per cent of a step count."""
    logs = np.full(_STEPS.shape, np.log(levels[0]))
    for before, after, at in zip(levels[:-1], levels[1:], drops, strict=True):
        logs += np.log(after / before) / (1 + np.exp(-np.log(_STEPS / at) / 0.03))
    return np.exp(logs)


def test_plateaus_of_stairs_are_their_levels():
    levels = [8.0, 4.0, 2.0, 1.5]
    found = plateaus(_STEPS, _stairs(levels, [30.0, 200.0, 1000.0]))
    # Half-way between two drops, 25 widths or more away, the curve is flat to exp(-25); so the
    # error is that of interpolation.
    np.testing.assert_allclose(found, levels, rtol=1e-3)


def test_one_smooth_fall_is_one_drop_and_a_flat_curve_none():
    assert plateaus(_STEPS, _stairs([8.0, 1.0], [300.0])).size == 2
    assert plateaus(_STEPS, np.full(_STEPS.shape, 3.0)).tolist() == pytest.approx([3.0])
    # A power law falls without a plateau, from the first step to the last.
    assert plateaus(_STEPS, 1 / _STEPS).size == 2
    # A fall of half a per cent in each e-fold of steps is below the smallest slope of a drop.
    assert plateaus(_STEPS, _STEPS**-0.005).size == 1


def test_a_diverged_run_has_no_plateaus():
    assert plateaus(_STEPS, np.where(_STEPS < 9, 1.0, np.nan)).size == 0


def test_predicted_losses_are_those_of_regression_on_the_first_components():
    """Least squares of targets on products of cross moment and query, on drawn prompts."""
    values, context, prompts = (3.0, 1.0, 0.4), 10, 200_000
    task = RegressionTask(dim=3, context=context, covariates=Gaussian(np.diag(values)))
    moments = task.sample_moments(jax.random.key(0), prompts)
    features = np.asarray(moments.cross * moments.query, np.float64)
    target = np.asarray(moments.target, np.float64)
    for k, predicted in enumerate(predicted_losses(values, context)):
        best = np.linalg.lstsq(features[:, :k], target, rcond=None)[0]
        errors = (features[:, :k] @ best - target) ** 2
        # Four standard errors; k fitted numbers lower the mean by k / prompts, far less.
        assert abs(errors.mean() - predicted) < 4 * errors.std() / prompts**0.5


def test_what_mixes_covariates_and_labels_starts_at_zero():
    for setting in PLATEAUS.settings:
        model = setting.model(FULL)(jax.random.key(0))
        linear = getattr(model, "as_linear", lambda model=model: model)()
        P, Q = np.asarray(linear.P[0]), np.asarray(linear.Q[0])
        assert P.shape == Q.shape == (5, 5)
        assert not np.concatenate([P[-1, :-1], Q[-1], Q[:, -1]]).any()
        assert np.append(Q[:-1, :-1], P[-1, -1]).all()


def test_it_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(artifact, "FULL_BATCH", 16)
    made = make(PLATEAUS, tmp_path, Plan(seeds=2, steps=30), print)
    assert {"png", "pdf", "csv", "txt"} <= set(made.files)
    assert made.frame["loss"].notna().all()
    experiments = PLATEAUS.experiments(Plan(seeds=2, steps=30)).values()
    assert len({each.run_id for each in experiments}) == 4  # prompts differ between seeds
    assert all(each.batch == each.evaluation_batch == each.task.size for each in experiments)


def _result(losses: np.ndarray, seed: int) -> xr.Dataset:
    dims = ("optimizer", "learning_rate", "seed", "step")
    status = np.full((1, 1, 1), Status.finished if np.isfinite(losses).all() else Status.diverged)
    coordinates = {"optimizer": ["sgd"], "learning_rate": [0.001], "seed": [seed], "step": _STEPS}
    variables = {"loss": (dims, losses[None, None, None]), "status": (dims[:3], status)}
    return xr.Dataset(variables, coordinates)


def test_plateaus_are_compared_with_the_prediction():
    levels = predicted_losses(artifact.EIGENVALUES, artifact._CONTEXT)
    stairs = _stairs([1.1 * level for level in levels], [10.0, 60.0, 300.0, 1500.0])
    fall = _stairs([levels[0], 0.9 * levels[-1]], [100.0])
    results = {f"merged|{seed}": _result(fall, seed) for seed in range(6)}
    results |= {f"separate|{seed}": _result(stairs, seed) for seed in range(6)}
    results["separate|5"] = _result(fall, 5)  # one that drops only once
    analysis = PLATEAUS.analyse(results)
    assert analysis.drops["merged"] == dict.fromkeys(range(6), 1)
    assert analysis.drops["separate"] == {0: 4, 1: 4, 2: 4, 3: 4, 4: 4, 5: 1}
    assert analysis.as_predicted["separate"].estimate == pytest.approx(5 / 6)
    separate = [analysis.ratios["separate", k] for k in range(5)]
    assert [each.n for each in separate] == [5] * 5
    # Interpolation and what is left of neighbouring drops: below a tenth of a per cent.
    assert [each.estimate for each in separate] == pytest.approx([1.1] * 5, rel=1e-3)
    assert analysis.ratios["merged", 4].estimate == pytest.approx(0.9, rel=1e-3)
    caption = PLATEAUS.caption(analysis, FULL)
    assert "Drops of each seed, merged: 1, 1, 1, 1, 1, 1; not as predicted: none." in caption
    words = "Drops of each seed, separate: 4, 4, 4, 4, 4, 1; not as predicted: less often, seed 5"
    assert f"{words} (1)." in caption
    table = PLATEAUS.comparison(analysis)
    assert table["quantity"][0] == "share of runs with 1 drop"
    assert len(table) == 2 + 2 + 5


def test_the_caption_says_which_seeds_deviate_and_how():
    levels = predicted_losses(artifact.EIGENVALUES, artifact._CONTEXT)
    stairs = _stairs(list(levels), [10.0, 60.0, 300.0, 1500.0])
    fall = _stairs([levels[0], levels[-1]], [100.0])
    lost = np.where(_STEPS < 9, 1.0, np.nan)
    results = {f"merged|{seed}": _result(run, seed) for seed, run in ((0, fall), (2, stairs))}
    results |= {
        f"separate|{seed}": _result(run, seed)
        for seed, run in ((0, fall), (2, lost), (3, stairs), (7, fall))
    }
    caption = PLATEAUS.caption(PLATEAUS.analyse(results), FULL)
    more = "Drops of each seed, merged: 1, 4; not as predicted: more often, seed 2 (4)."
    less = "separate: 1, 4, 1; not as predicted: less often, seed 0 (1), 7 (1); diverged, seed 2."
    assert more in caption
    assert less in caption

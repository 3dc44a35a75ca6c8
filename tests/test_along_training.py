"""The artifact `landscape-along-training`: known numbers give known medians, shares and slopes."""

import dataclasses

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from attnscape.experiments.setting import Plan
from attnscape.paper.extended.along_training import (
    ALONG_TRAINING,
    GAUSS_NEWTON,
    LOCALISATION,
    OVERLAP,
    QUANTITIES,
    SHARPNESS,
)
from attnscape.paper.settings import SETTING_1
from attnscape.report.draw import draw
from attnscape.training import Status

ONE = dataclasses.replace(ALONG_TRAINING, settings=(SETTING_1,))
STEPS = [0, 10, 20, 30, 40]
RUNS = ("optimizer", "learning_rate", "seed")
AT = (*RUNS, "step", "evaluation")
P = 8  # parameters


def dataset(lost=()):
    """Runs whose largest eigenvalue is 4, Gauss-Newton's part 3 (SGDM) and 1 (Adam).

    The three top eigenvectors are the same along SGDM's runs; along Adam's, one of them changes
    from each measured step to the next. Block P0 has |H| = 2 + 5 |g|, P1 has no gradient.
    """
    shape = (2, 1, 6, len(STEPS), 1)
    whole = np.full(shape, 4.0)
    part = np.reshape([3.0, 1.0], (2, 1, 1, 1, 1)) * np.ones(shape)
    vectors = np.zeros((*shape, 3, P))
    for step in range(len(STEPS)):
        vectors[0, ..., step, :, :, :] = np.eye(P)[:3]
        vectors[1, ..., step, :, :, :] = np.eye(P)[[0, 1, 2 + step]]
    norms = np.linspace(1, 3, len(STEPS))[:, None] * np.ones(shape)
    both = np.stack([norms, 0 * norms], axis=-1)[..., None, :]
    seeds = np.arange(1.0, 7.0)[:, None] * np.ones(shape[:-1])
    localised = np.ones((*shape, 3)) * 0.25
    status = np.full(shape[:3], Status.finished)
    variables = {
        "block_heterogeneity": (AT, whole / 8),
        "curvature_along_sharpest": ((*AT, "curvature_part"), np.stack([whole, part], axis=-1)),
        "curvature_largest_eigenvalue": ((*AT, "curvature_part"), np.stack([whole, part], -1)),
        "top_eigenvectors": ((*AT, "eigenvector", "parameter"), vectors),
        "inverse_participation_ratio": ((*AT, "eigenvector"), localised),
        "batch_sharpness": ((*RUNS, "step"), seeds),
        "block_gradient_norm": ((*AT, "geometry", "block"), both),
        "block_smoothness_bound": ((*AT, "geometry", "block"), 2 + 5 * both),
    }
    for seed in lost:
        status[1, :, seed] = Status.diverged
        for _, values in variables.values():
            values[1, :, seed, 2:] = np.nan
    coords = {
        "optimizer": ["sgdm", "adam"],
        "learning_rate": [0.02],
        "seed": range(6),
        "step": STEPS,
        "evaluation": [0],
        "curvature_part": ["hessian", "gauss_newton"],
        "eigenvector": range(3),
        "geometry": ["l2"],
        "block": ["P0", "P1"],
    }
    return xr.Dataset(variables | {"status": (RUNS, status)}, coords)


def test_the_runs_are_those_of_the_setting_with_these_measures():
    experiment = ONE.experiments(Plan(seeds=2, steps=2000))["setting-1"]
    assert (experiment.steps, experiment.seeds) == (400, (0, 1))
    measured = {measure.schedule.within(400) for measure in experiment.measures}
    assert measured == {tuple(range(0, 401, 25))}  # all at the same steps
    assert set(experiment.optimizers) == {"sgdm", "adam"}


def test_known_numbers_give_known_medians():
    analysis = ONE.analyse({"setting-1": dataset()})

    def last(optimizer, quantity):
        return analysis.stages["setting-1", optimizer, quantity, 40]

    assert last("sgdm", GAUSS_NEWTON).estimate == pytest.approx(0.75)
    assert last("adam", GAUSS_NEWTON).estimate == pytest.approx(0.25)
    assert last("sgdm", OVERLAP).estimate == pytest.approx(1.0)
    assert last("adam", OVERLAP).estimate == pytest.approx(2 / 3)
    assert last("adam", LOCALISATION).estimate == pytest.approx(0.25)
    sharpness = last("sgdm", SHARPNESS)  # 1, ..., 6 in the six seeds
    assert (sharpness.estimate, sharpness.low, sharpness.high) == (3.5, 1.0, 6.0)
    assert [key[3] for key in analysis.stages if key[1:3] == ("sgdm", OVERLAP)] == [10, 30, 40]
    assert set(analysis.slopes) == {("setting-1", "sgdm", "P0"), ("setting-1", "adam", "P0")}
    assert analysis.slopes["setting-1", "adam", "P0"].estimate == pytest.approx(5.0)
    assert analysis.random["setting-1"] == pytest.approx(3 / (P + 2))
    (table,) = ONE.tables(analysis, Plan()).values()
    assert len(table) == 2 * len(QUANTITIES)
    caption = ONE.caption(analysis, Plan())
    assert "setting-1 sgdm Jensen-Shannon distance of blocks 0.5 [0.5, 0.5] (n = 6)" in caption
    assert isinstance(draw(ONE, analysis), Figure)


def test_random_directions_have_the_participation_ratio_that_is_drawn():
    """E sum v_i^4 = 3 / (p + 2); within five standard errors of 20,000 directions."""
    v = np.random.default_rng(0).normal(size=(20_000, P))
    ratios = ((v / np.linalg.norm(v, axis=1, keepdims=True)) ** 4).sum(axis=1)
    error = ratios.std() / len(ratios) ** 0.5
    expected = ONE.analyse({"setting-1": dataset()}).random["setting-1"]
    assert abs(ratios.mean() - expected) < 5 * error


def test_a_diverged_run_leaves_no_number():
    analysis = ONE.analyse({"setting-1": dataset(lost=(3,))})
    assert np.isnan(analysis.stages["setting-1", "adam", SHARPNESS, 40].estimate)
    assert np.isnan(analysis.slopes["setting-1", "adam", "P0"].estimate)
    assert not np.isnan(analysis.stages["setting-1", "sgdm", SHARPNESS, 40].low)
    assert "Diverged: setting-1 adam 1 of 6 seeds" in ONE.caption(analysis, Plan())
    assert isinstance(draw(ONE, analysis), Figure)


def test_own_parts_have_none():
    assert "leave --task and --model out" in ALONG_TRAINING.obstacle(Plan(own="--model m.py:x"))
    assert ALONG_TRAINING.obstacle(Plan()) == ""

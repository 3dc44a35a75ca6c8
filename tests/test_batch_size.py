"""The gap between Adam and SGDM against the batch size: what is run, and what is read from it."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from attnscape.experiments.setting import FULL, QUICK, Plan
from attnscape.experiments.tuning import Search
from attnscape.paper.extended.batch_size import BATCH_SIZE, slopes, trained
from attnscape.paper.extended.budgets import BATCHES, SAMPLES, STEPS, Budgeted
from attnscape.statistics import mean_interval
from attnscape.training import Status
from attnscape.workflows.make import make

_SEEDS = 6
_SETTINGS: list[Budgeted] = [each for each in BATCH_SIZE.settings if isinstance(each, Budgeted)]


def _dataset(setting: Budgeted, losses: dict[str, np.ndarray]) -> xr.Dataset:
    """A result whose runs start at loss 5 and end at these losses (seed,)."""
    dims = ("optimizer", "learning_rate", "seed", "step")
    final = np.stack(list(losses.values()))[:, None, :, None]
    loss = np.concatenate([np.full_like(final, 5.0), final, final], axis=-1)
    status = np.where(np.isfinite(final[..., 0]), Status.finished, Status.diverged)
    return xr.Dataset(
        {"loss": (dims, loss), "status": (dims[:3], status)},
        {
            "optimizer": list(losses),
            "learning_rate": [0.02],
            "seed": range(final.shape[2]),
            "step": [0, setting.steps - 1, setting.steps],
        },
        {"batch": setting.batch, "steps": setting.steps},
    )


def _results(slope: float, rng: np.random.Generator) -> dict[str, xr.Dataset]:
    """log10 gap 0.3 + slope * log10 batch, with noise over seeds."""
    results = {}
    for setting in _SETTINGS:
        noise = rng.normal(0, 0.05, _SEEDS)
        gap = 0.3 + slope * np.log10(setting.batch) + noise
        adam = 0.01 * 10 ** rng.normal(0, 0.2, _SEEDS)
        results[setting.name] = _dataset(setting, {"sgdm": adam * 10**gap, "adam": adam})
    return results


def test_budgets_share_steps_or_samples():
    experiments = BATCH_SIZE.experiments(FULL)
    assert len(experiments) == 2 * 2 * len(BATCHES)
    for setting in _SETTINGS:
        experiment = experiments[setting.name]
        assert experiment.batch == setting.batch
        if setting.budget == "steps":
            assert experiment.steps == STEPS
        else:
            assert experiment.steps * experiment.batch == SAMPLES
        assert len(experiment.seeds) == _SEEDS


def test_a_shorter_plan_shortens_every_run_by_the_same_factor():
    quick, full = (BATCH_SIZE.experiments(plan) for plan in (QUICK, FULL))
    for name, experiment in full.items():
        assert quick[name].steps == experiment.steps // 5  # 2,000 of 10,000 steps


def test_the_gap_and_its_trend_are_found():
    analysis = BATCH_SIZE.analyse(_results(0.4, np.random.default_rng(0)))
    for trend in analysis.trends.values():
        assert trend.above(0)
        assert trend.estimate == pytest.approx(0.4, abs=0.05)
    first = analysis.gaps.iloc[0]
    assert first["log_gap"] == pytest.approx(0.3 + 0.4 * np.log10(8), abs=0.07)
    assert first["low"] < first["log_gap"] < first["high"]


def test_without_a_trend_an_interval_excludes_zero_as_often_as_it_says():
    rng, excluded, trials = np.random.default_rng(1), 0, 300
    logs = pd.DataFrame(
        [(seed, batch) for seed in range(_SEEDS) for batch in BATCHES], columns=["seed", "batch"]
    )
    for _ in range(trials):
        of_seed = np.repeat(rng.normal(5, 3, _SEEDS), len(BATCHES))  # a seed's own level
        trend = mean_interval(slopes(logs.assign(log_gap=of_seed + rng.normal(0, 0.1, len(logs)))))
        excluded += trend.above(0.0) or trend.below(0.0)
    # Binomial(300, 0.05): 15 +- 3.8; four standard deviations.
    assert 0 < excluded <= 30


def test_a_diverged_seed_has_no_slope_but_counts_in_the_gap():
    results = _results(0.0, np.random.default_rng(2))
    setting = _SETTINGS[0]
    good = np.full(_SEEDS, 0.01)
    lost = good.copy()
    lost[0] = np.inf
    results[setting.name] = _dataset(setting, {"sgdm": lost, "adam": good})
    analysis = BATCH_SIZE.analyse(results)
    assert analysis.trends[setting.base, setting.budget].n == _SEEDS - 1
    assert analysis.gaps.iloc[0]["note"] == "diverged: 1 and 0 of 6 runs"
    assert analysis.gaps.iloc[0]["log_gap"] == 0  # the median


def test_batch_sizes_without_training_are_left_out_of_the_trend_and_named():
    results = _results(0.0, np.random.default_rng(3))
    setting = _SETTINGS[0]
    results[setting.name] = _dataset(
        setting, {"sgdm": np.full(_SEEDS, 1e3), "adam": np.full(_SEEDS, 1e6)}
    )
    analysis = BATCH_SIZE.analyse(results)
    assert abs(analysis.trends[setting.base, setting.budget].estimate) < 0.1
    left = trained(analysis.frame)
    assert set(left.query("setting == @setting.base and budget == 'steps'")["batch"]) == {
        *BATCHES[1:]
    }
    assert "batch 8 (SGDM 1e+03, Adam 1e+06)" in BATCH_SIZE.caption(analysis, FULL)


def test_makes_all_files(tmp_path):
    # The middle of the batch sizes, which any selection of them has, with short runs.
    few = tuple(each for each in _SETTINGS if each.base == "setting-1" and each.batch == 128)
    rates = {"sgdm": 0.1, "adam": 0.02}
    tried = pd.DataFrame(rates.items(), columns=["optimizer", "learning_rate"])
    edge = Search(rates, tried.assign(seed=1000, loss=0.1), (), at_edge=("adam",))
    plan = Plan(seeds=2, steps=200, evaluations=2, searches={few[0].name: edge})
    made = make(dataclasses.replace(BATCH_SIZE, settings=few), tmp_path, plan, print)
    assert set(made.files) == {"csv", "txt", "png", "pdf"}
    runs = made.frame.groupby(["budget", "batch", "steps"])["seed"].count()
    assert dict(runs) == {("steps", 128, 40): 4, ("samples", 128, 163): 4}
    assert made.comparison is not None
    assert "Search for setting-1-batch-128-steps: The best learning rate lies on the edge" in (
        made.caption
    )


def test_one_batch_size_has_no_trend_and_says_so():
    rng = np.random.default_rng(4)
    few = tuple(each for each in _SETTINGS if each.base == "setting-1" and each.batch == 128)
    results = {each.name: _results(0.0, rng)[each.name] for each in few}
    artifact = dataclasses.replace(BATCH_SIZE, settings=few)
    analysis = artifact.analyse(results)
    assert [trend.n for trend in analysis.trends.values()] == [0, 0]
    caption = artifact.caption(analysis, FULL)
    assert (
        "setting-1, fixed steps: none (n = 0); setting-1, fixed samples: none (n = 0)." in caption
    )
    assert "nan" not in caption

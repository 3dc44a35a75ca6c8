"""The artifact `second-order`: known losses give known ratios, with the rates that were found."""

import dataclasses

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from attnscape.experiments.setting import Plan
from attnscape.experiments.trials import evaluated_steps
from attnscape.optimizers import NAMED
from attnscape.paper.extended.second_order import COMPARED, DAMPING, RATES, SECOND_ORDER
from attnscape.paper.settings import MAIN, SETTING_1
from attnscape.report.draw import draw
from attnscape.training import Status
from attnscape.workflows.searches import are_due

ONE = dataclasses.replace(SECOND_ORDER, settings=(SETTING_1,))
LEVELS = {"sgdm": 4.0, "adam": 1.0, "newton": 20.0, "gauss-newton": 0.5, "newton-cg": 10.0}


def results(lost=()):
    """Losses that are 1,000 times higher until the last tenth; newton diverges in seeds `lost`."""
    runs, seeds = ("optimizer", "learning_rate", "seed"), range(6)
    names, rates = list(LEVELS), sorted(set(RATES["setting-1"].values()))
    steps = [0, 100, *evaluated_steps(200)]
    losses = np.full((len(names), len(rates), len(seeds), len(steps), 2), np.nan)
    status = np.full(losses.shape[:3], Status.not_run)
    early = np.where(np.array(steps) <= 100, 1000.0, 1.0)[:, None]
    for index, name in enumerate(names):
        place = index, rates.index(RATES["setting-1"][name])
        of_seeds = np.exp(0.1 * np.arange(6))[:, None, None]
        losses[place] = LEVELS[name] * of_seeds * early * np.ones(2)
        status[place] = Status.finished
    place = names.index("newton"), rates.index(RATES["setting-1"]["newton"])
    for seed in lost:
        status[(*place, seed)] = Status.diverged
        losses[(*place, seed)] = np.nan
    return {
        "setting-1": xr.Dataset(
            {"loss": ((*runs, "step", "evaluation"), losses), "status": (runs, status)},
            {
                "optimizer": names,
                "learning_rate": rates,
                "seed": seeds,
                "step": steps,
                "evaluation": [0, 1],
            },
            {"steps": 200},
        )
    }


def test_every_optimizer_runs_at_the_rate_that_was_found():
    made = SECOND_ORDER.experiments(Plan(seeds=2, steps=2000))
    for setting in MAIN:
        experiment = made[setting.name]
        assert (experiment.steps, experiment.seeds) == (40, (0, 1))
        assert set(experiment.optimizers) == {"adam", *COMPARED}
        for name, factory in experiment.optimizers.items():
            damping = DAMPING[setting.name].get(name)
            assert getattr(factory, "func", factory) is NAMED[name]
            assert getattr(factory, "keywords", {}).get("damping") == damping
            assert experiment.learning_rates[name] == (RATES[setting.name][name],)


def test_known_losses_give_known_ratios():
    analysis = ONE.analyse(results())
    for name in COMPARED:
        assert analysis.ratios["setting-1", name].estimate == pytest.approx(LEVELS[name])
        np.testing.assert_allclose(analysis.of_seeds["setting-1", name], LEVELS[name])
    table = ONE.comparison(analysis)
    assert table["ours"].tolist() == pytest.approx([4.0, 20.0, 0.5, 10.0])
    assert set(table["seeds"]) == {6}
    caption = ONE.caption(analysis, Plan())
    assert "setting-1 sgdm 4 [4, 4] (n = 6), newton 20 [20, 20] (n = 6)" in caption
    assert "no such cost is in the figure, whose axis counts steps" in caption
    assert "Diverged" not in caption
    assert isinstance(draw(ONE, analysis), Figure)


def test_a_diverged_run_leaves_no_interval():
    analysis = ONE.analyse(results(lost=(3,)))
    assert np.isnan(analysis.ratios["setting-1", "newton"].low)
    assert not np.isnan(analysis.ratios["setting-1", "newton-cg"].low)
    assert "no interval: setting-1 newton 1." in ONE.caption(analysis, Plan())
    assert isinstance(draw(ONE, analysis), Figure)


def test_own_parts_have_no_rates():
    assert "leave --task and --model out" in SECOND_ORDER.obstacle(Plan(own="--task mine.py:t"))
    assert SECOND_ORDER.obstacle(Plan()) == ""
    assert not are_due(Plan(tune=True), SECOND_ORDER)

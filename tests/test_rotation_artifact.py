"""The artifact `rotation`: every seed has its own rotation, and known losses give known ratios."""

import dataclasses

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from attnscape.experiments.setting import Plan
from attnscape.models import RotatedLinearTransformer
from attnscape.paper.extended.rotation import OWN, ROTATED, ROTATION
from attnscape.paper.loss_curves import FIG2
from attnscape.paper.settings import SETTING_1
from attnscape.report.draw import draw
from attnscape.training import Status
from attnscape.workflows.searches import are_due

ONE = dataclasses.replace(ROTATION, settings=(SETTING_1,))
RATES = (0.01, 0.1)
BEST = {OWN: {"sgdm": 4.0, "adam": 1.0}, ROTATED: {"sgdm": 4.0, "adam": 2.0}}


def dataset(axes, seeds, lost=()):
    """Losses that the larger rate halves; Adam's run of a seed in `lost` diverges at both."""
    levels = np.array([BEST[axes][name] for name in ("sgdm", "adam")])
    of_seed = np.exp(0.1 * (-1.0) ** np.array(seeds))
    losses = levels[:, None, None] * np.array([2.0, 1.0])[:, None] * of_seed
    status = np.full(losses.shape, Status.finished)
    for seed in lost:
        status[1, :, list(seeds).index(seed)] = Status.diverged
    runs = ("optimizer", "learning_rate", "seed")
    return xr.Dataset(
        {"loss": ((*runs, "step"), losses[..., None]), "status": (runs, status)},
        {
            "optimizer": ["sgdm", "adam"],
            "learning_rate": list(RATES),
            "seed": list(seeds),
            "step": [2000],
        },
    )


def results(lost=()):
    seeds = range(6)
    of_seeds = {f"setting-1|{seed}": dataset(ROTATED, [seed], {seed} & set(lost)) for seed in seeds}
    return {"setting-1": dataset(OWN, seeds), **of_seeds}


def test_every_seed_has_its_own_rotation():
    own, *rotated = ONE.experiments(Plan(seeds=2, steps=500)).values()
    assert (own.seeds, own.steps) == ((0, 1), 100)
    assert [each.seeds for each in rotated] == [(0,), (1,)]
    assert [each.model.keywords["rotation"] for each in rotated] == [0, 1]
    for each in rotated:
        assert each.model.func.__self__ is RotatedLinearTransformer
        changed = {"name", "model", "seeds"}
        for field in {field.name for field in dataclasses.fields(each)} - changed:
            assert getattr(each, field) == getattr(own, field)
    assert len({each.run_id for each in (own, *rotated)}) == 3


def test_known_losses_give_known_ratios():
    analysis = ONE.analyse(results())
    assert set(analysis.rates.values()) == {0.1}
    for axes, gap in ((OWN, 4.0), (ROTATED, 2.0)):
        assert analysis.gaps["setting-1", axes].estimate == pytest.approx(gap)
    assert analysis.changes["setting-1", "sgdm"].estimate == pytest.approx(1.0)
    assert analysis.changes["setting-1", "adam"].estimate == pytest.approx(2.0)
    table = ONE.comparison(analysis)
    assert table["ours"].tolist() == pytest.approx([4.0, 2.0, 1.0, 2.0])
    assert set(table["seeds"]) == {6}
    caption = ONE.caption(analysis, Plan())
    assert "4 [4, 4] (n = 6) in the axes of P and Q, 2 [2, 2] (n = 6) in rotated ones" in caption
    assert isinstance(draw(ONE, analysis), Figure)


def test_a_diverged_run_leaves_no_interval():
    analysis = ONE.analyse(results(lost=(3,)))
    assert np.isnan(analysis.gaps["setting-1", ROTATED].low)
    assert not np.isnan(analysis.gaps["setting-1", OWN].low)
    caption = ONE.caption(analysis, Plan())
    assert "in the axes of P and Q, none (n = 6) in rotated ones" in caption
    assert (
        "Diverged runs at the best rate, which leaves no ratio: setting-1 rotated axes adam 1"
        in caption
    )


def test_own_parts_have_no_rotation():
    assert "leave --task and --model out" in ROTATION.obstacle(Plan(own="--model mine.py:thing"))
    assert ROTATION.obstacle(Plan()) == ""


def test_tune_searches_for_no_rates_that_it_does_not_take():
    assert not are_due(Plan(tune=True), ROTATION)
    assert are_due(Plan(tune=True), FIG2)


def test_a_best_rate_on_the_edge_of_the_grid_is_told():
    caption = ONE.caption(ONE.analyse(results()), Plan())  # of two rates each is on the edge
    assert (
        "On the edge of the rates tried, so not the best there are: setting-1 own axes" in caption
    )

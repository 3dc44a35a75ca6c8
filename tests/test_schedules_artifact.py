"""The artifact `schedules`: known losses give known reversals of the order of optimizers."""

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from attnscape.experiments.setting import Plan
from attnscape.paper.extended.schedules import (
    CONSTANT,
    COSINE,
    DECAYED,
    OPTIMIZERS,
    RANKING,
    RATES,
    SCHEDULES,
    STABLE,
    decay_begins,
)
from attnscape.report.draw import draw
from attnscape.training import Status

SEEDS, LAST = 6, 100


def dataset(losses, noise=0.0):
    """Losses by schedule, in the order of the optimizers; those of `wsd` begin as the constant."""
    labels = [f"{name}@{schedule}" for schedule in SCHEDULES for name in OPTIMIZERS]
    final = np.array([losses[schedule] for schedule in SCHEDULES], float).ravel()
    before = np.array([losses[CONSTANT] for _ in SCHEDULES], float).ravel()
    of_seed = np.exp(noise * np.random.default_rng(0).normal(size=(len(labels), SEEDS)))
    both = np.stack([before, final], axis=-1)[:, None, None, :] * of_seed[:, None, :, None]
    runs = ("optimizer", "learning_rate", "seed")
    return xr.Dataset(
        {"loss": ((*runs, "step"), both), "status": (runs, np.full(both.shape[:3], 0))},
        {
            "optimizer": labels,
            "learning_rate": [0.1],
            "seed": range(SEEDS),
            "step": [decay_begins(LAST), LAST],
        },
    )


ORDERED = [7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]
SWAPPED = [7.0, 6.0, 5.0, 4.0, 3.0, 1.0, 2.0]  # nadam and muon
KNOWN = {CONSTANT: ORDERED, COSINE: SWAPPED, STABLE: ORDERED[::-1], DECAYED: SWAPPED}


def analysis(**changes):
    results = {setting.name: dataset(KNOWN, **changes) for setting in RANKING.settings}
    return RANKING.analyse(results)


def test_known_losses_give_known_reversals():
    found = analysis()
    counts = [each for (setting, _), each in found.reversals.items() if setting == "setting-1"]
    assert [each.pairs for each in counts] == [21] * 4
    assert [each.reversed for each in counts] == [1, 21, 0, 21]
    assert [each.certain for each in counts] == [1, 21, 0, 21]
    assert found.ratios["setting-1", COSINE, "nadam"].estimate == pytest.approx(1 / 7)
    assert found.changes["setting-1", COSINE, "nadam"].estimate == pytest.approx(0.5)
    assert found.changes["setting-1", COSINE, "adam"].estimate == pytest.approx(1.0)
    caption = RANKING.caption(found, Plan())
    assert "setting-1, cosine against constant: 1 of 21 pairs (1 by intervals" in caption
    assert isinstance(draw(RANKING, found), Figure)


def test_noise_larger_than_the_differences_leaves_no_reversal_certain():
    counts = analysis(noise=3.0).reversals["setting-1", "cosine against constant"]
    assert counts.certain == 0


def test_a_diverged_run_counts_as_the_worst():
    results = {setting.name: dataset(KNOWN) for setting in RANKING.settings}
    lost = results["setting-1"]
    for name in ("loss", "status"):
        lost[name] = lost[name].copy()
    lost["loss"][-1, 0, :4] = np.nan  # of muon with weight decay
    lost["status"][-1, 0, :4] = Status.diverged
    found = RANKING.analyse(results)
    assert found.ratios["setting-1", DECAYED, "muon"].estimate == np.inf
    assert "Diverged: setting-1 muon@cosine:weight_decay=0.1 4 of 6" in RANKING.caption(
        found, Plan()
    )


def test_every_optimizer_has_the_rate_recorded_for_its_schedule():
    experiment = RANKING.experiments(Plan(steps=2000, seeds=3))["setting-3"]
    assert (experiment.steps, experiment.seeds) == (200, (0, 1, 2))
    for (setting, schedule), rates in RATES.items():
        if setting == "setting-3":
            for name, rate in zip(OPTIMIZERS, rates, strict=True):
                assert experiment.learning_rates[f"{name}@{schedule}"] == (rate,)
    assert list(RANKING.searches(Plan(tune=True))) == [
        "setting-1, all schedules", "setting-3, all schedules"
    ]  # fmt: skip
    assert not RANKING.searches(Plan())
    assert "leave --task and --model out" in RANKING.obstacle(Plan(own="--model mine.py:thing"))

"""With and without momentum: ratios are those of the runs, rates are the recorded or found ones."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from attnscape.experiments.setting import FULL, Plan
from attnscape.experiments.tuning import Search
from attnscape.paper.extended.momentum import RATES, WITHOUT_MOMENTUM
from attnscape.paper.optimizers import FOUR
from attnscape.paper.settings import MAIN, SETTING_2
from attnscape.report.draw import draw
from attnscape.report.made import Made
from attnscape.workflows.make import make
from claims_support import diverging, made

ARTIFACT = dataclasses.replace(
    WITHOUT_MOMENTUM, settings=(dataclasses.replace(SETTING_2, batch=20),)
)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Made:
    plan = Plan(seeds=5, steps=200, evaluations=1)
    return make(ARTIFACT, tmp_path_factory.mktemp("momentum"), plan, print)


@pytest.mark.parametrize(("without", "with_"), [("sgd", "sgdm"), ("adam-no-momentum", "adam")])
def test_the_ratio_is_that_of_the_runs_final_losses(small: Made, without: str, with_: str):
    frame = small.frame.pivot_table(index="seed", columns="optimizer", values="loss", aggfunc=list)
    finals = {name: np.median(frame[name].tolist(), axis=1) for name in (without, with_)}
    assert frame[with_].iloc[0] != frame[without].iloc[0]
    logs = np.log(finals[without] / finals[with_])
    assert small.comparison is not None
    quantity = f"final loss without momentum over with it, {with_}"
    row = small.comparison.set_index("quantity").loc[quantity]
    assert row["ours"] == pytest.approx(np.exp(logs.mean()))
    # Student's interval of five log ratios.
    half = 2.7764451 * logs.std(ddof=1) / np.sqrt(5)
    assert np.log(row["high"]) == pytest.approx(logs.mean() + half)


def test_all_files_are_made_and_the_caption_begins_with_what_came_out(small: Made):
    assert {"csv", "txt", "png", "pdf"} <= set(small.files)
    assert small.caption.startswith("Momentum lowers the final loss in ")
    assert set(pd.read_csv(small.files["csv"])["optimizer"]) == set(FOUR)


@pytest.mark.parametrize("setting", MAIN, ids=lambda setting: setting.name)
def test_each_optimizer_has_the_rate_that_was_found_for_it(setting):
    experiment = WITHOUT_MOMENTUM.experiments(FULL)[setting.name]
    expected = {**setting.found, **RATES[setting.name]}
    assert experiment.learning_rates == {name: (rate,) for name, rate in expected.items()}
    assert WITHOUT_MOMENTUM.searches(FULL) == {}


def test_a_search_without_momentum_stands_beside_the_setting_s_own():
    plan = Plan(tune=True)
    ((key, due),) = ARTIFACT.searches(plan).items()
    assert set(due.experiment.optimizers) == {"sgd", "adam-no-momentum"}
    rates = {"setting-2": {"sgdm": 0.3, "adam": 0.4}, key: {"sgd": 0.1, "adam-no-momentum": 0.2}}
    found = {name: Search(each, pd.DataFrame(), (), ()) for name, each in rates.items()}
    planned = ARTIFACT.experiments(dataclasses.replace(plan, searches=found))["setting-2"]
    assert planned.learning_rates == {
        "sgd": (0.1,),
        "sgdm": (0.3,),
        "adam-no-momentum": (0.2,),
        "adam": (0.4,),
    }


def test_users_own_parts_are_refused():
    sentence = WITHOUT_MOMENTUM.obstacle(Plan(own="own task"))
    assert "leave --task and --model out" in sentence


def test_a_diverged_run_counts_as_the_worst_and_the_figure_still_shows_the_others():
    results = {
        name: diverging(dataset, "sgd", seeds=2)
        for name, dataset in made("claimed", 8)["without-momentum"].items()
    }
    analysis = WITHOUT_MOMENTUM.analyse(results)
    assert analysis.ratios["setting-1", "sgdm"].interval.high == np.inf
    assert "diverged: 2 and 0 of 6 runs" in WITHOUT_MOMENTUM.caption(analysis, FULL)
    assert isinstance(draw(WITHOUT_MOMENTUM, analysis), Figure)

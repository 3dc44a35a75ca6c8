"""Fig. 7, 8 and 15: their settings; the four panels of one; searches for learning rates."""

from __future__ import annotations

import dataclasses

import jax
import pandas as pd
import pytest

from attnscape.experiments import tuning
from attnscape.experiments.setting import FULL, Plan
from attnscape.measures import (
    Curvature,
    DirectionalSmoothness,
    EvaluationLoss,
    GradientNoise,
    LargeBatchLoss,
    TrainingLoss,
    every,
)
from attnscape.models import AttentionTransformer, FactoredLinearTransformer, WithMLP
from attnscape.paper.landscape import FIG15, PANELS
from attnscape.paper.loss_curves import FIG7, FIG8_LEFT, FIG8_RIGHT
from attnscape.paper.settings import SETTING_2
from attnscape.paper.tables import TABLE2
from attnscape.paper.variants import FACTORED, NONLINEAR, SOFTMAX, WIDE
from attnscape.report.made import Made
from attnscape.workflows import searches
from attnscape.workflows.make import make


def model(setting):
    return setting.model(FULL)(jax.random.key(0))


def test_models_are_the_papers():
    softmax = model(SOFTMAX)
    assert isinstance(softmax, AttentionTransformer)
    assert (softmax.activation, softmax.P.shape) == ("softmax", (3, 5, 5))
    assert isinstance(model(FACTORED), FactoredLinearTransformer)
    assert model(WIDE).P.shape == (8, 20, 20)
    assert WIDE.task.context == 60
    nonlinear = model(NONLINEAR)
    assert isinstance(nonlinear, WithMLP)
    assert nonlinear.mlp.W1.shape == (15, 5)
    assert nonlinear.inner.P.shape == (3, 6, 6)


def test_nonlinear_regression_has_its_own_recipe():
    experiment = NONLINEAR.experiment(FULL)
    assert (experiment.batch, len(experiment.seeds), experiment.steps) == (2000, 5, 10_000)
    assert experiment.learning_rates == {"sgdm": (0.05,), "adam": (0.01,)}


def test_the_larger_transformer_is_shortened_unless_all_steps_are_asked_for():
    assert WIDE.experiment(FULL).steps == 2_000
    assert WIDE.experiment(Plan(all_steps=True)).steps == 10_000
    assert WIDE.experiment(Plan(steps=2_000)).steps == 400  # a fifth, as by default
    assert WIDE.experiment(Plan(steps=2_000, all_steps=True)).steps == 2_000


@pytest.mark.parametrize("artifact", [FIG7, FIG8_LEFT, FIG8_RIGHT], ids=lambda each: each.name)
def test_loss_curves_of_other_models_are_made(artifact, tmp_path):
    losses = (EvaluationLoss(), TrainingLoss(), LargeBatchLoss(every(2500), batch=1000))
    settings = tuple(
        dataclasses.replace(setting, batch=10, layers=2, measures=losses)
        for setting in artifact.settings
    )
    plan = Plan(seeds=2, steps=2, evaluations=2)
    # Losses of other predictors, tested by themselves for every task, stand in one of them.
    changes = {"settings": settings, "with_references": artifact is FIG7}
    made = make(dataclasses.replace(artifact, **changes), tmp_path, plan, print)
    assert set(made.frame["setting"]) == {setting.name for setting in settings}
    assert made.frame["loss"].notna().all()
    assert "10 fresh prompts a step" in made.caption


@pytest.fixture(scope="module")
def landscape(tmp_path_factory: pytest.TempPathFactory) -> Made:
    measures = (EvaluationLoss(every(2)), Curvature(every(2)), DirectionalSmoothness(every(2)))
    task = dataclasses.replace(NONLINEAR.task, dim=2, context=4)
    small = dataclasses.replace(NONLINEAR, task=task, layers=1, batch=20, measures=measures)
    artifact = dataclasses.replace(FIG15, settings=(small,))
    plan = Plan(seeds=2, steps=4, evaluations=2)
    return make(artifact, tmp_path_factory.mktemp("landscape"), plan, print)


def test_four_panels_stand_in_one_table_and_one_picture(landscape: Made):
    assert list(dict.fromkeys(landscape.frame["panel"])) == list(PANELS)
    assert {"png", "pdf", "csv"} <= set(landscape.files)
    panels = ("Upper left: The loss", "Upper right: 4 stochastic gradients")
    for words in (*panels, "full form", "N(0, 0.1^2)", "20 fresh"):
        assert words in landscape.caption


def test_noise_of_the_landscape_is_of_its_own_batch_size(landscape: Made):
    noise = landscape.results["nonlinear-noise"]
    assert noise["batch_size"].values.tolist() == [20]
    assert noise.sizes["sample"] == min(4, GradientNoise.samples)


def _run_all(experiments):
    return {key: each.run() for key, each in experiments.items()}


@pytest.fixture(scope="module")
def tuned() -> Plan:
    artifact = dataclasses.replace(TABLE2, settings=(dataclasses.replace(SETTING_2, batch=10),))
    said: list[str] = []
    plan = Plan(tune=True, steps=2, evaluations=1)
    plan = searches.with_searches(plan, artifact, _run_all, said.append)
    assert said[0].startswith("setting-2: found ")
    return plan


def test_a_plan_is_run_with_the_rates_that_were_found(tuned: Plan):
    found = tuned.searches["setting-2"]
    rates = SETTING_2.experiment(tuned).learning_rates
    assert rates == {name: (rate,) for name, rate in found.rates.items()}
    assert tuned.as_json()["searches"] == {"setting-2": dict(found.rates)}


def test_nothing_is_searched_for_twice_or_without_being_asked(tuned: Plan):
    def fail(experiments):
        raise AssertionError(list(experiments))

    artifact = dataclasses.replace(TABLE2, settings=(SETTING_2,))
    assert searches.with_searches(tuned, artifact, fail, print) is tuned
    assert searches.with_searches(FULL, artifact, fail, print) is FULL


def test_table_2_shows_what_the_search_saw(tuned: Plan, tmp_path):
    made = make(TABLE2, tmp_path, tuned, print)
    assert isinstance(made.frame, pd.DataFrame)
    assert set(made.frame["seed"]) == set(tuning.TUNING_SEEDS)
    assert set(tuning.GRID) <= set(made.frame["learning_rate"])
    (table,) = made.tables.values()
    row = table[(table["setting"] == SETTING_2.title) & (table["optimizer"] == "adam")].iloc[0]
    assert (row["printed"], row["code"]) == (0.02, 0.005)
    assert row["found"] == tuned.rates["setting-2"]["adam"]
    assert "png" in made.files


def test_table_2_without_a_search_is_only_a_table(tmp_path):
    made = make(TABLE2, tmp_path, FULL, print)
    assert "png" not in made.files
    assert list(made.frame.columns) == ["setting", "optimizer", "printed", "code", "recorded"]

"""The settings and recipes have the numbers of the paper and of its public code."""

import pytest

from attnscape.experiments.setting import FULL, QUICK, Plan
from attnscape.measures import EvaluationLoss
from attnscape.paper.artifacts import ARTIFACTS
from attnscape.paper.catalog import ARTIFACTS as CATALOG
from attnscape.paper.catalog import EXTENDED, NETWORKS
from attnscape.paper.settings import DEPTHS, HEAVY_TAILED, SETTING_1, SETTING_2, SETTING_3, SPHERE
from attnscape.report.draw import draw
from attnscape.tasks import Gaussian, Linear, Sphere
from attnscape.tasks.covariates import Radial

CODE, PAPER = FULL, Plan(recipe="paper")


def rates(setting, plan):
    found = setting.experiment(plan).learning_rates
    return tuple(rate for name in ("sgdm", "adam") for rate in found[name])


@pytest.mark.parametrize(
    ("setting", "n", "covariates", "layers", "code", "paper"),
    [
        # Table 2 of the paper; Adam's rates of Settings 1 and 2 are swapped in print.
        (SETTING_1, 20, Gaussian, 3, (0.02, 0.02), (0.02, 0.005)),
        (SETTING_2, 5, Gaussian, 3, (0.01, 0.005), (0.01, 0.02)),
        (SETTING_3, 20, Radial, 3, (0.02, 0.02), (0.02, 0.02)),
        (SPHERE, 20, Sphere, 3, (5, 0.1), (5, 0.1)),
        (HEAVY_TAILED, 20, Radial, 3, (0.02, 0.02), (0.02, 0.02)),
        (DEPTHS[0], 20, Gaussian, 2, (0.1, 0.1), (0.1, 0.1)),
        (DEPTHS[1], 20, Gaussian, 4, (0.05, 0.05), (0.05, 0.05)),
        (DEPTHS[2], 20, Gaussian, 6, (0.05, 0.05), (0.05, 0.05)),
        (DEPTHS[3], 20, Gaussian, 8, (0.05, 0.02), (0.05, 0.02)),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_settings(setting, n, covariates, layers, code, paper):
    assert (setting.task.dim, setting.task.context, setting.task.noise) == (5, n, 0)
    assert isinstance(setting.task.covariates, covariates)
    assert (setting.task.weights, setting.task.response) == (Gaussian(), Linear())
    assert setting.layers == layers
    assert (rates(setting, CODE), rates(setting, PAPER)) == (code, paper)


def test_radius_of_setting_3_has_the_variance_but_not_the_mean_of_setting_1():
    squared_radius = SETTING_3.task.covariates.squared_radius
    assert squared_radius.dist.name == "gamma"
    assert (squared_radius.args, squared_radius.kwds) == ((0.1,), {"scale": 10})
    assert squared_radius.var() == pytest.approx(10)  # of |x|^2; also that of N(0, I_5)
    assert squared_radius.mean() == pytest.approx(1)  # 5 for N(0, I_5)


@pytest.mark.parametrize(("plan", "form"), [(CODE, "block"), (PAPER, "full")])
def test_recipes(plan, form):
    experiment = SETTING_1.experiment(plan)
    model = experiment.model.keywords
    assert (model["form"], model["scale"], model["dim"]) == (form, 0.05, 5)
    assert experiment.seeds == tuple(range(24))
    assert experiment.evaluation_seeds == tuple(range(8))
    assert (experiment.batch, experiment.steps, experiment.clip) == (1000, 10_000, 1)
    assert experiment.evaluation_batch == 1000
    (loss,) = (m for m in experiment.measures if isinstance(m, EvaluationLoss))
    assert loss.schedule.within(10_000) == tuple(range(0, 10_001, 50))


def test_only_the_code_clips_the_sphere_more_tightly():
    assert SPHERE.experiment(CODE).clip == 0.1
    assert SPHERE.experiment(PAPER).clip == 1


def test_a_plan_shortens_but_never_lengthens():
    quick = SETTING_1.experiment(QUICK)
    assert (len(quick.seeds), quick.steps) == (3, 2000)
    assert SETTING_1.experiment(Plan(steps=10**6)).steps == 10_000


def test_results_of_the_two_recipes_have_different_names():
    assert SETTING_1.experiment(CODE).name != SETTING_1.experiment(PAPER).name


def test_the_catalog_lists_all_artifacts_in_their_order():
    made = [(artifact.name, artifact.title) for artifact in ARTIFACTS.values()]
    assert made == [*CATALOG.items(), *EXTENDED.items(), *NETWORKS.items()]


def test_every_kind_of_artifact_is_drawn_or_says_that_it_is_a_table():
    undrawn = {
        type(artifact)
        for artifact in ARTIFACTS.values()
        if draw.dispatch(type(artifact)) is draw.dispatch(object)
    }
    assert undrawn == {type(ARTIFACTS["table1"])}

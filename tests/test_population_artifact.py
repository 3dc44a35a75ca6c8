"""The artifact `population`: the same contexts with less that is random, and known losses."""

import dataclasses
from functools import partial

import jax
import numpy as np
import pytest
import xarray as xr
from jax.flatten_util import ravel_pytree
from matplotlib.figure import Figure

from attnscape import LinearTransformer, RegressionTask, loss, spec, train, value_and_grad
from attnscape.experiments.setting import Plan
from attnscape.experiments.trials import evaluated_steps
from attnscape.measures import EvaluationLoss, Iterate, Parameters, at
from attnscape.paper.extended.on_task import GradientPairs, OnTask
from attnscape.paper.extended.population import (
    FIXED,
    FIXED_CONTEXTS,
    FRESH,
    INTEGRATED,
    POPULATION,
    PROMPTS,
)
from attnscape.paper.settings import SETTING_1
from attnscape.report.draw import draw
from attnscape.tasks import FixedPrompts, IntegratedPrompts, Sphere, derived_key
from attnscape.training import Status

ONE = dataclasses.replace(POPULATION, settings=(SETTING_1,))
STEPS = 200
RATIOS = {FRESH: 10.0, INTEGRATED: 100.0, FIXED: 1000.0}  # SGDM's population loss over Adam's
ON_SET = 10_000.0  # the same of the loss on the fixed set
SHARES = {"sgdm": 0.25, "adam": 0.5}


def dataset(prompts, seeds=6, lost=()):
    """Losses with the known ratios in every seed; Adam's run of a seed in `lost` diverges."""
    steps, runs = list(evaluated_steps(STEPS)), ("optimizer", "learning_rate", "seed")
    levels = np.exp(0.1 * np.arange(seeds))
    status = np.full((2, 1, seeds), Status.finished)
    status[1, :, list(lost)] = Status.diverged

    def losses(ratio):
        return np.stack([ratio * levels, levels])[:, None, :, None] * np.ones(len(steps))

    variables = {"population_loss": losses(RATIOS[prompts]), "loss": losses(ON_SET)[..., None]}
    dims = {"population_loss": (*runs, "step"), "loss": (*runs, "step", "evaluation")}
    if prompts == FRESH:
        # One pair of a hundred is huge, as with heavy tails; the median does not see it.
        pairs = np.append(np.full(100, 2.0), 1e9) * np.ones((2, 1, seeds, len(steps), 1))
        of_contexts = np.reshape(list(SHARES.values()), (2, 1, 1, 1, 1)) * pairs
        variables |= {"squared_noise": pairs, "integrated_squared_noise": of_contexts}
        dims |= dict.fromkeys(
            ("squared_noise", "integrated_squared_noise"), (*runs, "step", "pair")
        )
    return xr.Dataset(
        {"status": (runs, status)} | {n: (dims[n], values) for n, values in variables.items()},
        {
            "optimizer": ["sgdm", "adam"],
            "learning_rate": [0.02],
            "seed": range(seeds),
            "step": steps,
        },
        {"steps": STEPS, "batch": 1000},
    )


def results(lost=()):
    return {f"setting-1|{prompts}": dataset(prompts, lost=lost) for prompts in PROMPTS}


def test_only_what_is_random_differs():
    made = ONE.experiments(Plan(seeds=2, steps=2000))
    fresh, integrated, fixed = (made[f"setting-1|{prompts}"] for prompts in PROMPTS)
    assert (fresh.steps, fresh.seeds, fresh.batch) == (STEPS, (0, 1), 1000)
    assert (integrated.task, integrated.batch) == (IntegratedPrompts(fresh.task), 25_000)
    size = 25 * FIXED_CONTEXTS
    assert (fixed.task, fixed.batch) == (FixedPrompts(integrated.task, size), size)
    assert fixed.evaluation_batch == size  # the loss of the set that it is trained on
    changed = {"name", "task", "batch", "measures", "evaluation_batch"}
    for other in (integrated, fixed):
        for field in {field.name for field in dataclasses.fields(other)} - changed:
            assert spec.describe(getattr(other, field)) == spec.describe(getattr(fresh, field))
    assert len({each.measures[0] for each in made.values()}) == 1  # one population loss for all
    assert len({each.run_id for each in made.values()}) == 3


def test_known_losses_give_known_gaps():
    analysis = ONE.analyse(results())
    gaps = [analysis.gaps["setting-1", prompts].estimate for prompts in PROMPTS]
    assert gaps == pytest.approx([1.0, 2.0, 4.0])
    assert analysis.changes["setting-1", INTEGRATED].estimate == pytest.approx(1.0)
    assert analysis.changes["setting-1", FIXED].estimate == pytest.approx(3.0)
    assert analysis.beyond["setting-1"].estimate == pytest.approx(3.0)
    for optimizer, share in SHARES.items():
        assert analysis.shares["setting-1", optimizer, STEPS].estimate == pytest.approx(share)
    table = ONE.comparison(analysis)
    assert table["ours"].tolist()[:6] == pytest.approx([1.0, 2.0, 4.0, 1.0, 3.0, 3.0])
    assert set(table["seeds"]) == {6}
    caption = ONE.caption(analysis, Plan())
    assert "setting-1 1 [1, 1] (n = 6) (fresh prompts), 2 [2, 2] (n = 6) (query and" in caption
    assert "setting-1 sgdm at step 200 0.25 [0.25, 0.25] (n = 6)" in caption
    assert isinstance(draw(ONE, analysis), Figure)


def test_a_diverged_run_leaves_no_interval():
    analysis = ONE.analyse(results(lost=(3,)))
    assert all(np.isnan(gap.low) for gap in analysis.gaps.values())
    assert "Diverged: setting-1, fresh adam 1 of 6 seeds" in ONE.caption(analysis, Plan())
    assert isinstance(draw(ONE, analysis), Figure)


def test_what_is_not_exact_is_refused():
    assert "leave --task and --model out" in POPULATION.obstacle(Plan(own="--model mine.py:thing"))
    assert "the full form; take the recipe `code`" in POPULATION.obstacle(Plan(recipe="paper"))
    assert POPULATION.obstacle(Plan()) == ""


def test_a_measure_on_another_task_takes_all_prompts_from_it(x64):
    """Runs on one task, judged on another: the loss that the stored parameters have there."""
    shifted = RegressionTask(dim=2, context=3, covariates=Sphere())
    model = partial(LinearTransformer.init, layers=1, dim=2)
    measure = OnTask(at(0, 5), EvaluationLoss(), shifted, "shifted", batch=40, seed=3)
    made = train(
        RegressionTask(dim=2, context=3),
        model,
        ("sgd",),
        0.1,
        (0,),
        steps=5,
        batch=8,
        measures=(measure, Parameters(at(0, 5))),
        precision="float64",
    )
    prompts = shifted.sample(jax.random.key(3), 40, "float64")
    unravel = ravel_pytree(model(jax.random.key(0), dtype="float64"))[1]
    for step in (0, 5):
        there = made.sel(step=step).isel(seed=0, learning_rate=0, optimizer=0)
        expected = float(loss(unravel(there["parameters"].values), prompts))
        # The kernel draws in float32 and rounds in another order.
        assert float(there["shifted_loss"]) == pytest.approx(expected, rel=1e-5)


def test_pairs_are_half_the_squares_of_differences(x64):
    task = RegressionTask(dim=2, context=3)
    model = LinearTransformer.init(jax.random.key(1), layers=1, dim=2, dtype="float64")
    iterate = Iterate.of(model, task, dtype="float64")
    pairs = GradientPairs(at(0), pairs=12, batch=4)(iterate)["squared_noise"]
    gradients = [
        np.asarray(
            ravel_pytree(
                value_and_grad(model, iterate.draw(derived_key(iterate.key, index), 4))[1]
            )[0]
        )
        for index in range(24)
    ]
    expected = [((gradients[2 * i] - gradients[2 * i + 1]) ** 2).sum() / 2 for i in range(12)]
    np.testing.assert_allclose(pairs, expected, rtol=1e-10)

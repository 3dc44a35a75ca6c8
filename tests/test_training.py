"""The engine: runs that share prompts, never each other's fate."""

import functools
import os
import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from attnscape import LinearTransformer, RegressionTask, objective, train
from attnscape.errors import UsageError
from attnscape.measures import (
    Curvature,
    DirectionalSmoothness,
    EvaluationLoss,
    LargeBatchLoss,
    PseudoStepSmoothness,
    TrainingLoss,
    at,
    every,
    log_spaced,
)
from attnscape.optimizers import PAPER, adam
from attnscape.tasks import derived_key
from attnscape.training import Status, _engine
from support import TokenOracle, needs_kernels, relative

TASK = RegressionTask(dim=3, context=7)
MODEL = functools.partial(LinearTransformer.init, layers=2, dim=3, scale=0.3)
OFTEN = (EvaluationLoss(every(1)), TrainingLoss(every(1)))
MEASURED = ("loss", "training_loss", "gradient_norm")


def run(optimizers=PAPER, rates=(0.02, 0.1), seeds=(3, 0), **changes):
    settings = {"steps": 12, "batch": 50, "evaluation_batch": 60, "measures": OFTEN} | changes
    return train(TASK, MODEL, optimizers, rates, seeds, **settings)


@pytest.fixture(scope="module")
def company():
    """Two optimizers, two rates, two seeds."""
    return run()


def assert_same_bits(got, wanted):
    assert got.sizes == wanted.sizes
    for name, array in wanted.variables.items():
        np.testing.assert_array_equal(got[name].values, array.values, err_msg=name)


def test_results_have_the_documented_dims_and_labels(company):
    assert company["loss"].dims == ("optimizer", "learning_rate", "seed", "step")
    assert list(company["optimizer"].values) == ["sgdm", "adam"]
    assert list(company["learning_rate"].values) == [0.02, 0.1]
    assert list(company["seed"].values) == [3, 0]
    assert list(company["step"].values) == list(range(13))
    assert company["status"].dims == company["diverged_at"].dims == company["loss"].dims[:3]
    assert (company["status"] == Status.finished).all()
    assert (company["diverged_at"] == -1).all()
    assert all(company[name].attrs["long_name"] for name in (*MEASURED, "diverged_at"))
    for name in MEASURED:
        assert company[name].dtype == "float32"
        assert company[name].notnull().all()


def test_the_same_call_twice_gives_the_same_bits(company):
    assert_same_bits(run(), company)


COMPANY = """
import functools
import numpy as np
from attnscape import LinearTransformer, RegressionTask, train
from attnscape.measures import Curvature, DirectionalSmoothness, EvaluationLoss, TrainingLoss, every
from attnscape.optimizers import adam, sgdm
from support import PlainExternal

inside = {"sgdm": sgdm, "adam": adam}
losses = [EvaluationLoss(every(10)), TrainingLoss(every(10))]
all_measures = [*losses, Curvature(every(40)), DirectionalSmoothness(every(10))]

def run(optimizers, seeds, steps, measures):
    return train(
        RegressionTask(dim=3), functools.partial(LinearTransformer.init, layers=2, dim=3),
        optimizers, (0.02,), seeds, steps=steps, batch=100, evaluation_batch=100,
        measures=measures, evaluation_seeds=(0, 1),
    )

for optimizers, seeds, steps, measures in (
    (inside, range(6), 80, all_measures),
    (inside, range(100), 10, losses),
    ({**inside, "outside": PlainExternal()}, (3, 0), 80, all_measures),
):
    alone = run(optimizers, (0,), steps, measures)
    company = run(optimizers, seeds, steps, measures).sel(seed=[0])
    for name, array in company.variables.items():
        np.testing.assert_array_equal(alone[name].values, array.values, err_msg=name)
"""


def test_the_bits_of_a_seed_do_not_depend_on_its_company():
    """As users compile it: without the flag that makes the suite's programs quick to compile."""
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    environment["PYTHONPATH"] = os.path.dirname(__file__)
    command = [sys.executable, "-W", "ignore:The native kernels", "-c", COMPANY]
    subprocess.run(command, env=environment, check=True)


@needs_kernels
@pytest.mark.parametrize("name", PAPER)
def test_a_run_alone_equals_the_run_in_company(company, name):
    for rate, seed in ((0.02, 3), (0.1, 0)):
        alone = run({name: PAPER[name]}, (rate,), (seed,))
        where = {"optimizer": [name], "learning_rate": [rate], "seed": [seed]}
        assert_same_bits(alone, company.sel(where))


def test_without_kernels_too_company_changes_rounding_only(company, monkeypatch):
    monkeypatch.setattr(objective.native, "usable", lambda dtype: False)
    alone = run({"adam": adam}, (0.1,), (0,))
    for name in MEASURED:
        wanted = company[name].sel(optimizer=["adam"], learning_rate=[0.1], seed=[0])
        assert relative(alone[name].values, wanted.values) < 1e-4


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_the_engine_equals_a_plain_loop_over_the_token_form(precision, x64):
    """Prompts by `sample`, gradients of the token form, optax: nothing shared with the engine."""
    steps, rate, seed = 30, 0.1, 4
    got = train(
        TASK, MODEL, PAPER, (rate,), (seed,),
        steps=steps, batch=50, measures=OFTEN, precision=precision, evaluation_seeds=2,
        evaluation_batch=60,
    ).sel(learning_rate=rate, seed=seed)  # fmt: skip
    init_key, data_key = jax.random.split(jax.random.key(seed))
    evaluation = TASK.sample(jax.random.fold_in(jax.random.key(2), 1), 60, "float64")

    @jax.jit
    def loss(model, prompts):
        return jnp.mean((model(prompts) - prompts.target) ** 2)

    gradient = jax.jit(jax.grad(loss))
    for name, factory in PAPER.items():
        optimizer = optax.chain(optax.clip_by_global_norm(1.0), factory(rate))
        model = MODEL(init_key, dtype="float64")
        state = optimizer.init(model)
        plain = {name: [] for name in MEASURED}
        for step in range(steps + 1):
            prompts = TASK.sample(derived_key(data_key, step), 50, "float64")
            slope = gradient(model, prompts)
            plain["loss"].append(loss(model, evaluation))
            plain["training_loss"].append(loss(model, prompts))
            plain["gradient_norm"].append(optax.tree.norm(slope))
            updates, state = optimizer.update(slope, state, model)
            model = optax.apply_updates(model, updates)
        for measured, values in plain.items():
            values_got = got[measured].sel(optimizer=name)
            assert values_got.dtype == precision
            # Single precision: 30 steps of rounding, each at 5e-6 of a gradient clipped to 1.
            tolerance = {"float64": 1e-10, "float32": 1e-3}[precision]
            assert relative(values_got.values, values) < tolerance


def test_what_is_measured_when_does_not_change_the_runs(company):
    sparse = run(measures=(EvaluationLoss(at(5, 12)), TrainingLoss(log_spaced(3))))
    assert list(sparse["step"].values) == [1, 3, 5, 12]
    for name, steps in (("loss", [5, 12]), *((n, [1, 3, 12]) for n in MEASURED[1:])):
        np.testing.assert_array_equal(
            sparse[name].sel(step=steps).values, company[name].sel(step=steps).values
        )
        unmeasured = [step for step in sparse["step"].values if step not in steps]
        assert sparse[name].sel(step=unmeasured).isnull().all()


def test_optimizers_share_prompts_and_seeds_do_not(company):
    start = company.isel(step=0)
    for name in MEASURED:
        of_first = start[name].isel(optimizer=0, learning_rate=0)
        np.testing.assert_array_equal(start[name].values, of_first.broadcast_like(start[name]))
        assert of_first.values[0] != of_first.values[1]


def test_seeds_share_the_evaluation_batch_and_its_seed_changes_nothing_else(company):
    other = run(evaluation_seeds=1)
    assert (other["loss"] != company["loss"]).all()
    for name in MEASURED[1:]:
        np.testing.assert_array_equal(other[name].values, company[name].values)


ON_EVALUATION = (
    *("loss", "hessian_eigenvalues", "hessian_diagonal", "hessian_row_norm"),
    *("preconditioned_sharpness", "directional_smoothness", "evaluation_gradient_norm"),
)
LANDSCAPE = (*OFTEN, Curvature(at(0, 5)), DirectionalSmoothness(at(0, 5, 12)))


def test_several_evaluation_batches_are_a_dim_of_what_is_taken_on_them():
    several = run(measures=LANDSCAPE, evaluation_seeds=(0, 7))
    assert list(several["evaluation"].values) == [0, 7]
    for seed in (0, 7):
        one = run(measures=LANDSCAPE, evaluation_seeds=seed)
        assert "evaluation" not in one.dims
        assert_same_bits(several.sel(evaluation=seed, drop=True), one)
    for name in ON_EVALUATION:
        assert several[name].dims[:5] == (
            "optimizer",
            "learning_rate",
            "seed",
            "step",
            "evaluation",
        )
    for name in ("training_loss", "gradient_norm", "update_norm", "status", "diverged_at"):
        assert "evaluation" not in several[name].dims
    assert (several["loss"].isel(evaluation=0) != several["loss"].isel(evaluation=1)).all()


def test_one_evaluation_seed_in_a_sequence_keeps_the_dim(company):
    assert_same_bits(run(evaluation_seeds=[0]).squeeze("evaluation", drop=True), company)


def test_costly_measures_look_at_one_batch_often_and_at_all_seldom():
    seeds = (0, 1, 2)
    often, seldom = Curvature(at(0, 2, 4, 6), evaluations=1), Curvature(at(4, 12), evaluations=3)
    mixed = run(measures=(seldom, often), evaluation_seeds=seeds)
    alone = run(measures=(Curvature(at(0, 2, 4, 6, 12)),), evaluation_seeds=seeds)
    for name in ("hessian_eigenvalues", "hessian_diagonal", "hessian_row_norm"):
        step, evaluation = mixed["step"], mixed["evaluation"]
        measured = ((evaluation == 0) & (step < 12)) | step.isin([4, 12])
        wanted = alone[name].where(measured)
        np.testing.assert_array_equal(
            mixed[name].values, wanted.transpose(*mixed[name].dims).values
        )


def test_a_large_batch_is_measured_in_pieces(x64):
    """Against the token form on the same prompts in one batch."""
    got = run(measures=(LargeBatchLoss(at(0, 12), batch=3000, seed=5),), rates=(0.02,), seeds=(3,))
    key = jax.random.fold_in(jax.random.key(5), 2)
    pieces = [TASK.sample(derived_key(key, piece), 1000, "float64") for piece in range(3)]
    model = MODEL(jax.random.split(jax.random.key(3))[0], dtype="float32")
    model = jax.tree.map(lambda a: a.astype("float64"), model)
    errors = np.concatenate([(model(prompts) - prompts.target) ** 2 for prompts in pieces])
    start = got.isel(step=0, learning_rate=0, seed=0, optimizer=0)
    assert relative(start["large_batch_loss"].values, errors.mean()) < 1e-12
    assert (got["large_batch_loss"].isel(step=1) < got["large_batch_loss"].isel(step=0)).all()


@pytest.mark.parametrize(
    ("measures", "sentence"),
    [
        ((EvaluationLoss(evaluations=2),), "asks for 2 evaluation batches and there are 1; give"),
        ((EvaluationLoss(evaluations=0),), "EvaluationLoss asks for 0 evaluation batches"),
        (
            (PseudoStepSmoothness(at(0)), PseudoStepSmoothness(at(1), memory=3)),
            "Two measures give pseudo_step_smoothness, .*; they must be of one class and differ in",
        ),
    ],
)
def test_measures_that_cannot_be_taken_together_are_refused(measures, sentence):
    with pytest.raises(UsageError, match=sentence):
        run(measures=measures)


def test_a_diverging_run_is_marked_and_the_others_go_on(company):
    """At a rate of 1e30 the first update already takes float32 parameters beyond any loss."""
    with_diverging = run(rates=(0.02, 0.1, 1e30))
    assert_same_bits(with_diverging.sel(learning_rate=[0.02, 0.1]), company)
    lost = with_diverging.sel(learning_rate=1e30)
    assert (lost["status"] == Status.diverged).all()
    assert (lost["diverged_at"] >= 1).all()
    assert (lost["diverged_at"] <= 2).all()
    for name in MEASURED:
        after = with_diverging["step"] >= with_diverging["diverged_at"]
        dead = (with_diverging["diverged_at"] >= 0) & after
        np.testing.assert_array_equal(with_diverging[name].isnull(), dead)


def test_rates_that_an_optimizer_did_not_run_are_marked():
    result = run(rates={"sgdm": (0.1, 0.02, 0.1), "adam": (0.5,)})
    assert list(result["learning_rate"].values) == [0.02, 0.1, 0.5]
    ran = [[True, True, False], [False, False, True]]
    for seed in (3, 0):
        status = result["status"].sel(seed=seed)
        np.testing.assert_array_equal(status == Status.finished, ran)
        np.testing.assert_array_equal(status == Status.not_run, np.logical_not(ran))
    np.testing.assert_array_equal(result["loss"].notnull().all(["seed", "step"]), ran)
    assert result["loss"].where(result["status"] == Status.not_run).isnull().all()


def test_zero_steps_measure_the_start(company):
    start = run(steps=0)
    assert list(start["step"].values) == [0]
    np.testing.assert_array_equal(start["loss"].values, company["loss"].values[..., :1])


def test_no_clipping_and_a_threshold_never_reached_are_the_same():
    """To rounding: with and without clipping XLA fuses the update differently."""
    gently = {"rates": (0.001,), "steps": 5, "precision": "float64"}
    unclipped, loose = (run(clip=clip, **gently) for clip in (None, 1e6))
    assert float(loose["gradient_norm"].max()) < 1e6
    for name in MEASURED:
        np.testing.assert_allclose(unclipped[name].values, loose[name].values, rtol=1e-9)
    assert (run(clip=0.01, **gently)["loss"] != loose["loss"]).isel(step=-1).any()


@pytest.mark.parametrize("cores", [1, 2])
def test_progress_counts_run_steps_up_to_all(cores, monkeypatch):
    monkeypatch.setattr(_engine, "processors", lambda: cores)
    seen = []
    run(progress=lambda done, total: seen.append((done, total)), measures=(EvaluationLoss(at(6)),))
    assert seen == sorted(set(seen))  # in order, and nothing told twice
    assert seen[0] == (0, 96)
    assert seen[-1] == (96, 96)
    assert len(seen) >= 5


def test_any_task_model_and_optimizer_of_the_users_own_can_be_trained():
    def covariates(key, batch, n, d):
        return jax.random.laplace(key, (batch, n, d))

    task = RegressionTask(3, 7, covariates=covariates, response=lambda x, w: jnp.tanh(x[..., 0]))

    def mean_response(key):  # not linear attention: trained through its own call
        return Shrunk(jnp.ones(()))

    result = train(
        task, mean_response, {"mine": lambda rate: optax.rmsprop(rate)}, (0.05,), (0, 1),
        steps=40, batch=20, measures=(EvaluationLoss(at(0, 40)),),
    )  # fmt: skip
    assert (result["loss"].sel(step=40) < result["loss"].sel(step=0)).all()


class Shrunk(eqx.Module):
    """Predicts a multiple of the mean response."""

    factor: jax.Array

    def __call__(self, prompts):
        return self.factor * prompts.y.mean(axis=1)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"optimizers": {}}, "No optimizer was given; name at least one"),
        ({"rates": {"sgdm": (0.1,)}}, r"rates were given for \['sgdm'\], optimizers are \['adam'"),
        ({"rates": ()}, "No learning rate was given for sgdm; give at least one"),
        ({"rates": (0.1, 0.0)}, "learning rate 0.0 is not usable; it must be positive and finite"),
        ({"rates": (-0.1,)}, "learning rate -0.1 is not usable"),
        ({"rates": (np.inf,)}, "learning rate inf is not usable"),
        ({"rates": (np.nan,)}, "learning rate nan is not usable"),
        ({"seeds": ()}, r"seeds are \[\]; give at least one, and none twice"),
        ({"seeds": (1, 2, 1)}, r"seeds are \[1, 2, 1\]; give at least one, and none twice"),
        ({"evaluation_seeds": ()}, r"evaluation_seeds are \[\]; give at least one"),
        ({"evaluation_seeds": (1, 1)}, r"evaluation_seeds are \[1, 1\]; give at least one"),
        ({"evaluation_seeds": -1}, r"seed -1 is not usable; .* from 0 to 2\^32-1"),
        ({"seeds": (-1,)}, r"seed -1 is not usable; .* from 0 to 2\^32-1"),
        ({"seeds": (2**32,)}, r"seed 4294967296 is not usable; .* from 0 to 2\^32-1"),
        ({"steps": -1}, "steps is -1; it must be a whole number of at least 0"),
        ({"batch": 0}, "batch is 0; it must be a whole number of at least 1"),
        ({"evaluation_batch": 0}, "evaluation_batch is 0; it must be a whole number of at least 1"),
        ({"rates": (1e-46,)}, "learning rate 1e-46 is beyond float32, which holds 1.2e-38 to"),
        ({"clip": 1e-300}, "clip 1e-300 is beyond float32, which holds 1.2e-38 to 3.4e"),
        ({"seeds": 3}, r"seeds is 3; give a sequence of seeds, for example range\(3\)"),
        ({"optimizers": ["adam", "nope"]}, "'nope' is no name of an optimizer; give a dict from"),
        ({"clip": 0.0}, "clip is 0.0; it must be positive, or None for no clipping"),
        ({"clip": -1.0}, "clip is -1.0; it must be positive"),
        ({"clip": np.nan}, "clip is nan; it must be positive"),
        ({"precision": "float16"}, "precision is 'float16'; it must be float32 or float64"),
    ],
)
def test_mistakes_are_answered_with_what_is_allowed(changes, sentence, unchecked):
    with pytest.raises(UsageError, match=sentence):
        run(**changes)


def test_names_of_optimizers_and_one_rate_do():
    assert_same_bits(run(["sgdm", "adam"], rates=0.02), run(rates={"sgdm": [0.02], "adam": 0.02}))


def test_the_last_step_is_always_measured():
    result = run(measures=(EvaluationLoss(every(5)), TrainingLoss(every(5))))
    assert list(result["step"].values) == [0, 5, 10, 12]
    for name in MEASURED:
        assert result[name].notnull().all()


@pytest.mark.parametrize("clip", [0.05, None])
def test_the_smoothness_of_the_step_is_that_of_the_token_forms_hessian(clip, x64):
    """Steps by optax from the token form's gradients, Hessian by numpy: nothing is shared."""
    steps, rate, seed = 4, 0.05, 1
    got = run(
        rates=(rate,), seeds=(seed,), steps=steps, clip=clip, precision="float64",
        measures=(DirectionalSmoothness(every(1)),),
    )  # fmt: skip
    init_key, data_key = jax.random.split(jax.random.key(seed))
    evaluation = TASK.sample(jax.random.fold_in(jax.random.key(0), 1), 60, "float64")
    for name, factory in PAPER.items():
        optimizer = factory(rate)
        model = MODEL(init_key, dtype="float64")
        state, clipped = optimizer.init(model), 0
        for step in range(steps + 1):
            at_step = TokenOracle(model, TASK.sample(derived_key(data_key, step), 50, "float64"))
            gradient = at_step.gradient()
            norm = np.linalg.norm(gradient)
            if clip is not None and norm > clip:
                gradient, clipped = gradient * clip / norm, clipped + 1
            slope = eqx.tree_at(lambda m: (m.P, m.Q), model, tuple(map(jnp.asarray, gradient)))
            updates, state = optimizer.update(slope, state, model)
            on_evaluation = TokenOracle(model, evaluation)
            u = np.stack([updates.P, updates.Q])
            wanted = {
                "directional_smoothness": np.vdot(u, on_evaluation.hvp(u)) / np.vdot(u, u),
                "update_norm": np.linalg.norm(u),
                "evaluation_gradient_norm": np.linalg.norm(on_evaluation.gradient()),
            }
            here = got.sel(optimizer=name, step=step, learning_rate=rate, seed=seed)
            for measured, value in wanted.items():
                assert relative(here[measured].values, value) < 1e-9
            model = optax.apply_updates(model, updates)
        assert (clipped > 0) == (clip is not None)

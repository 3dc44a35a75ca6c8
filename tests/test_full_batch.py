"""Prompts drawn once, and what is seen along full-batch training: the edge of stability."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from attnscape import LinearTransformer, Prompts, RegressionTask, train
from attnscape.errors import UsageError
from attnscape.experiments.experiment import Experiment
from attnscape.experiments.setting import FULL, Plan
from attnscape.measures import Curvature, EvaluationLoss, TrainingLoss, at, every
from attnscape.optimizers import sgd
from attnscape.paper.extended.edge_of_stability import EDGE_OF_STABILITY
from attnscape.paper.settings import SETTING_3
from attnscape.tasks import FixedPrompts
from attnscape.training import Status
from attnscape.workflows.make import make

_INNER = RegressionTask(dim=2, context=3)
_MODEL = partial(LinearTransformer.init, layers=1, dim=2)
# The kernel sums a few products of numbers below 10 in another order: some units of 1e-7 * 10.
_ROUNDING = {"rtol": 1e-5, "atol": 5e-6}
_KEYS = [jax.random.key(seed) for seed in (7, 8)]


class Signs:
    """A task that is not built in; its class cannot be identified by fields."""

    dim, context = 2, 3

    def sample(self, key, batch, dtype="float32"):
        x = jax.random.rademacher(key, (batch, 4, 2), dtype)
        return Prompts(x[:, :3], x[:, :3, 0], x[:, 3], x[:, 3, 0])

    def sample_moments(self, key, batch, dtype="float32"):
        return self.sample(key, batch, dtype).moments()


class Constant(Signs):
    """A task that does not draw."""

    def sample(self, key, batch, dtype="float32"):
        return super().sample(jax.random.key(0), batch, dtype)


def _experiment(task, **changes) -> Experiment:
    rates = {"sgd": (0.1,)}
    changes = {"steps": 4, "batch": 16, "evaluation_batch": 16, **changes}
    return Experiment("one", task, _MODEL, {"sgd": sgd}, rates, (0, 1), **changes)


def test_the_full_batch_is_one_draw_of_the_inner_task_for_every_key():
    task = FixedPrompts(_INNER, 16, seed=3)
    expected = _INNER.sample(jax.random.key(3), 16)
    for key in _KEYS:
        for array, same in zip(
            jax.tree.leaves(task.sample(key, 16)), jax.tree.leaves(expected), strict=True
        ):
            np.testing.assert_array_equal(array, same)
        moments, same = task.sample_moments(key, 16), expected.moments()
        for array, other in zip(jax.tree.leaves(moments), jax.tree.leaves(same), strict=True):
            np.testing.assert_allclose(array, other, **_ROUNDING)


def test_other_batches_are_drawn_from_the_set():
    task = FixedPrompts(_INNER, 16)
    held = {float(target) for target in task.sample(_KEYS[0], 16).target}
    first, second = (task.sample(key, 40).target for key in _KEYS)
    assert {float(target) for target in first} <= held
    assert (first != second).any()
    moments = task.sample_moments(_KEYS[0], 40)
    # Prompts and moments are the same rows.
    np.testing.assert_allclose(moments.target, first, **_ROUNDING)


def test_a_set_has_at_least_one_prompt():
    with pytest.raises(UsageError, match=r"size is 0; it must be a whole number of at least 1\."):
        FixedPrompts(_INNER, 0)


def test_training_on_the_full_batch_minimises_what_is_evaluated():
    measures = EvaluationLoss(every(1)), TrainingLoss(every(1))
    result = _experiment(FixedPrompts(_INNER, 16), steps=30, measures=measures).run()
    np.testing.assert_array_equal(result["loss"], result["training_loss"])
    # Far below the edge of stability, no step of gradient descent can raise its own objective.
    assert (result["loss"].diff("step") < 0).all()


def test_fresh_batches_are_not_what_is_evaluated():
    measures = EvaluationLoss(every(1)), TrainingLoss(every(1))
    result = _experiment(_INNER, measures=measures).run()
    assert (result["loss"] != result["training_loss"]).all()


@pytest.mark.parametrize("inner", [_INNER, Signs()], ids=["built-in", "own"])
def test_identity_knows_the_set(inner):
    sets = FixedPrompts(inner, 16), FixedPrompts(inner, 16, seed=1), FixedPrompts(inner, 17), inner
    ids = [_experiment(task).run_id for task in sets]
    assert len(set(ids)) == len(ids)
    assert _experiment(FixedPrompts(inner, 16)).run_id == ids[0]


def test_identity_knows_the_radius_of_the_inner_task():
    task = SETTING_3.task
    of_set, plain = (_experiment(t).identity.content["task"] for t in (FixedPrompts(task, 9), task))
    assert of_set["distributions"] == plain["distributions"] != []


def test_own_tasks_must_still_draw_from_their_key():
    trained = train(FixedPrompts(Signs(), 8), _MODEL, ["sgd"], 0.1, (0,), steps=1, batch=8)
    assert np.isfinite(trained["loss"]).all()
    with pytest.raises(UsageError, match="do not depend on the key"):
        train(FixedPrompts(Constant(), 8), _MODEL, ["sgd"], 0.1, (0,), steps=1, batch=8)


def _result(plain: np.ndarray, preconditioned: np.ndarray) -> xr.Dataset:
    """Runs of SGD at 0.01 and Adam at 0.001 with these sharpnesses (seed, step)."""
    dims = ("optimizer", "learning_rate", "seed", "step")
    seeds, steps = plain.shape
    nothing = np.full_like(plain, np.nan)
    eigenvalues = np.stack([[plain, nothing], [nothing, plain]])  # Adam's plain one is not used
    ours = np.stack([[nothing, nothing], [nothing, preconditioned]])
    status = np.full((2, 2, seeds), Status.not_run)
    status[0, 0] = status[1, 1] = Status.finished
    return xr.Dataset(
        {
            "hessian_eigenvalues": (
                (*dims, "eigenvalue"),
                np.stack([eigenvalues - 1, eigenvalues], -1),
            ),
            "preconditioned_sharpness": (dims, ours),
            "loss": (dims, np.ones_like(eigenvalues)),
            "status": (dims[:3], status),
        },
        {
            "optimizer": ["sgd", "adam"],
            "learning_rate": [0.01, 0.001],
            "seed": range(seeds),
            "step": range(steps),
        },
    )  # fmt: skip


def test_sharpness_is_compared_with_the_edge_of_each_rate():
    plain = np.tile([20.0, 100.0, 200.0, 400.0], (6, 1))  # the edge is 2 / 0.01 = 200
    plain[0] = [20, 100, 100, 100]  # one seed stays below
    adam = np.tile([np.nan, 3.8e3, 3.8e4, 3.8e4], (6, 1))  # the edge is 38 / 0.001
    analysis = EDGE_OF_STABILITY.analyse({"setting-1": _result(plain, adam)})
    descent = analysis.edges["setting-1", "sgd", 0.01]
    assert descent.lowest.estimate == pytest.approx(0.1)
    assert descent.peak.estimate == pytest.approx((0.5 * 2**5) ** (1 / 6))
    assert descent.later.estimate == pytest.approx((0.5 * 1.5**5) ** (1 / 6))
    assert descent.reached.estimate == pytest.approx(5 / 6)
    of_adam = analysis.edges["setting-1", "adam", 0.001]
    assert (of_adam.lowest.estimate, of_adam.later.estimate) == pytest.approx((0.1, 1.0))
    assert of_adam.reached.estimate == 1


def test_runs_that_were_never_below_the_edge_do_not_reach_it_from_below():
    plain = np.tile([900.0, 300.0, 400.0, 400.0], (6, 1))  # the edge is 2 / 0.01 = 200
    plain[:2] = [900, 100, 300, 300]
    analysis = EDGE_OF_STABILITY.analyse({"setting-1": _result(plain, plain)})
    assert analysis.edges["setting-1", "sgd", 0.01].reached.estimate == pytest.approx(2 / 6)


def test_a_rate_at_which_all_runs_diverge_has_no_numbers_and_says_so():
    plain = np.tile([20.0, 100.0, np.nan, np.nan], (6, 1))
    analysis = EDGE_OF_STABILITY.analyse({"setting-1": _result(plain, plain)})
    caption = EDGE_OF_STABILITY.caption(analysis, FULL)
    assert "for gradient descent, none (n = 0) at 0.01" in caption
    assert "nan" not in caption


def test_a_diverged_run_has_no_later_sharpness():
    plain = np.tile([20.0, 100.0, np.nan, np.nan], (6, 1))
    analysis = EDGE_OF_STABILITY.analyse({"setting-1": _result(plain, plain)})
    assert np.isnan(analysis.edges["setting-1", "sgd", 0.01].later.estimate)


def test_sharpness_is_that_of_the_objective_that_is_trained(tmp_path, monkeypatch):
    """The largest eigenvalue of the token form's Hessian on the set, by JAX in double precision.

    Of a set that is smaller than the artifact's.
    """
    full_batch = 64
    monkeypatch.setattr("attnscape.paper.extended.edge_of_stability.FULL_BATCH", full_batch)
    made = make(EDGE_OF_STABILITY, tmp_path, Plan(seeds=1, steps=2), print)
    assert set(made.files) == {"csv", "txt", "png", "pdf"}
    (experiment,) = EDGE_OF_STABILITY.experiments(Plan(seeds=1, steps=2)).values()
    assert (experiment.batch, experiment.evaluation_batch) == (full_batch, full_batch)
    (first,) = set(made.frame.query("optimizer == 'sgd' and step == 0")["sharpness"])
    with jax.enable_x64(True):
        init, _ = jax.random.split(jax.random.key(0))
        model = experiment.model(init)
        prompts = experiment.task.sample(jax.random.key(5), full_batch, jnp.float64)
        P, Q = (jnp.asarray(array, jnp.float64) for array in (model.P, model.Q))

        def loss(flat):
            P_, Q_ = flat.reshape(2, *P.shape)
            errors = LinearTransformer(P_, Q_)(prompts) - prompts.target
            return (errors**2).mean()

        hessian = jax.hessian(loss)(jnp.concatenate([P.ravel(), Q.ravel()]))
        largest = float(jnp.linalg.eigvalsh(hessian)[-1])
    # Moments are made in double precision of numbers drawn in float32.
    assert first == pytest.approx(largest, rel=1e-5)


def test_a_rate_above_the_edge_raises_the_loss_of_a_quadratic():
    """One layer in block form is quadratic in Q: 2 / sharpness is the largest stable rate."""
    task, measure = FixedPrompts(_INNER, 16), Curvature(at(0))
    base = _experiment(task, steps=0, clip=None, measures=(measure,))
    edge = 2 / base.run()["hessian_eigenvalues"].sel(seed=0).max().item()
    rates = {"sgd": (0.9 * edge, 1.1 * edge)}
    tried = dataclasses.replace(
        base, learning_rates=rates, seeds=(0,), steps=200, measures=(EvaluationLoss(every(200)),)
    ).run()
    change = tried["loss"].diff("step").squeeze()
    assert change.sel(learning_rate=rates["sgd"][0]) < 0 < change.sel(learning_rate=rates["sgd"][1])

"""Losses of untrained predictors: the zero predictor, gradient descent in the prompt, and Bayes."""

import functools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from attnscape import LinearTransformer, RegressionTask, train
from attnscape.errors import UsageError
from attnscape.experiments import reference_losses as module
from attnscape.experiments.fitted_predictors import best_descent, best_penalty, ridge
from attnscape.experiments.reference_losses import reference_losses
from attnscape.models import gradient_descent, optimal_rates
from attnscape.objective import predictions
from attnscape.optimizers import sgd
from attnscape.tasks import Gaussian, Huber, ReluNetwork, Sphere, TableTask, WithLoss
from attnscape.trees import astype

WIDE = Gaussian([[4.0, 0.0], [0.0, 0.25]])
POINTS = np.random.default_rng(0).normal(size=(40, 2))
ZERO, RIDGE, BAYES = "zero predictor", "ridge", "Bayes"
TWO_STEPS = "2 steps of preconditioned gradient descent"


@pytest.fixture
def small_samples(monkeypatch):
    """The number of prompts that predictors are fitted to: fewer than in figures."""
    monkeypatch.setattr(module, "_MOST_PROMPTS", 5_000)
    return 5_000


def own_law(key, batch, n, d):
    return jax.random.normal(key, (batch, n, d))


def mean_square(rates, eigenvalues):
    """What is left of w after the steps, on average over eigenvalues of the gram matrix."""
    return (np.prod(1 - np.multiply.outer(rates, eigenvalues), axis=0) ** 2).mean()


@given(
    st.lists(st.floats(0.05, 3.0), min_size=4, max_size=9, unique=True),
    st.integers(1, 3),
)
@settings(max_examples=30, deadline=None)
def test_no_other_step_sizes_are_better(eigenvalues, steps):
    rates = optimal_rates(np.diag(eigenvalues)[None], steps)
    assert (rates > 0).all()
    assert (np.diff(rates) <= 0).all()
    found = mean_square(rates, eigenvalues)
    starts = rates * (1 + 0.3 * np.linspace(-1, 1, steps)), np.full(steps, 1 / np.mean(eigenvalues))
    for start in starts:
        other = optimize.minimize(mean_square, start, args=(eigenvalues,), tol=1e-10)
        # The rates come from roots of a polynomial, whose rounding errors the square forgives.
        assert found <= other.fun + 1e-9


def test_one_step_has_the_rate_of_the_wishart_moments():
    """E G = I and tr E G^2 = d (n + d + 1) / n, so the best rate is n / (n + d + 1)."""
    n, d, batch = 20, 5, 100_000
    gram = RegressionTask(dim=d, context=n).sample_moments(jax.random.key(0), batch).gram
    (rate,) = optimal_rates(np.asarray(gram), 1)
    # The means over 100,000 prompts have relative errors below .1 %, so 1 % is far outside.
    assert rate == pytest.approx(n / (n + d + 1), rel=0.01)


def test_the_transformer_descends_on_the_examples():
    prompts = RegressionTask(dim=3, context=4).sample(jax.random.key(1), 5)
    x, y = np.asarray(prompts.x, float), np.asarray(prompts.y, float)
    w = np.zeros((5, 3))
    for rate in (0.4, 0.1, 0.3):
        error = np.einsum("bnd,bd->bn", x, w) - y
        w = w - rate * np.einsum("bn,bnd->bd", error, x) / 4
    expected = np.einsum("bd,bd->b", w, np.asarray(prompts.query))
    predictions = np.asarray(gradient_descent([0.4, 0.1, 0.3], 3)(prompts))
    np.testing.assert_allclose(predictions, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("rates", "dim"), [((), 3), ((0.1,), 0)])
def test_descent_needs_a_step_and_a_dimension(rates, dim):
    with pytest.raises(UsageError, match="at least one rate"):
        gradient_descent(rates, dim)


def test_more_steps_than_eigenvalues_stand_still():
    """Also if equal eigenvalues differ by rounding, as those of unit vectors' gram matrices do."""
    gram = np.stack([np.diag([1.0, 0.25, -1e-17]), np.diag([1 + 2e-16, 0.25, 1e-17])])
    rates = optimal_rates(gram, steps=4)
    np.testing.assert_allclose(rates, [4, 1, 0, 0], rtol=1e-12)


@pytest.mark.parametrize(("gram", "steps"), [(np.eye(2), 0), (np.zeros((2, 2)), 1)])
def test_steps_need_an_eigenvalue(gram, steps):
    with pytest.raises(UsageError, match="give at least one step, and gram matrices"):
        optimal_rates(gram[None], steps)


def test_a_preconditioner_has_the_dimension():
    with pytest.raises(UsageError, match=r"shape \(2, 2\); with dim 3 give \(3, 3\)"):
        gradient_descent([0.1], 3, np.eye(2))


@pytest.mark.parametrize(
    "task", [RegressionTask(dim=3), RegressionTask(dim=3, covariates=Sphere())]
)
def test_references_go_down_with_what_is_known(task):
    names = [each.name for each in reference_losses(task, 2)]
    assert names == ["zero predictor", "2 steps of gradient descent", "Bayes (least squares)"]
    zero, descent, bayes = (each.loss for each in reference_losses(task, 2))
    deeper = reference_losses(task, 4)[1].loss
    assert zero > descent > deeper > bayes == 0


def test_they_are_on_the_batch_that_runs_are_evaluated_on():
    key = jax.random.fold_in(jax.random.key(3), 1)
    target = np.asarray(RegressionTask().sample(key, 50).target, float)
    (zero, *_) = reference_losses(RegressionTask(), 1, evaluation_seed=3, evaluation_batch=50)
    assert zero.loss == pytest.approx((target**2).mean(), rel=1e-6)


def test_with_noise_bayes_is_the_posterior_mean():
    task = RegressionTask(dim=3, context=4, noise=0.5)
    prompts = task.sample(jax.random.fold_in(jax.random.key(0), 1), 1000)
    errors = []
    for x, y, query, target in zip(
        *(np.asarray(a, float) for a in (prompts.x, prompts.y, prompts.query, prompts.target)),
        strict=True,
    ):
        covariance = x @ x.T + 0.25 * np.eye(4)  # of the responses, w integrated out
        errors.append(query @ x.T @ np.linalg.solve(covariance, y) - target)
    zero, descent, bayes = reference_losses(task, 1)
    assert (zero.name, bayes.name) == ("zero predictor", "Bayes (ridge)")
    assert descent.name == "1 step of preconditioned gradient descent"
    assert zero.loss > descent.loss > bayes.loss
    assert bayes.loss == pytest.approx(np.mean(np.square(errors)), rel=1e-5)


def test_with_fewer_examples_than_dimensions_least_squares_has_a_loss():
    task = RegressionTask(dim=4, context=2)
    prompts = task.sample(jax.random.fold_in(jax.random.key(0), 1), 1000)
    w = np.linalg.pinv(np.asarray(prompts.x, float)) @ np.asarray(prompts.y, float)[..., None]
    errors = np.einsum("bd,bd->b", w[..., 0], prompts.query) - np.asarray(prompts.target)
    assert reference_losses(task, 1)[-1].loss == pytest.approx((errors**2).mean(), rel=1e-4)


@pytest.mark.parametrize(
    ("task", "names"),
    [
        (RegressionTask(dim=2, response=ReluNetwork()), [ZERO, TWO_STEPS, RIDGE]),
        (RegressionTask(dim=2, weights=Sphere()), [ZERO, TWO_STEPS, RIDGE]),
        (RegressionTask(dim=2, covariates=WIDE), [ZERO, TWO_STEPS, "Bayes (least squares)"]),
        (RegressionTask(dim=2, context=2, weights=WIDE, noise=1), [ZERO, TWO_STEPS, RIDGE, BAYES]),
        (TableTask(POINTS, POINTS[:, 0] ** 2, context=3), [ZERO, TWO_STEPS, RIDGE]),
        (WithLoss(RegressionTask(dim=2), Huber()), []),
        (object(), []),
    ],
    ids=["nonlinear", "other weights", "not isotropic", "normal weights", "table", "Huber", "none"],
)
def test_every_task_has_the_references_that_can_be_had(task, names, small_samples):
    found = {each.name.partition(" with")[0]: each for each in reference_losses(task, 2)}
    assert sorted(found) == sorted(names)
    assert all(
        each.prompts == (RIDGE in name or name == TWO_STEPS) * small_samples
        for name, each in found.items()
    )


def test_constant_responses_and_covariates_have_only_the_zero_predictor():
    still = TableTask(0 * POINTS, POINTS[:, 0], context=3)
    assert [each.name for each in reference_losses(still, 2)] == [ZERO]
    assert [each.loss for each in reference_losses(TableTask(POINTS, np.zeros(40)), 2)] == [0]


def test_fitted_predictors_have_their_expected_loss_and_its_error(small_samples):
    """On prompts of another seed the means differ by chance alone."""
    task = RegressionTask(dim=2, context=4, covariates=WIDE, response=ReluNetwork(), noise=0.3)
    fresh = RegressionTask.sample_moments(task, jax.random.key(77), 50_000, "float32")
    with jax.enable_x64(True):
        fresh = astype("float64", fresh)
        fitted = astype("float64", task.sample_moments(jax.random.key(200_001), small_samples))
        model = best_descent(fitted, 2)
        penalty = best_penalty(fitted)
        predicted = {TWO_STEPS: predictions(model, fresh), RIDGE: ridge(fresh, penalty)}
    for each in reference_losses(task, 2):
        if each.name == ZERO:
            continue
        errors = np.square(predicted[each.name.partition(" with")[0]] - fresh.target)
        spread = np.hypot(each.standard_error, errors.std() / np.sqrt(len(errors)))
        assert abs(each.expected - errors.mean()) < 4 * spread
        assert 0 < each.standard_error < 0.1 * each.expected


def test_bayes_with_other_normal_weights_weighs_directions():
    """The dual form: the responses' covariance is x W x^T + noise."""
    task = RegressionTask(dim=2, context=2, weights=WIDE, noise=0.5)
    prompts = task.sample(jax.random.fold_in(jax.random.key(0), 1), 1000)
    W, errors = np.array(WIDE.covariance), []
    for x, y, query, target in zip(
        *(np.asarray(a, float) for a in (prompts.x, prompts.y, prompts.query, prompts.target)),
        strict=True,
    ):
        covariance = x @ W @ x.T + 0.25 * np.eye(2)
        errors.append(query @ W @ x.T @ np.linalg.solve(covariance, y) - target)
    bayes = reference_losses(task, None)[-1]
    assert bayes.name == "Bayes"
    assert bayes.loss == pytest.approx(np.mean(np.square(errors)), rel=1e-5)


def test_references_of_own_parts_are_on_the_prompts_of_their_runs():
    """A function that draws other numbers in double precision draws those of training here."""
    task = RegressionTask(dim=2, context=3, covariates=own_law)
    start = functools.partial(LinearTransformer.init, layers=1, dim=2, scale=0.0)
    dataset = train(task, start, {"sgd": sgd}, {"sgd": (0.1,)}, seeds=(0,), steps=1, batch=2)
    zero = reference_losses(task, None)[0]
    assert zero.loss == pytest.approx(float(dataset["loss"].isel(step=0).squeeze()), rel=1e-5)

"""Losses of untrained predictors: the zero predictor, gradient descent in the prompt, and Bayes."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from attnscape import RegressionTask
from attnscape.errors import UsageError
from attnscape.experiments.reference_losses import reference_losses
from attnscape.models import gradient_descent, optimal_rates
from attnscape.tasks import Gaussian, ReluNetwork, Sphere


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


@pytest.mark.parametrize("steps", [0, 3])
def test_there_are_no_more_steps_than_eigenvalues(steps):
    with pytest.raises(UsageError, match="from 1 to 2, the number of different eigenvalues"):
        optimal_rates(np.diag([1.0, 2.0])[None], steps)


@pytest.mark.parametrize(
    "task", [RegressionTask(dim=3), RegressionTask(dim=3, covariates=Sphere())]
)
def test_references_go_down_with_what_is_known(task):
    names = [each.name for each in reference_losses(task, 2)]
    assert names == ["zero predictor", "2 steps of gradient descent", "Bayes"]
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
    zero, bayes = reference_losses(task, 3)
    assert (zero.name, bayes.name) == ("zero predictor", "Bayes")
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
        (RegressionTask(response=ReluNetwork()), ["zero predictor"]),
        (RegressionTask(weights=Sphere()), ["zero predictor"]),
        (RegressionTask(dim=2, covariates=Gaussian([[2, 0], [0, 1]])), ["zero predictor", "Bayes"]),
        (object(), []),
    ],
    ids=["nonlinear", "other weights", "not isotropic", "not regression"],
)
def test_nothing_is_claimed_of_tasks_whose_best_predictor_is_not_known(task, names):
    assert [each.name for each in reference_losses(task, 2)] == names

"""Ridge regression with the best penalty, and descent with the best preconditioner and rates."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from attnscape import RegressionTask
from attnscape.experiments.fitted_predictors import best_descent, best_penalty, ridge
from attnscape.models import gradient_descent, optimal_preconditioner, optimal_rates
from attnscape.objective import predictions
from attnscape.tasks import Gaussian, Radial
from attnscape.trees import astype

COVARIANCE = np.array([[2.0, 0.6], [0.6, 0.5]])
WEIGHTS = np.array([[1.0, -0.3], [-0.3, 3.0]])
ANISOTROPIC = RegressionTask(
    dim=2, context=6, covariates=Gaussian(COVARIANCE), weights=Gaussian(WEIGHTS), noise=0.7
)


def drawn(task, batch, seed=0):
    """Moments in double precision."""
    with jax.enable_x64(True):
        return astype("float64", task.sample_moments(jax.random.key(seed), batch))


def squared_errors(model, moments):
    with jax.enable_x64(True):
        return np.square(predictions(model, moments) - moments.target)


def descended(moments, rates, A):
    """The predictions of preconditioned descent, in numpy and one step at a time."""
    gram, cross, query = (np.asarray(a) for a in (moments.gram, moments.cross, moments.query))
    w = np.zeros_like(cross)
    for rate in rates:
        w = w + rate * (cross - np.einsum("bij,bj->bi", gram, w)) @ A.T
    return np.einsum("bi,bi->b", w, query)


def test_the_transformer_descends_with_its_preconditioner():
    moments, A = drawn(ANISOTROPIC, 5), np.array([[1.0, 0.4], [-0.2, 0.5]])
    with jax.enable_x64(True):
        made = predictions(gradient_descent([0.4, 0.1, 0.3], 2, A), moments)
    np.testing.assert_allclose(made, descended(moments, [0.4, 0.1, 0.3], A), rtol=1e-10)


def test_the_best_preconditioner_of_one_step_has_no_slope():
    """The loss's slope in A is E (<q, A c> - t) q c^T; its mean over prompts is 0 up to chance."""
    A = optimal_preconditioner(COVARIANCE, WEIGHTS, ANISOTROPIC.context, ANISOTROPIC.noise)
    moments = drawn(ANISOTROPIC, 200_000)
    errors = descended(moments, [1.0], A) - np.asarray(moments.target)
    slopes = np.einsum("b,bi,bj->bij", errors, moments.query, moments.cross)
    assert (abs(slopes.mean(0)) < 4.5 * slopes.std(0) / np.sqrt(len(slopes))).all()
    # A tenth more is told apart from it.
    worse = descended(moments, [1.1], A) - np.asarray(moments.target)
    slopes = np.einsum("b,bi,bj->bij", worse, moments.query, moments.cross)
    assert (abs(slopes.mean(0)) > 4.5 * slopes.std(0) / np.sqrt(len(slopes))).any()


def test_isotropic_the_best_preconditioner_of_one_step_is_a_rate():
    """n / (n + d + 1 + noise^2) times the identity."""
    A = optimal_preconditioner(np.eye(3), np.eye(3), context=20, noise=2.0)
    np.testing.assert_allclose(A, 20 / (20 + 3 + 1 + 4) * np.eye(3), rtol=1e-12, atol=1e-15)


def test_one_fitted_step_is_least_squares():
    moments = drawn(ANISOTROPIC, 3_000)
    with jax.enable_x64(True):
        fitted = squared_errors(best_descent(moments, 1), moments).mean()
    design = np.einsum("bi,bj->bij", moments.query, moments.cross).reshape(-1, 4)
    target = np.asarray(moments.target)
    A = np.linalg.lstsq(design, target, rcond=None)[0]
    assert fitted == pytest.approx(np.mean((design @ A - target) ** 2), rel=1e-7)


@pytest.mark.parametrize("steps", [2, 3])
def test_no_other_preconditioner_and_rates_are_found(steps):
    """By scipy's BFGS on plain numpy, from random starts around one step's optimum."""
    moments, rng = drawn(ANISOTROPIC, 500), np.random.default_rng(steps)
    with jax.enable_x64(True):
        found = squared_errors(best_descent(moments, steps), moments).mean()
    target = np.asarray(moments.target)

    def error(point):
        made = descended(moments, point[:steps], point[steps:].reshape(2, 2))
        return np.mean((made - target) ** 2)

    A = optimal_preconditioner(COVARIANCE, WEIGHTS, ANISOTROPIC.context, ANISOTROPIC.noise)
    others = []
    for _ in range(4):
        start = np.append(np.ones(steps), A) * rng.uniform(0.5, 1.5, steps + 4)
        others.append(optimize.minimize(error, start, tol=1e-9).fun)
    assert found <= min(others) * (1 + 1e-5)
    assert found == pytest.approx(min(others), rel=1e-3)  # they are minima of the same function


def test_isotropic_the_fitted_descent_is_the_known_one():
    """The best rates of plain descent follow from eigenvalues (`optimal_rates`)."""
    task = RegressionTask(dim=3, context=10)
    fitted, fresh = drawn(task, 20_000), drawn(task, 20_000, seed=1)
    with jax.enable_x64(True):
        model = best_descent(fitted, 2)
        known = gradient_descent(optimal_rates(np.asarray(fitted.gram), 2).tolist(), 3)
        assert squared_errors(model, fitted).mean() < squared_errors(known, fitted).mean()
        differences = squared_errors(model, fresh) - squared_errors(known, fresh)
        assert abs(differences.mean()) < 4 * differences.std() / np.sqrt(len(differences))
        assert differences.std() > 0


@pytest.mark.parametrize("penalty", [1e-3, 0.5, 20.0])
def test_ridge_solves_its_normal_equations(penalty):
    moments = drawn(ANISOTROPIC, 50)
    w = np.linalg.solve(
        np.asarray(moments.gram) + penalty * np.eye(2), np.asarray(moments.cross)[..., None]
    )[..., 0]
    with jax.enable_x64(True):
        made = ridge(moments, penalty)
    np.testing.assert_allclose(made, np.einsum("bi,bi->b", w, moments.query), rtol=1e-9)


def heavy(key, batch, n, d):
    return jax.random.t(key, 5.0, (batch, n, d))


@pytest.mark.parametrize("covariates", [heavy, Gaussian(COVARIANCE)], ids=["heavy", "normal"])
def test_the_best_penalty_is_that_of_scipy(covariates):
    def response(x, w):
        return jnp.sin(2 * jnp.einsum("bnd,bd->bn", x, w))

    task = RegressionTask(dim=2, context=6, covariates=covariates, response=response, noise=0.3)
    moments = drawn(task, 2_000)
    gram, cross = np.asarray(moments.gram), np.asarray(moments.cross)[..., None]

    def error(logarithm):
        w = np.linalg.solve(gram + np.exp(logarithm) * np.eye(2), cross)[..., 0]
        made = np.einsum("bi,bi->b", w, moments.query)
        return np.mean((made - np.asarray(moments.target)) ** 2)

    best = optimize.minimize_scalar(error, bounds=(-6, 6), method="bounded")
    with jax.enable_x64(True):
        penalty = best_penalty(moments)
    assert error(np.log(penalty)) == pytest.approx(best.fun, rel=1e-6)
    assert np.log(penalty) == pytest.approx(best.x, abs=1e-2)


def test_where_ridge_is_bayes_the_best_penalty_is_the_noise():
    """noise^2 / n, whatever the covariates: no penalty does better but by chance."""
    task = RegressionTask(dim=2, context=5, covariates=Radial(_gamma()), noise=0.6)
    fitted, fresh = drawn(task, 20_000), drawn(task, 20_000, seed=1)
    with jax.enable_x64(True):
        pairs = ridge(fresh, best_penalty(fitted)), ridge(fresh, 0.36 / 5)
        found, bayes = (np.square(each - fresh.target) for each in pairs)
    differences = found - bayes
    assert abs(differences.mean()) < 4 * differences.std() / np.sqrt(len(differences))
    assert found.mean() == pytest.approx(bayes.mean(), rel=0.01)


def _gamma():
    from scipy import stats

    return stats.gamma(0.1, scale=10)


@pytest.mark.parametrize(("both_signs", "penalty"), [(False, 0.0), (True, np.inf)])
def test_a_best_penalty_may_have_no_bound(both_signs, penalty):
    """Exact responses leave nothing to be penalised; targets of both signs nothing to be said."""
    task = RegressionTask(dim=2, context=6)
    with jax.enable_x64(True):
        prompts = task.sample(jax.random.key(0), 400, "float64")
        twice = jax.tree.map(lambda a: jnp.concatenate([a, a]), prompts)
        signs = jnp.repeat(jnp.array([1.0, -1.0 if both_signs else 1.0]), 400)
        moments = dataclasses.replace(twice, target=signs * twice.target).moments()
        assert best_penalty(moments) == penalty

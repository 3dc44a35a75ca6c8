"""One layer in closed form: prediction -w^T G Q q, so that loss and Hessian are moments of x."""

import functools

import equinox as eqx
import jax
import numpy as np
import pytest

from attnscape import LinearTransformer, RegressionTask, hessian, loss
from attnscape.measures import BatchSharpness, GaussNewton, Iterate
from attnscape.tasks import Gaussian
from support import quick_jit

COVARIANCE = np.array([[2.0, 0.5, 0.0], [0.5, 1.0, 0.2], [0.0, 0.2, 0.5]])


def population_loss(Q, covariance, n):
    """E |(G Q + I) q|^2 with the Wishart moments E G = S, E G^2 = (n+1)/n S^2 + tr(S)/n S."""
    S = np.asarray(covariance)
    second = (n + 1) / n * S @ S + np.trace(S) / n * S
    return np.trace(Q.T @ second @ Q @ S) + 2 * np.trace(S @ Q @ S) + np.trace(S)


@pytest.fixture
def model():
    return LinearTransformer.init(jax.random.key(3), layers=1, dim=3, scale=0.3)


@pytest.mark.parametrize("path", ["fastest", "token"])
def test_the_loss_matches_the_population_within_its_standard_error(model, path):
    n, batch = 12, 200_000
    task = RegressionTask(dim=3, context=n, covariates=Gaussian(COVARIANCE))
    prompts = quick_jit(lambda key: task.sample(key, batch))(jax.random.key(0))
    errors = np.square(quick_jit(type(model).__call__)(model, prompts) - prompts.target)
    expected = population_loss(np.asarray(model.Q[0], float), COVARIANCE, n)
    standard_error = errors.std() / batch**0.5
    # Five standard errors: a false alarm in less than one seed of a million.
    found = quick_jit(functools.partial(loss, path=path))(model, prompts)
    assert abs(float(found) - expected) < 5 * standard_error


@pytest.mark.parametrize("path", ["fastest", "token"])
def test_the_hessian_is_that_of_a_quadratic_in_q_and_zero_in_p(path):
    """Per prompt the loss is (q . s + t)^2 with s = Q^T c, so that H = 2 mean (c x q)(c x q)^T."""
    with jax.enable_x64(True):
        prompts = RegressionTask(dim=3).sample(jax.random.key(1), 500, "float64")
        model = LinearTransformer.init(jax.random.key(2), layers=1, dim=3, dtype="float64")
        moments = quick_jit(type(prompts).moments)(prompts)
        outer = np.einsum("bi,bj->bij", moments.cross, moments.query).reshape(500, 9)
        expected = np.zeros((18, 18))
        expected[9:, 9:] = 2 * outer.T @ outer / 500
        H = np.asarray(quick_jit(functools.partial(hessian, path=path))(model, prompts))
    assert np.linalg.norm(H - expected) < 1e-12 * np.linalg.norm(expected)


def test_the_hessian_of_the_population_is_reached_within_its_standard_error():
    """With x ~ N(0, I): H_QQ = 2 (n + d + 1)/n I, every entry an average over prompts."""
    n, d, batch = 20, 5, 100_000
    prompts = RegressionTask(dim=d, context=n).sample(jax.random.key(4), batch)
    model = LinearTransformer.init(jax.random.key(5), layers=1, dim=d)
    moments = prompts.moments()
    outer = np.einsum("bi,bj->bij", moments.cross, moments.query).reshape(batch, d * d)
    H = np.asarray(hessian(model, moments))[d * d :, d * d :]
    expected = 2 * (n + d + 1) / n * np.eye(d * d)
    square = np.einsum("bi,bj->ij", outer**2, outer**2) / batch
    standard_error = 2 * np.sqrt(np.maximum(square - (H / 2) ** 2, 0) / batch)
    # 625 entries; six standard errors each keep the family's false alarms far below one in 10^5.
    assert np.all(np.abs(H - expected) < 6 * standard_error)


def test_measures_of_the_quadratic_loss_are_those_of_the_population():
    """With H_QQ = 2 (n + d + 1)/n I, every direction is as sharp, and nothing is residual."""
    n, d, batch = 6, 3, 20_000
    expected = 2 * (n + d + 1) / n
    with jax.enable_x64(True):
        model = LinearTransformer.init(jax.random.key(6), layers=1, dim=d, dtype="float64")
        iterate = Iterate.of(model, RegressionTask(dim=d, context=n), batch=batch, dtype="float64")
        parts = eqx.filter_jit(GaussNewton())(iterate)
        sharpness = eqx.filter_jit(BatchSharpness(samples=20, batch=batch))(iterate)
        moments = iterate.evaluation
        traces = np.asarray(2 * (moments.cross**2).sum(axis=1) * (moments.query**2).sum(axis=1))
    of_hessian, of_gauss_newton, of_residual = np.asarray(parts["curvature_trace"])
    standard_error = traces.std() / batch**0.5
    assert abs(of_hessian - d * d * expected) < 5 * standard_error
    assert of_gauss_newton == pytest.approx(of_hessian, rel=1e-12)
    assert abs(of_residual) < 1e-12 * of_hessian
    assert float(parts["gauss_newton_cosine"]) == pytest.approx(1, rel=1e-12)
    # H_B and g_B of one batch go together: a bias of order noise scale / batch, here below 1 %.
    error = float(sharpness["batch_sharpness_error"])
    assert error < 0.01 * expected
    assert float(sharpness["batch_sharpness"]) == pytest.approx(expected, abs=5 * error)

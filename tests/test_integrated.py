"""Query and weights integrated out: the population's squared error given the context's gram."""

import dataclasses
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy import stats

from attnscape import LinearTransformer, RegressionTask, loss, value_and_grad
from attnscape.errors import UsageError
from attnscape.models import FactoredLinearTransformer, RotatedLinearTransformer
from attnscape.tasks import (
    Empirical,
    Gaussian,
    IntegratedPrompts,
    OneHot,
    Radial,
    ReluNetwork,
    Sphere,
    TableTask,
)
from attnscape.trees import astype
from attnscape.validation import check_task
from support import PATHS
from test_closed_form import COVARIANCE, population_loss

_POINTS = np.random.default_rng(0).normal((1.0, 0.0, 0.0), size=(50, 3))
DISTRIBUTIONS = {
    "standard": Gaussian(),
    "normal": Gaussian(COVARIANCE),
    "sphere": Sphere(),
    "one-hot": OneHot(),
    "heavy-tailed": Radial(stats.gamma(0.1, scale=10)),
    "points": Empirical(_POINTS),
}
KEY = jax.random.key(5)


def task_of(name, **changes):
    return RegressionTask(dim=3, context=6, covariates=DISTRIBUTIONS[name], **changes)


def error_matrix(model, gram):
    """B_L of the module's docstring, step by step in numpy."""
    A, B = np.eye(len(gram)), np.eye(len(gram))
    for P, Q in zip(np.asarray(model.P), np.asarray(model.Q), strict=True):
        A, B = A + P @ A @ gram @ A.T @ Q @ A, B + A.T @ Q.T @ A @ gram @ B
    return B


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_second_moments_are_those_of_draws(name):
    """Each entry within five standard errors of the mean over 200,000 draws."""
    x = np.asarray(DISTRIBUTIONS[name](KEY, 100_000, 2, 3), np.float64).reshape(-1, 3)
    products = x[:, :, None] * x[:, None, :]
    error = products.std(axis=0) / len(x) ** 0.5
    # The float32 numbers of the sphere have squares of mean 1/3 to some units of 1e-8.
    off = np.abs(products.mean(axis=0) - DISTRIBUTIONS[name].second_moment(3))
    assert (off <= 5 * error + 1e-7).all()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_the_loss_is_the_trace_given_the_gram(name, path, x64):
    """tr(B S_w B^T S_x), averaged over the contexts that the task itself draws."""
    weights = Gaussian(COVARIANCE + np.eye(3))
    task = task_of(name, weights=weights)
    model = LinearTransformer.init(jax.random.key(1), dim=3, scale=0.4, dtype="float64")
    S_x, S_w = DISTRIBUTIONS[name].second_moment(3), weights.second_moment(3)
    expected = np.mean(
        [
            np.trace(B @ S_w @ B.T @ S_x)
            for gram in task.sample(KEY, 7, "float64").moments().gram
            for B in [error_matrix(model, np.asarray(gram))]
        ]
    )
    prompts = IntegratedPrompts(task).sample(KEY, 7 * 9, "float64")
    assert float(loss(model, prompts, path=path)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "init",
    [
        LinearTransformer.init,
        FactoredLinearTransformer.init,
        partial(RotatedLinearTransformer.init, rotation=4),
    ],
)
def test_the_error_is_bilinear_in_query_and_weights_in_the_token_form(init, x64):
    """So that two second moments are enough: the error of sums is the sum of errors."""
    model = astype("float64", init(jax.random.key(1), dim=3, scale=0.4))
    whole, parts = errors_of_sums(model)
    np.testing.assert_allclose(whole, parts, rtol=1e-12, atol=1e-12)


def test_the_full_form_is_not_bilinear(x64):
    """It also depends on sum y^2: the promise of exactness is about the block form only."""
    model = astype("float64", LinearTransformer.init(KEY, dim=3, form="full", scale=0.4))
    whole, parts = errors_of_sums(model)
    assert np.abs(whole - parts).max() > 0.01


def errors_of_sums(model):
    """Errors at a sum of queries and a difference of weights, and the sum of their parts'."""
    task = RegressionTask(dim=3, context=6)
    prompts = task.sample(KEY, 4, "float64")
    first, second, w, v = np.asarray(jax.random.normal(jax.random.key(2), (4, 4, 3), "float64"))

    def error(query, weights):
        chosen = dataclasses.replace(
            prompts,
            y=jnp.einsum("bni,bi->bn", prompts.x, weights),
            query=jnp.asarray(query),
            target=jnp.einsum("bi,bi->b", query, weights),
        )
        return np.asarray(model(chosen) - chosen.target)

    whole = error(first + 2 * second, w - v)
    parts = error(first, w) - error(first, v) + 2 * error(second, w) - 2 * error(second, v)
    return whole, parts


@pytest.mark.parametrize("name", ["standard", "normal", "points"])
def test_the_loss_is_the_mean_over_fresh_queries_and_weights(name):
    """With three contexts held, within five standard errors of the mean over 30,000 of each."""
    task, count = task_of(name), 30_000
    model = LinearTransformer.init(jax.random.key(1), dim=3, scale=0.4)
    contexts = task.sample(KEY, 3)
    x = jnp.repeat(contexts.x, count, axis=0)
    query = task.covariates(jax.random.key(8), 3 * count, 1, 3)[:, 0]
    w = task.weights(jax.random.key(9), 3 * count, 1, 3)[:, 0]
    prompts = dataclasses.replace(
        contexts,
        x=x,
        y=jnp.einsum("bni,bi->bn", x, w),
        query=query,
        target=jnp.einsum("bi,bi->b", query, w),
    )
    errors = np.asarray((model(prompts) - prompts.target) ** 2, np.float64).reshape(3, count)
    standard_error = np.sqrt((errors.var(axis=1) / count).sum()) / 3
    got = float(loss(model, IntegratedPrompts(task).sample(KEY, 27)))
    assert abs(got - errors.mean()) < 5 * standard_error


def test_the_loss_of_one_layer_matches_the_wishart_moments():
    """The mean over 20,000 contexts within five standard errors of the closed form."""
    n, contexts = 6, 20_000
    model = LinearTransformer.init(jax.random.key(3), layers=1, dim=3, scale=0.3)
    prompts = IntegratedPrompts(task_of("normal")).sample(KEY, 9 * contexts)
    errors = np.asarray((model(prompts) - prompts.target) ** 2, np.float64)
    of_contexts = errors.reshape(contexts, 9).mean(axis=1)
    expected = population_loss(np.asarray(model.Q[0], float), COVARIANCE, n)
    error = of_contexts.std() / contexts**0.5
    assert abs(of_contexts.mean() - expected) < 5 * error


def test_gradients_have_the_mean_of_the_task_and_less_noise():
    """Every entry of the difference within five standard errors; the law of total variance."""
    task, count = task_of("standard"), 4_000
    model = LinearTransformer.init(jax.random.key(1), layers=2, dim=3, scale=0.3)

    def gradients(task, each):
        def one(key):
            return ravel_pytree(value_and_grad(model, task.sample_moments(key, each))[1])[0]

        keys = jax.random.split(jax.random.key(4), count)
        return np.asarray(jax.jit(lambda keys: jax.lax.map(one, keys))(keys), np.float64)

    plain, integrated = gradients(task, 1), gradients(IntegratedPrompts(task), 9)
    # The contexts are the same, so the differences are those of query and weights only.
    difference = plain - integrated
    error = difference.std(axis=0) / count**0.5
    assert (np.abs(difference.mean(axis=0)) <= 5 * error).all()
    assert 0 < integrated.var(axis=0).sum() < plain.var(axis=0).sum()


def test_contexts_are_those_of_the_task_and_moments_those_of_the_prompts(x64):
    task = task_of("heavy-tailed")
    integrated = IntegratedPrompts(task)
    contexts = task.sample(KEY, 4, "float64")
    prompts = integrated.sample(KEY, 36, "float64")
    np.testing.assert_array_equal(prompts.x, np.repeat(contexts.x, 9, axis=0))
    for got, wanted in zip(
        jax.tree.leaves(integrated.sample_moments(KEY, 36, "float64")),
        jax.tree.leaves(prompts.moments()),
        strict=True,
    ):
        # The kernel draws in float32, too, but rounds in another order.
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=5e-6)


def test_the_contract_of_tasks_is_kept():
    results = check_task(IntegratedPrompts(task_of("standard")))
    assert [result.sentence for result in results if not result.ok] == []


def signs(key, batch, n, d):
    return jax.random.rademacher(key, (batch, n, d), "float32")


class Signs:
    """A user's distribution that knows its second moment."""

    def __call__(self, key, batch, n, d):
        return signs(key, batch, n, d)

    def second_moment(self, d):
        return np.eye(d)


def test_a_distribution_of_ones_own_says_its_second_moment():
    task = IntegratedPrompts(RegressionTask(dim=2, covariates=Signs(), weights=Signs()))
    np.testing.assert_allclose((task.sample(KEY, 4).query ** 2).sum(axis=1), 2, rtol=1e-6)


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        (lambda: IntegratedPrompts(RegressionTask(noise=0.1)), "noise is 0.1; query and weights"),
        (
            lambda: IntegratedPrompts(RegressionTask(response=ReluNetwork())),
            "The response is ReluNetwork",
        ),
        (
            lambda: IntegratedPrompts(TableTask([[1.0]] * 3, [1.0] * 3, context=2)),
            "The task is TableTask; query",
        ),
        (
            lambda: IntegratedPrompts(RegressionTask(covariates=signs)),
            "The second moment of the covariates",
        ),
        (
            lambda: IntegratedPrompts(RegressionTask(covariates=Radial(stats.pareto(0.5)))),
            "must be finite and of shape",
        ),
        (
            lambda: IntegratedPrompts(RegressionTask()).sample(KEY, 1001),
            "batch is 1001; with query and weights integrated out each context has d^2 = 25",
        ),
        (lambda: IntegratedPrompts(RegressionTask()).sample(KEY, 0), "batch is 0; it must be"),
    ],
)
def test_mistakes_are_told(mistake, sentence):
    with pytest.raises(UsageError, match=re.escape(sentence)):
        mistake()

"""Batch sharpness and noise scales against the same draws by hand, and against closed forms."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from attnscape import LinearTransformer, Prompts, RegressionTask, hessian, train, value_and_grad
from attnscape.errors import UsageError
from attnscape.measures import BatchSharpness, Iterate, NoiseScale, every
from attnscape.models import FunctionModel
from attnscape.tasks import derived_key

TASK = RegressionTask(dim=2, context=6)
INIT = functools.partial(LinearTransformer.init, layers=2, dim=2, scale=0.3)
MEAN, VARIANCES = np.array([0.5, -1.0, 2.0]), np.array([1.0, 4.0, 0.25])


@pytest.fixture(autouse=True)
def _in_double_precision(x64):
    pass


@pytest.fixture
def iterate():
    return Iterate.of(INIT(jax.random.key(0), dtype="float64"), TASK, batch=50, dtype="float64")


def linear_iterate(weights=(0.0, 0.0, 0.0)):
    """Predictions w . x with x ~ N(0, diag(VARIANCES)) and targets MEAN . x + e, e ~ N(0, 1).

    With s the variances and v = w - MEAN: the gradient is 2 s v, the Hessian 2 diag(s), and by
    Isserlis' theorem the covariance of one prompt's gradient 2 (v . x - e) x is
    4 ((s v)(s v)^T + (v^T diag(s) v + 1) diag(s)).
    """

    def draw(key, count):
        covariates, noise = jax.random.split(key)
        query = jax.random.normal(covariates, (count, 3)) * np.sqrt(VARIANCES)[None]
        target = query @ MEAN + jax.random.normal(noise, (count,))
        return Prompts(query[:, None, :], jnp.zeros((count, 1)), query, target)

    model = FunctionModel(jnp.asarray(weights), lambda w, p: p.query @ w)
    return Iterate(model, None, draw(jax.random.key(7), 100_000), jax.random.key(8), draw)


def closed_form(weights=(0.0, 0.0, 0.0)):
    away = np.asarray(weights) - MEAN
    gradient, curvature = 2 * VARIANCES * away, 2 * np.diag(VARIANCES)
    spread = away @ np.diag(VARIANCES) @ away + 1
    covariance = np.outer(gradient, gradient) + 4 * spread * np.diag(VARIANCES)
    return gradient, curvature, covariance


def gradients(iterate, count, batch):
    @jax.jit
    def one(index):
        prompts = iterate.draw(derived_key(iterate.key, index), batch)
        return ravel_pytree(value_and_grad(iterate.model, prompts)[1])[0]

    return np.array([one(index) for index in range(count)])


def test_batch_sharpness_has_gradient_and_hessian_of_the_same_batch(iterate):
    taken = eqx.filter_jit(BatchSharpness(samples=12, batch=8))(iterate)
    g = gradients(iterate, 12, 8)
    dense = jax.jit(lambda index: hessian(
        iterate.model, iterate.draw(derived_key(iterate.key, index), 8)
    ))  # fmt: skip
    curvatures = np.array([each @ dense(i) @ each for i, each in enumerate(g)])
    squares = (g**2).sum(axis=1)
    quotients = curvatures / squares
    assert float(taken["batch_sharpness"]) == pytest.approx(quotients.mean(), rel=1e-10)
    assert float(taken["batch_sharpness_error"]) == pytest.approx(
        np.std(quotients, ddof=1) / np.sqrt(12), rel=1e-9
    )
    assert float(taken["batch_sharpness_of_means"]) == pytest.approx(
        curvatures.mean() / squares.mean(), rel=1e-10
    )


def test_batch_sharpness_of_single_prompts_is_that_of_their_squared_norm():
    """With B = 1, g = 2 r x and H = 2 x x^T: the curvature along g is 2 |x|^2, of mean 2 tr(S)."""
    taken = eqx.filter_jit(BatchSharpness(samples=4000, batch=1))(linear_iterate())
    expected = 2 * VARIANCES.sum()
    # Var(|x|^2) = 2 sum s^2, so the standard error is known too; it has 4000 values.
    error = 2 * np.sqrt(2 * (VARIANCES**2).sum() / 4000)
    assert float(taken["batch_sharpness_error"]) == pytest.approx(error, rel=0.15)
    assert float(taken["batch_sharpness"]) == pytest.approx(expected, abs=4 * error)


def test_batch_sharpness_of_large_batches_is_the_curvature_along_the_gradient():
    taken = eqx.filter_jit(BatchSharpness(samples=4, batch=100_000))(linear_iterate())
    g, H, _ = closed_form()
    for name in ("batch_sharpness", "batch_sharpness_of_means"):
        # Entries of a mean of 400,000 have relative errors of about 0.003.
        assert float(taken[name]) == pytest.approx(g @ H @ g / (g @ g), rel=0.02)


def test_noise_scales_are_those_of_the_samples_covariance(iterate):
    taken = eqx.filter_jit(NoiseScale(samples=60, batch=5))(iterate)
    H = np.asarray(hessian(iterate.model, iterate.evaluation))
    g = gradients(iterate, 60, 5)
    S, mean = 5 * np.cov(g.T), g.mean(axis=0)
    expected = {
        "noise_trace": np.trace(S),
        "noise_largest_share": ((g - mean) ** 2).sum(axis=1).max() / ((g - mean) ** 2).sum(),
        "noise_scale": np.trace(S) / (mean @ mean - np.trace(S) / 300),
        "noise_scale_hessian": np.trace(H @ S) / (mean @ H @ mean - np.trace(H @ S) / 300),
        "noise_alignment": np.trace(H @ S) / np.linalg.norm(H) / np.linalg.norm(S),
        "isotropic_alignment": np.trace(H) / np.linalg.norm(H) / np.sqrt(len(H)),
    }  # fmt: skip
    for name, value in expected.items():
        np.testing.assert_allclose(taken[name], value, rtol=1e-8, err_msg=name)


def test_noise_scales_of_linear_regression_are_the_closed_forms():
    weights = (3.0, 1.0, 4.0)
    taken = eqx.filter_jit(NoiseScale(samples=20_000, batch=4))(linear_iterate(weights))
    g, H, S = closed_form(weights)
    expected = {
        "noise_trace": np.trace(S),
        "noise_scale": np.trace(S) / (g @ g),
        "noise_scale_hessian": np.trace(H @ S) / (g @ H @ g),
        "noise_alignment": np.trace(H @ S) / np.linalg.norm(H) / np.linalg.norm(S),
        "isotropic_alignment": np.trace(H) / np.linalg.norm(H) / np.sqrt(3),
    }
    for name, value in expected.items():
        # tr(S) is a mean of 80,000 values |g|^2, products of normals with a relative standard
        # deviation below 5, so its relative error is below 0.018; the others are alike.
        np.testing.assert_allclose(taken[name], value, rtol=0.08, err_msg=name)


def test_the_signal_of_few_samples_is_not_biased_by_their_noise():
    """Without the correction, 16 samples would add tr(S) / 16 to |G|^2."""
    weights = tuple(MEAN + 0.1)
    keys = jax.random.split(jax.random.key(1), 400)
    iterate = linear_iterate(weights)

    def estimates(key):
        taken = NoiseScale(samples=16, batch=1)(eqx.tree_at(lambda it: it.key, iterate, key))
        return taken["noise_trace"], taken["noise_trace"] / taken["noise_scale"]

    traces, signals = map(np.asarray, jax.jit(lambda k: jax.lax.map(estimates, k))(keys))
    g, _, S = closed_form(weights)
    errors = [float(np.std(values, ddof=1)) / np.sqrt(len(keys)) for values in (traces, signals)]
    assert traces.mean() == pytest.approx(np.trace(S), abs=4 * errors[0])
    assert signals.mean() == pytest.approx(g @ g, abs=4 * errors[1])
    assert np.trace(S) / 16 > 8 * errors[1]  # what the correction removes would be seen


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: NoiseScale(samples=1), "samples is 1 and batch 10; give at least 2 samples"),
        (lambda: NoiseScale(batch=0), "batch 0"),
        (lambda: BatchSharpness(samples=1), "samples is 1 and batch 1000; give at least 2"),
    ],
)
def test_numbers_out_of_range_are_refused(make, sentence):
    with pytest.raises(UsageError, match=sentence):
        make()


def test_a_training_records_both_for_every_run():
    runs = train(
        TASK, INIT, ["sgdm", "adam"], [0.05], [0, 1], steps=2, batch=20, evaluation_batch=20,
        measures=(NoiseScale(every(2), samples=4, batch=2), BatchSharpness(every(2), 2, 4)),
    )  # fmt: skip
    for name in ("noise_trace", "noise_scale", "batch_sharpness", "batch_sharpness_error"):
        assert runs[name].dims == ("optimizer", "learning_rate", "seed", "step")
        assert bool(runs[name].notnull().all())
    # Optimizers have the same prompts, so they have the same numbers where they start.
    start = runs["noise_trace"].sel(step=0)
    np.testing.assert_allclose(start.sel(optimizer="sgdm"), start.sel(optimizer="adam"), rtol=1e-9)
    assert not np.allclose(start.sel(seed=0), start.sel(seed=1))

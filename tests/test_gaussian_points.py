"""Normal prompts, drawn by Bartlett's decomposition: exact in law, the same on every path.

Every statistic of a law is a mean over independent prompts with a known expectation; the z-scores
of the file stay below the threshold that a family of true hypotheses crosses once in a million
suites. Seeds are fixed, so the verdict never changes by itself.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from attnscape import RegressionTask, native
from attnscape.tasks import Gaussian, Sphere, _gaussian_points
from attnscape.tasks.chi import FEW_DEGREES, TERMS, chi_polynomials
from support import needs_kernels, quick_jit, relative

KEY = jax.random.key(11)
PROMPTS = 100_000
# (d, n): n above, at and below d; chi numbers of few degrees of freedom and of many; d = 5 has a
# kernel of its own.
SIZES = [(1, 1), (1, 12), (3, 1), (3, 2), (3, 3), (2, 9), (5, 20)]
FAMILY_WISE_ERROR = 1e-6
COMPARISONS = 20_000  # more than the file makes
THRESHOLD = scipy.stats.norm.isf(FAMILY_WISE_ERROR / COMPARISONS / 2)


def covariance(d):
    """Entries 2^-|i - j|: positive definite in every dimension."""
    return 0.5 ** np.abs(np.subtract.outer(np.arange(d), np.arange(d)))


def assert_means(samples, wanted):
    """Means over the first axis are those wanted, but for chance."""
    samples = np.asarray(samples, float).reshape(len(samples), -1)
    spread = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    assert (spread > 0).all()
    scores = (samples.mean(axis=0) - np.broadcast_to(wanted, samples.shape[1:])) / spread
    assert np.abs(scores).max() < THRESHOLD


def isserlis(C):
    """E x_i x_j x_k x_l of N(0, C)."""
    return (
        np.einsum("ij,kl->ijkl", C, C)
        + np.einsum("ik,jl->ijkl", C, C)
        + np.einsum("il,jk->ijkl", C, C)
    )


@pytest.mark.parametrize(("d", "n"), SIZES)
@pytest.mark.parametrize("of", ["identity", "covariance"])
def test_moments_are_those_of_normal_points(d, n, of):
    """Gram, cross and square against the closed forms of Wishart matrices, to the second order."""
    C, sigma = (np.eye(d), 0.0) if of == "identity" else (covariance(d), 0.7)
    moments = RegressionTask(d, n, Gaussian(C), noise=sigma).sample_moments(KEY, PROMPTS)
    gram, cross, square = (
        np.asarray(a, float) for a in (moments.gram, moments.cross, moments.square)
    )
    assert_means(gram, C.ravel())
    # n gram is Wishart: E G_ij G_kl = C_ij C_kl + (C_ik C_jl + C_il C_jk) / n.
    second = (isserlis(C) - np.einsum("ij,kl->ijkl", C, C)) / n + np.einsum("ij,kl->ijkl", C, C)
    assert_means(np.einsum("bij,bkl->bijkl", gram, gram), second.ravel())
    # With w ~ N(0, I) independent of the gram G: E cross cross^T = E G G + sigma^2 C / n.
    wanted = np.einsum("ikkj->ij", second) + sigma**2 * C / n
    assert_means(np.einsum("bi,bj->bij", cross, cross), wanted.ravel())
    assert_means(square, np.trace(C) + sigma**2)
    # Given w, n square / (w C w + sigma^2) is chi-squared with n degrees of freedom.
    scale = np.trace(C) + sigma**2
    assert_means(square**2, (1 + 2 / n) * (scale**2 + 2 * np.trace(C @ C)))
    target = np.asarray(moments.target, float)
    assert_means(target**2, scale)
    assert_means(target * square, 0)


def test_the_gram_has_the_eigenvalues_of_a_gram_of_independent_points():
    """All of its law, not only two orders: trace and smallest eigenvalue, by Kolmogorov-Smirnov."""
    for d, n in ((5, 20), (3, 3), (2, 9)):
        gram = np.asarray(RegressionTask(d, n).sample_moments(KEY, 40_000).gram, float)
        x = np.random.default_rng(0).standard_normal((40_000, n, d))
        other = np.einsum("bni,bnj->bij", x, x) / n
        trace = np.trace(gram, axis1=1, axis2=2)
        assert scipy.stats.kstest(n * trace, scipy.stats.chi2(n * d).cdf).pvalue > 1e-7
        smallest = (np.linalg.eigvalsh(g)[:, 0] for g in (gram, other))
        assert scipy.stats.ks_2samp(*smallest).pvalue > 1e-7


@pytest.mark.parametrize(("d", "n"), SIZES)
def test_points_are_independent_normals(d, n):
    """All products of up to four coordinates of the points, query and noise, and each law."""
    task = RegressionTask(d, n, noise=1.0, response=lambda x, w: jnp.zeros(x.shape[:2]))
    prompts = jax.tree.map(np.asarray, quick_jit(lambda key: task.sample(key, PROMPTS))(KEY))
    noise = np.concatenate([prompts.y, prompts.target[:, None]], axis=1)[:, :, None]
    points = np.concatenate([prompts.x, prompts.query[:, None]], axis=1)
    numbers = np.concatenate([points, noise], axis=2).astype(float).reshape(PROMPTS, -1)
    assert_means(numbers, 0)
    products = numbers.T @ numbers / PROMPTS
    count = numbers.shape[1]
    # Products of two numbers of a prompt have variance 1, squares 2.
    spread = np.sqrt((1 + np.eye(count)) / PROMPTS)
    assert np.abs((products - np.eye(count)) / spread).max() < THRESHOLD
    # Four at once: squares of pairs with variance 9 - 1 = 8, and fourth powers with 105 - 9.
    squares = numbers**2
    fourth = squares.T @ squares / PROMPTS
    spread = np.sqrt((8 + (96 - 8) * np.eye(count)) / PROMPTS)
    assert np.abs((fourth - 1 - 2 * np.eye(count)) / spread).max() < THRESHOLD
    for column in numbers.T:
        assert scipy.stats.kstest(column, "norm").pvalue > FAMILY_WISE_ERROR / 1000


@pytest.mark.parametrize("degrees", [1, 7, 8, 20, 200])
def test_the_first_number_of_the_triangle_is_chi(degrees):
    """It is the root of n gram in one dimension."""
    gram = RegressionTask(1, degrees).sample_moments(KEY, PROMPTS).gram[:, 0, 0]
    law = scipy.stats.chi2(degrees)
    assert scipy.stats.kstest(degrees * np.asarray(gram, float), law.cdf).pvalue > 1e-7


@pytest.mark.parametrize("degrees", [8, 9, 12, 20, 100, 10_000])
def test_chi_polynomials_are_the_quantiles(degrees):
    score = np.linspace(-6.34, 6.34, 20_001).astype(np.float32)
    terms = chi_polynomials(degrees, 1)[0]
    got = np.full_like(score, terms[-1])
    for term in terms[-2::-1]:
        got = got * score + term
    z = score.astype(float)
    exact = np.sqrt(
        np.where(
            z < 0,
            scipy.stats.chi2(degrees).ppf(scipy.special.ndtr(z)),
            scipy.stats.chi2(degrees).isf(scipy.special.ndtr(-z)),
        )
    )
    error = np.abs(got.astype(float) / exact - 1)
    assert error[abs(z) <= 4].max() < 1e-6
    assert error.max() < 4e-6
    few = chi_polynomials(FEW_DEGREES + 1, 3)
    assert few.shape == (3, TERMS)
    assert few[0].any()
    assert not few[1:].any()


# --- The same prompts on every path


@needs_kernels
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("d", "n"), [*SIZES, (8, 12), (20, 3), (21, 60)])
def test_kernels_draw_what_plain_jax_draws(d, n, dtype, monkeypatch, x64):
    """With noise and a covariance; the moments of points are those drawn without them."""
    task = RegressionTask(d, n, Gaussian(covariance(d)), noise=0.7)

    def draw(key):
        return task.sample(key, 37, dtype), task.sample_moments(key, 37, dtype)

    fast = jax.jit(draw)(KEY)
    # Numbers are drawn in single precision, all else is computed in `dtype`.
    for got, wanted in zip(*map(jax.tree.leaves, (fast[1], fast[0].moments())), strict=True):
        assert relative(got, wanted) < (1e-12 if dtype == "float64" else 5e-6)
    monkeypatch.setattr(native, "usable", lambda dtype: False)
    plain = jax.jit(lambda key: draw(key))(KEY)  # traced again
    for got, wanted in zip(*map(jax.tree.leaves, (fast, plain)), strict=True):
        assert relative(got, wanted) < 5e-6


@pytest.mark.parametrize(("d", "n"), [(1, 1), (2, 7), (5, 3)])
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_moments_with_other_weights_are_those_of_the_points(d, n, noise):
    for weights in (Sphere(), Gaussian(4 * np.eye(d))):
        task = RegressionTask(d, n, weights=weights, noise=noise)
        both = quick_jit(
            lambda key, task=task: (task.sample_moments(key, 50), task.sample(key, 50).moments())
        )(KEY)
        for got, wanted in zip(*map(jax.tree.leaves, both), strict=True):
            assert relative(got, wanted) < 5e-6


def test_points_do_not_depend_on_noise_and_response_and_the_query_not_on_the_context():
    quiet, noisy, other, longer = (
        quick_jit(lambda key, task=task: task.sample(key, 20))(KEY)
        for task in (
            RegressionTask(3, 4),
            RegressionTask(3, 4, noise=1.0),
            RegressionTask(3, 4, response=lambda x, w: x[..., 0]),
            RegressionTask(3, 30),
        )
    )
    for prompts in (noisy, other):
        assert relative(prompts.x, quiet.x) < 1e-6
    np.testing.assert_array_equal(quiet.query, longer.query)


def test_the_points_of_a_prompt_span_what_its_own_key_says():
    """The frame has a key of its own: another one turns the points and keeps their gram."""
    keys = jax.random.split(KEY, 4)
    first, second = (
        _gaussian_points.points(
            (keys[0], keys[1], frame),
            30,
            9,
            np.eye(3, dtype=np.float32),
            noisy=False,
            dtype="float32",
        )[0]
        for frame in keys[2:]
    )
    np.testing.assert_array_equal(first[:, -1], second[:, -1])
    assert (abs(first - second)[:, :-1].max(axis=(1, 2)) > 0.1).all()
    grams = [jnp.einsum("bni,bnj->bij", x[:, :-1], x[:, :-1]) for x in (first, second)]
    assert relative(*grams) < 5e-6

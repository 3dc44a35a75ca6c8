"""The same key gives the same prompts on every path, with the distribution that was asked for.

Of the law of normal prompts there is more in test_gaussian_points.py.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
from jax.extend.random import threefry_2x32

from attnscape import RegressionTask, native
from attnscape.errors import UsageError
from attnscape.tasks import (
    Gaussian,
    Linear,
    OneHot,
    Radial,
    ReluNetwork,
    Sphere,
    _normals,
    derived_key,
)
from attnscape.tasks.radius import radius_table, tabulated_radius
from support import needs_kernels, relative

KEY = jax.random.key(7)
GAMMA = scipy.stats.gamma(0.1, scale=10)  # the paper's Setting 3


def covariance(dim):
    """Entries 2^-|i - j|: positive definite in every dimension."""
    return 0.5 ** np.abs(np.subtract.outer(np.arange(dim), np.arange(dim)))


def law_named(name, dim):
    return {
        "gaussian": Gaussian(),
        "correlated": Gaussian(covariance(dim)),
        "sphere": Sphere(),
        "one-hot": OneHot(),
        "radial": Radial(GAMMA),
    }[name]


DISTRIBUTIONS = ["gaussian", "correlated", "sphere", "one-hot", "radial"]


@pytest.fixture
def without_kernels(monkeypatch):
    """Calls a function on the XLA path."""

    def call(function, *arguments):
        with monkeypatch.context() as patch:
            patch.setattr(native, "usable", lambda dtype: False)
            return function(*arguments)

    return call


# --- Words and normals


def test_threefry_is_jaxs():
    key, counts = jnp.array([3, 2**32 - 5], jnp.uint32), jnp.arange(1000, dtype=jnp.uint32) * 4099
    ours = jnp.concatenate(_normals.threefry(key, counts[:500], counts[500:]))
    np.testing.assert_array_equal(ours, threefry_2x32(key, counts))


def test_derived_keys_are_outputs_of_threefry_and_differ():
    np.testing.assert_array_equal(
        jax.random.key_data(derived_key(KEY, 0, 5)), jax.random.key_data(jax.random.fold_in(KEY, 5))
    )
    first, second = jnp.indices((30, 30)).reshape(2, -1)
    words = jax.vmap(lambda i, j: jax.random.key_data(derived_key(KEY, i, j)))(first, second)
    assert len(np.unique(words, axis=0)) == 900
    np.testing.assert_array_equal(
        jax.random.key_data(derived_key(KEY, 4)), jax.random.key_data(derived_key(KEY, 4, 0))
    )


def test_a_typed_key_and_its_raw_words_draw_the_same():
    typed, raw = (_normals.normals(key, 3, 5) for key in (KEY, jax.random.key_data(KEY)))
    np.testing.assert_array_equal(typed, raw)


def test_normal_quantile_inverts_the_normal_distribution():
    """To 5e-7 max(1, |z|), on both signs of the extreme, central and branching words."""
    halves = np.concatenate(
        [
            np.arange(2**12),  # far tails
            np.arange(2**31 - 2**12, 2**31),  # next to zero
            2 ** np.arange(31),
            2 ** np.arange(31) - 1,
            np.random.default_rng(0).integers(0, 2**31, 200_000),
            # The logarithm's argument 4 p (1 - p) crosses e^-5, where the tail's fit takes over.
            np.linspace(0.00168, 0.00170, 20_000) * 2**32,
        ]
    ).astype(np.uint64)
    words = np.concatenate([2 * halves, 2 * halves + 1]).astype(np.uint32)
    tail = ((words >> 1) + 0.5) * 2.0**-32
    exact = -scipy.special.ndtri(tail) * np.where(words & 1, -1, 1)
    error = np.abs(np.asarray(_normals.normal_quantile(jnp.asarray(words)), float) - exact)
    assert np.max(error / np.maximum(1, np.abs(exact))) < 5e-7


# Batches that fill no group of lanes, one, and several with a rest; odd and even counts.
@needs_kernels
@pytest.mark.parametrize(
    ("batch", "count"), [(1, 1), (3, 130), (16, 2), (17, 105), (129, 7), (400, 64)]
)
def test_the_kernel_draws_the_reference_normals(batch, count):
    @jax.jit
    def both(key):
        reference = _normals.reference_normals(_normals.key_words(key), batch, count)
        return _normals.normals(key, batch, count), reference

    for seed in (0, 1, 12345, 2**31, 2**32 - 1):
        # Both are within 5e-7 max(1, |z|) of the exact quantile.
        np.testing.assert_allclose(*both(jax.random.key(seed)), rtol=1e-6, atol=1e-6)


# --- Same prompts on every path


# The kernel is compiled for dimension 5 and for any other; a task draws four groups of lanes.
@needs_kernels
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_fused_moments_are_the_moments_of_the_sample(name, dtype, x64):
    for dim, context, batch in [(1, 1, 1), (2, 7, 64), (5, 3, 17), (5, 20, 300), (21, 60, 130)]:
        task = RegressionTask(dim, context, law_named(name, dim))

        @jax.jit
        def both(key, task=task, batch=batch):
            return task.sample_moments(key, batch, dtype), task.sample(key, batch, dtype).moments()

        # Other covariates than normal ones are made in single precision; sums are made in `dtype`.
        exact = dtype == "float64" and name in ("gaussian", "correlated")
        for seed in (3, 2**32 - 1):
            for got, wanted in zip(*map(jax.tree.leaves, both(jax.random.key(seed))), strict=True):
                assert got.dtype == wanted.dtype == dtype
                assert relative(got, wanted) < (1e-12 if exact else 5e-6)


@needs_kernels
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("dim", [1, 5, 8])
def test_prompts_are_the_same_without_the_kernels(dim, name, dtype, without_kernels, x64):
    task = RegressionTask(dim, 7, law_named(name, dim))

    def draw(key):
        return task.sample(key, 37, dtype), task.sample_moments(key, 37, dtype)

    with_kernels = jax.jit(draw)(KEY)
    without = without_kernels(jax.jit(lambda key: draw(key)), KEY)  # traced again
    for got, wanted in zip(*map(jax.tree.leaves, (with_kernels, without)), strict=True):
        assert relative(got, wanted) < 5e-6


@needs_kernels
def test_mapping_over_keys_draws_what_each_key_draws():
    keys = jax.random.split(KEY, (2, 3))
    for task in (RegressionTask(), RegressionTask(4, 6, Radial(GAMMA))):

        def draw(key, task=task):
            return task.sample(key, 11), task.sample_moments(key, 11)

        mapped = jax.device_get(jax.jit(jax.vmap(jax.vmap(draw)))(keys))
        drawn = jax.jit(draw)
        for i, j in np.ndindex(2, 3):
            one = jax.tree.map(lambda a, i=i, j=j: a[i, j], mapped)
            assert relative(one, drawn(keys[i, j])) < 1e-6


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_prompt_does_not_depend_on_the_size_of_its_batch(name):
    task = RegressionTask(3, 4, law_named(name, 3))

    @functools.partial(jax.jit, static_argnums=0)
    def draw(batch):
        return task.sample(KEY, batch), task.sample_moments(KEY, batch)

    many = jax.device_get(draw(101))
    for batch in (1, 7, 16):
        few = draw(batch)
        assert relative(few, jax.tree.map(lambda a, b=batch: a[:b], many)) < 1e-6


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_double_precision_prompts_are_the_single_precision_ones(name, x64):
    task = RegressionTask(3, 4, law_named(name, 3))
    single, double = (task.sample(KEY, 50, dtype) for dtype in ("float32", "float64"))
    if name not in ("gaussian", "correlated"):  # whose numbers are drawn, but then turned
        np.testing.assert_array_equal(single.x, double.x)
        np.testing.assert_array_equal(single.query, double.query)
    assert double.x.dtype == double.y.dtype == "float64"
    assert relative(single, double) < 1e-6


def test_keys_prompts_and_parts_of_prompts_are_independent():
    """No word is used twice: covariates, weights and noise, and two keys, share no number."""
    task = RegressionTask(2, 3, noise=1.0, response=lambda x, w: jnp.zeros(x.shape[:2]) + w[:, :1])
    drawn = []
    for key in (KEY, derived_key(KEY, 1), derived_key(KEY, 0, 1)):
        prompts = task.sample(key, 50)
        noise = jnp.concatenate([prompts.y, prompts.target[:, None]], 1)
        drawn += [prompts.x.ravel(), prompts.query.ravel(), noise.ravel()]
    numbers = np.concatenate(drawn)
    assert len(np.unique(numbers)) == len(numbers)


# --- Distributions. All z-scores together stay below the threshold that a family of true hypotheses
# --- crosses once in a million suites; seeds are fixed, so the verdict never changes by itself.

POINTS = 400_000
FAMILY_WISE_ERROR = 1e-6
TESTED = {
    "gaussian": (Gaussian(), np.eye(4), scipy.stats.chi2(4)),
    "correlated": (Gaussian(covariance(4)), covariance(4), None),
    "sphere": (Sphere(), np.eye(4) / 4, None),
    "setting 3": (Radial(GAMMA), np.eye(4) / 4, GAMMA),
    "gaussian by its radius": (Radial(scipy.stats.chi2(4)), np.eye(4), scipy.stats.chi2(4)),
    "gamma(2.5, 2)": (
        Radial(scipy.stats.gamma(2.5, scale=2)),
        np.eye(4) * 5 / 4,
        scipy.stats.gamma(2.5, scale=2),
    ),
    "pareto": (Radial(scipy.stats.pareto(9)), np.eye(4) * 9 / 8 / 4, scipy.stats.pareto(9)),
}
QUANTILES = np.array([1e-3, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999])
COMPARISONS = len(TESTED) * (4 + 16 + len(QUANTILES))
THRESHOLD = scipy.stats.norm.isf(FAMILY_WISE_ERROR / COMPARISONS / 2)


@pytest.mark.parametrize("name", TESTED)
def test_means_covariances_and_quantiles_are_the_distributions(name):
    distribution, matrix, squared_radius = TESTED[name]
    x = np.asarray(distribution(KEY, POINTS // 20, 20, 4), float).reshape(-1, 4)

    def z_scores(samples, wanted):
        deviation = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
        return (samples.mean(axis=0) - wanted) / deviation

    products = np.einsum("ni,nj->nij", x, x).reshape(len(x), 16)
    scores = [z_scores(x, 0), z_scores(products, matrix.ravel())]
    if squared_radius is not None:
        below = np.sum(x**2, 1)[:, None] <= squared_radius.ppf(QUANTILES)
        spread = np.sqrt(QUANTILES * (1 - QUANTILES) / len(x))
        scores.append((below.mean(axis=0) - QUANTILES) / spread)
    elif name == "sphere":
        np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, rtol=1e-6)
        below = x[:, 0, None] <= 2 * scipy.stats.beta(1.5, 1.5).ppf(QUANTILES) - 1
        spread = np.sqrt(QUANTILES * (1 - QUANTILES) / len(x))
        scores.append((below.mean(axis=0) - QUANTILES) / spread)
    assert np.max(np.abs(np.concatenate(scores))) < THRESHOLD


def test_one_hot_covariates_are_unit_vectors_drawn_uniformly_and_independently():
    x = np.asarray(OneHot()(KEY, POINTS // 20, 20, 4))
    assert x.dtype == np.float32
    np.testing.assert_array_equal(np.sort(x, axis=-1), np.broadcast_to([0, 0, 0, 1], x.shape))
    drawn = x.argmax(axis=-1)
    pairs = np.bincount(4 * drawn[:, 0] + drawn[:, 1], minlength=16)  # of different prompts
    for counts in (np.bincount(drawn.ravel(), minlength=4), pairs):
        assert scipy.stats.chisquare(counts).pvalue > FAMILY_WISE_ERROR / 2


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_a_chi_squared_radius_makes_the_gaussian_distribution(dim):
    gaussian = np.asarray(Gaussian()(KEY, 20_000, 5, dim), float).reshape(-1, dim)
    by_radius = np.asarray(
        Radial(scipy.stats.chi2(dim))(derived_key(KEY, 1), 20_000, 5, dim), float
    ).reshape(-1, dim)
    for statistic in (lambda x: x[:, 0], lambda x: x.sum(1), lambda x: (x**2).sum(1)):
        pvalue = scipy.stats.ks_2samp(statistic(gaussian), statistic(by_radius)).pvalue
        assert pvalue > FAMILY_WISE_ERROR / 9


@pytest.mark.parametrize(
    "distribution",
    [
        GAMMA,
        scipy.stats.gamma(2.5, scale=2),
        scipy.stats.chi2(1),
        scipy.stats.chi2(20),
        scipy.stats.pareto(3),
    ],
    ids=lambda distribution: f"{distribution.dist.name}{distribution.args}",
)
def test_the_tabulated_radius_is_the_quantile_of_the_distribution(distribution):
    rng = np.random.default_rng(0)
    halves = (2**31 * np.exp(-rng.uniform(0, 31 * np.log(2), 100_000))).astype(np.uint32)
    words = np.concatenate([2 * halves, 2 * halves + 1])  # of the upper tail and of the lower
    table = jnp.asarray(radius_table(distribution))
    got = np.asarray(tabulated_radius(table, jnp.asarray(words)), float)
    probability = (halves + 0.5) * 2.0**-32
    squared = np.concatenate([distribution.isf(probability), distribution.ppf(probability)])
    exact, floor = np.sqrt(squared), np.sqrt(distribution.median()) / 10
    assert np.max(np.abs(got - exact) / np.maximum(exact, floor)) < 1e-5


# --- Responses, and functions of the user's own


def test_responses_are_their_formulas():
    task = RegressionTask(3, 6, response=ReluNetwork(hidden=4, seed=2))
    prompts = task.sample(KEY, 10)
    x = np.asarray(RegressionTask(3, 6).sample(KEY, 10).x)
    np.testing.assert_array_equal(prompts.x, x)
    w = np.asarray(Gaussian()(derived_key(KEY, 1), 10, 1, 3))[:, 0]
    keys = jax.random.split(jax.random.key(2), 4)
    draws = [
        np.asarray(jax.random.uniform(key, shape, minval=-bound, maxval=bound))
        for key, shape, bound in zip(
            keys, [(4, 3), (4,), (3, 4), (3,)], [3**-0.5, 3**-0.5, 0.5, 0.5], strict=True
        )
    ]
    features = np.maximum(x @ draws[0].T + draws[1], 0) @ draws[2].T + draws[3]
    np.testing.assert_allclose(
        prompts.y, np.einsum("bnd,bd->bn", features, w), rtol=1e-4, atol=1e-5
    )
    linear = RegressionTask(3, 6, response=Linear()).sample(KEY, 10)
    np.testing.assert_allclose(linear.y, np.einsum("bnd,bd->bn", x, w), rtol=1e-4, atol=1e-5)


def test_noise_has_its_standard_deviation_and_reaches_the_target():
    quiet, noisy = (RegressionTask(noise=s).sample(KEY, 20_000) for s in (0.0, 0.5))
    for a, b in ((quiet.y, noisy.y), (quiet.target, noisy.target)):
        noise = np.asarray(b - a, float).ravel()
        # The standard deviation of a sample's is sigma / sqrt(2 count); 5 of them are allowed.
        assert abs(noise.std() / 0.5 - 1) < 5 / np.sqrt(2 * noise.size)


def test_functions_of_the_users_own_stand_wherever_distributions_do():
    def uniform(key, batch, n, d):
        return jax.random.uniform(key, (batch, n, d))

    task = RegressionTask(
        2, 3, covariates=uniform, weights=uniform, response=lambda x, w: jnp.sin(x[..., 0])
    )
    prompts = jax.jit(lambda key: task.sample(key, 5))(KEY)
    np.testing.assert_array_equal(prompts.x, uniform(derived_key(KEY, 0), 5, 4, 2)[:, :3])
    np.testing.assert_allclose(prompts.y, jnp.sin(prompts.x[..., 0]), rtol=1e-6)
    assert relative(task.sample_moments(KEY, 5), prompts.moments()) < 1e-6


# --- Mistakes


def wrong_shape(key, batch, n, d):
    return jnp.zeros((batch, d, n + 1))


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        (lambda: RegressionTask(dim=0), "dim is 0; it must be a whole number of at least 1"),
        (lambda: RegressionTask(dim=2.0), "dim is 2.0; it must be a whole number"),
        (lambda: RegressionTask(context=-3), "context is -3; it must be a whole number of at"),
        (lambda: RegressionTask(noise=-1.0), "noise is -1.0; it must be finite and not negative"),
        (lambda: RegressionTask(noise=np.inf), "noise is inf; it must be finite"),
        (lambda: RegressionTask(noise=np.nan), "noise is nan; it must be finite"),
        (
            lambda: RegressionTask(covariates="normal"),
            "covariates is 'normal'; it must be callable",
        ),
        (lambda: RegressionTask(weights=1), "weights is 1; it must be callable"),
        (lambda: RegressionTask(response=None), "response is None; it must be callable"),
        (lambda: RegressionTask(3, covariates=Gaussian(np.eye(2))), "is 2 x 2, but .* dimension 3"),
        (lambda: RegressionTask(3, weights=Gaussian(np.eye(2))), "is 2 x 2, but .* dimension 3"),
        (lambda: Gaussian([[1.0, 2.0]]), r"covariance has shape \(1, 2\); it must be \(d, d\)"),
        (lambda: Gaussian([[1.0, 2.0], [0.0, 1.0]]), "must be symmetric and positive definite"),
        (lambda: Gaussian([[1.0, 2.0], [2.0, 1.0]]), "must be symmetric and positive definite"),
        (lambda: Radial(3.0), "squared_radius is 3.0; it must be a frozen scipy.stats"),
        (lambda: Radial(scipy.stats.norm()), r"has values from -inf on; \|x\|\^2 cannot be neg"),
        (lambda: ReluNetwork(hidden=0), "hidden is 0; it must be at least 1"),
        (lambda: RegressionTask().sample(KEY, 0), "batch is 0; it must be at least 1"),
        (lambda: RegressionTask().sample_moments(KEY, -1), "batch is -1; it must be at least 1"),
        (
            lambda: RegressionTask(covariates=wrong_shape).sample(KEY, 2),
            r"covariates gave shape \(2, 5, 22\); the task asks for \(2, 21, 5\)",
        ),
        (
            lambda: RegressionTask(weights=wrong_shape).sample_moments(KEY, 2),
            r"weights gave shape \(2, 5, 2\); the task asks for \(2, 1, 5\)",
        ),
        (
            lambda: RegressionTask(response=lambda x, w: w).sample(KEY, 2),
            r"response gave shape \(2, 5\); the task asks for \(2, 21\)",
        ),
        (
            lambda: RegressionTask().sample(jax.random.key(0, impl="rbg"), 2),
            r"key has \(4,\) words; attnscape draws with Threefry keys of 2 words",
        ),
    ],
)
def test_mistakes_are_answered_with_what_is_allowed(mistake, sentence, unchecked):
    with pytest.raises(UsageError, match=sentence):
        mistake()

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from attnscape.statistics import GaussianNorm, ScaledChi, norm_of_gaussian_fit

PROBABILITIES = np.array([1e-6, 1e-3, 0.1, 0.5, 0.9, 0.999, 1 - 1e-6])


@pytest.mark.parametrize("m", [1, 2, 3, 10, 40, 150, 1000])
def test_equal_eigenvalues_give_the_chi_law(m):
    distribution, chi = GaussianNorm(np.full(m, 4.0)), scipy.stats.chi(m, scale=2)
    r = chi.ppf(PROBABILITIES)
    np.testing.assert_allclose(distribution.cdf(r), chi.cdf(r), rtol=1e-11, atol=0)
    np.testing.assert_allclose(distribution.pdf(r), chi.pdf(r), rtol=1e-7)
    np.testing.assert_allclose(distribution.quantile(PROBABILITIES), r, rtol=1e-8)


def test_two_pairs_of_eigenvalues_give_the_hypoexponential_law():
    # a z_1^2 + a z_2^2 + b z_3^2 + b z_4^2 is a sum of two exponentials with means 2a and 2b.
    a, b = 3.0, 0.01
    r = np.array([0.05, 0.3, 1.0, 3.0, 9.0, 15.0])
    expected = 1 - (a * np.exp(-(r**2) / (2 * a)) - b * np.exp(-(r**2) / (2 * b))) / (a - b)
    np.testing.assert_allclose(GaussianNorm(np.array([a, a, b, b])).cdf(r), expected, atol=1e-13)


@pytest.mark.parametrize(
    "eigenvalues",
    [
        1 / np.arange(1, 151.0),
        np.geomspace(1, 1e-6, 150),
        np.concatenate([[1.0], np.full(1000, 0.02)]),
        np.concatenate([np.ones(5), np.full(1000, 0.05)]),
    ],
    ids=["1/i", "geometric", "spike", "5 spikes"],
)
def test_unequal_eigenvalues_give_the_law_of_simulated_norms(eigenvalues):
    # Kolmogorov-Smirnov at 0.1 %: 1 false alarm in 1,000 seeds.
    draws = 4000
    z = np.random.default_rng(1).normal(size=(draws, eigenvalues.size)) ** 2
    norms = np.sqrt(z @ eigenvalues)
    grid = np.linspace(norms.min(), norms.max(), 200)  # linear in between: error 1e-4 against 1e-2
    cdf = GaussianNorm(eigenvalues).cdf(grid)
    assert scipy.stats.kstest(norms, lambda r: np.interp(r, grid, cdf)).pvalue > 1e-3


def test_density_and_distribution_function_agree():
    distribution = GaussianNorm(np.geomspace(1, 0.01, 20))
    r, h = np.linspace(1, 4, 13), 1e-4
    slope = (distribution.cdf(r + h) - distribution.cdf(r - h)) / (
        2 * h
    )  # error about h^2 and 1e-14 / h
    np.testing.assert_allclose(distribution.pdf(r), slope, rtol=0, atol=1e-7)


@given(
    eigenvalues=st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=30),
    exponent=st.integers(-40, 40),
)
@settings(max_examples=30, deadline=None)
def test_quantiles_invert_the_distribution_function_and_scale_with_the_noise(eigenvalues, exponent):
    values = np.array(eigenvalues)
    p = np.array([1e-4, 0.3, 0.5, 0.999])
    quantiles = GaussianNorm(values).quantile(p)
    np.testing.assert_allclose(GaussianNorm(values).cdf(quantiles), p, rtol=1e-8)
    scaled = GaussianNorm(values * 4.0**exponent).quantile(p)
    np.testing.assert_allclose(scaled, quantiles * 2.0**exponent, rtol=1e-8)


def test_many_quantiles_are_interpolated_within_a_millionth():
    distribution, p = GaussianNorm(np.ones(1)), (np.arange(10_000) + 0.5) / 10_000
    np.testing.assert_allclose(distribution.quantile(p), scipy.stats.chi(1).ppf(p), rtol=1e-6)
    assert distribution.quantile(p.reshape(100, 100)).shape == (100, 100)
    assert distribution.quantile([]).shape == (0,)


def test_dead_directions_change_nothing_and_there_is_no_mass_below_zero():
    with_zeros = GaussianNorm(np.array([2.0, 0, 1, 0, -1e-9]))
    assert with_zeros.cdf(1.3) == GaussianNorm(np.array([2.0, 1])).cdf(1.3)
    assert with_zeros.cdf([-1, 0]).tolist() == [0, 0]
    assert with_zeros.pdf([-1, 0]).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("eigenvalues", "sentence"),
    [
        ([0, 0], "needs one above 0"),
        ([1, -0.5], "Symmetrise"),
        ([], "at least 1"),
        ([np.nan], "NaN or infinite"),
    ],
)
def test_what_is_no_covariance_is_refused(eigenvalues, sentence):
    with pytest.raises(ValueError, match=sentence):
        GaussianNorm(np.array(eigenvalues))


def test_a_quantile_beyond_the_inversion_s_reach_is_refused():
    with pytest.raises(ValueError, match="accurate between"):
        GaussianNorm(np.ones(3)).quantile([0.5, 1.0])


def test_the_fitted_law_has_the_moments_of_the_squared_norms():
    norms = np.random.default_rng(2).gamma(3, size=200)
    distribution = norm_of_gaussian_fit(norms)
    assert distribution.scale * distribution.degrees == pytest.approx(np.mean(norms**2))
    assert 2 * distribution.scale**2 * distribution.degrees == pytest.approx(
        np.var(norms**2, ddof=1)
    )


def test_the_fit_recovers_scale_and_degrees_of_isotropic_noise():
    # log degrees = 2 log M - log V: with chi-square squares (m degrees) the delta method gives the
    # variance (2 + 12/m) / draws + smaller terms; bounded here by twice it, at 3.3 deviations.
    m, draws = 30, 20_000
    norms = 0.5 * np.sqrt(np.random.default_rng(3).chisquare(m, size=draws))
    distribution = norm_of_gaussian_fit(norms)
    sigma = np.sqrt(2 * (2 + 12 / m) / draws)
    assert abs(np.log(distribution.degrees / m)) < 3.3 * sigma
    assert abs(np.log(distribution.scale / 0.25)) < 3.3 * sigma


def test_the_scaled_chi_is_scipy_s_chi():
    distribution, chi = ScaledChi(scale=4.0, degrees=7.5), scipy.stats.chi(7.5, scale=2)
    r = np.array([-1, 0.1, 2, 5, 9])
    np.testing.assert_allclose(distribution.cdf(r), chi.cdf(r), rtol=1e-12)
    np.testing.assert_allclose(distribution.pdf(r), chi.pdf(r), rtol=1e-12)
    np.testing.assert_allclose(
        distribution.quantile(PROBABILITIES), chi.ppf(PROBABILITIES), rtol=1e-10
    )


def test_the_scaled_chi_is_as_light_in_the_tail_as_its_docstring_says():
    for power, stated in ((0.5, 2.5), (1.0, 5.3)):
        eigenvalues = np.arange(1, 151.0) ** -power
        total, squares = eigenvalues.sum(), (eigenvalues**2).sum()
        threshold = ScaledChi(squares / total, total**2 / squares).quantile(0.999)
        excess = (1 - GaussianNorm(eigenvalues).cdf(threshold)) / 0.001
        assert excess == pytest.approx(stated, abs=0.05)  # stated to one decimal


def test_equal_norms_have_no_fit_and_negative_ones_are_refused():
    assert np.isnan(norm_of_gaussian_fit([2.0, 2.0]).degrees)
    with pytest.raises(ValueError, match=r"value -1\.0; a norm is never negative"):
        norm_of_gaussian_fit([1, -1])
    with pytest.raises(ValueError, match="at least 2"):
        norm_of_gaussian_fit([1])

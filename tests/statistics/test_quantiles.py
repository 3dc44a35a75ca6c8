import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from attnscape.statistics import fitted_norm_qq, gaussian_norm_qq, normal_qq, plotting_positions

FINITE = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=40)


@given(sample=FINITE)
@settings(max_examples=60, deadline=None)
def test_a_normal_qq_is_scipy_s_probplot(sample):
    qq = normal_qq(sample)
    (theoretical, ordered), (slope, intercept, correlation) = scipy.stats.probplot(sample)
    scale = max(1.0, np.abs(sample).max())
    np.testing.assert_allclose(qq.theoretical, theoretical, atol=1e-12)
    np.testing.assert_array_equal(qq.ordered, ordered)
    assert qq.slope == pytest.approx(slope, abs=1e-9 * scale)
    assert qq.intercept == pytest.approx(intercept, abs=1e-9 * scale)
    if np.ptp(sample) > 1e-6 * scale:
        assert qq.correlation == pytest.approx(correlation, abs=1e-9)


@given(sample=st.lists(st.floats(0, 1e6), min_size=2, max_size=80))
@settings(max_examples=20, deadline=None)
def test_both_coordinates_ascend(sample):
    for qq in (normal_qq(sample), gaussian_norm_qq(sample, [3.0, 1.0, 0.2])):
        assert (np.diff(qq.theoretical) > 0).all()
        assert (np.diff(qq.ordered) >= 0).all()
        assert qq.theoretical.shape == qq.ordered.shape == (len(sample),)


def test_gaussian_noise_lies_on_the_identity_line_of_its_own_covariance():
    # At 5 positions the ordered norm must lie between the reference's quantiles at the ends of the
    # order statistic's Beta law that leave out 0.01 % each side: 1 false alarm in 1,000 seeds.
    rng, draws = np.random.default_rng(1), 3000
    eigenvalues = 1 / np.arange(1, 51.0)
    norms = np.sqrt(rng.normal(size=(draws, 50)) ** 2 @ eigenvalues)
    qq = gaussian_norm_qq(norms, eigenvalues)
    rank = np.array([1, 300, 1500, 2700, 2997])
    ends = scipy.stats.beta.ppf([[1e-4], [1 - 1e-4]], rank, draws + 1 - rank)
    low, high = np.interp(ends, plotting_positions(draws), qq.theoretical)
    assert (low <= qq.ordered[rank - 1]).all()
    assert (qq.ordered[rank - 1] <= high).all()
    # Quantiles correlate with their law to 1 - O(log n / n).
    assert qq.correlation > 0.995


def test_heavy_tailed_norms_rise_above_the_identity_line():
    rng = np.random.default_rng(2)
    noise = rng.normal(size=(3000, 20)) * np.sqrt(3 / rng.chisquare(3, size=(3000, 1)))
    qq = gaussian_norm_qq(np.linalg.norm(noise, axis=1), np.full(20, 3.0))  # their covariance
    assert qq.ordered[-1] > 1.5 * qq.theoretical[-1]


def test_a_sample_of_the_fitted_law_s_own_quantiles_lies_on_the_identity():
    n = 4000
    norms = 2 * scipy.stats.chi(12).ppf(plotting_positions(n))
    qq = fitted_norm_qq(norms)
    # The squares' variance misses what lies beyond the outermost positions: some 40 / n of it.
    np.testing.assert_allclose(qq.theoretical, norms, rtol=0.01)
    assert qq.slope == pytest.approx(1, abs=0.01)


def test_equal_values_have_a_flat_line_and_no_correlation():
    qq = normal_qq([2, 2, 2])
    assert (qq.slope, qq.intercept) == (0, 2)
    assert np.isnan([qq.correlation, normal_qq([0.1] * 7).correlation]).all()
    assert np.isnan(fitted_norm_qq([2, 2, 2]).slope)


@pytest.mark.parametrize("draw", [normal_qq, fitted_norm_qq])
def test_one_value_or_a_missing_one_is_refused(draw):
    with pytest.raises(ValueError, match="has 1 values; at least 2"):
        draw([1])
    with pytest.raises(ValueError, match="1 values of 2 that are NaN"):
        draw([1, np.nan])

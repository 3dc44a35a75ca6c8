import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from attnscape.statistics import log_trend
from attnscape.statistics._blocks import block_counts, block_length, percentile_interval
from attnscape.statistics._trend import ranks


def test_a_power_law_has_its_power_as_slope_and_rank_correlation_one():
    x = np.random.default_rng(1).uniform(0.1, 3, size=50)
    trend = log_trend(x, 4 * x**1.5, resamples=20)
    slope, rank = trend.log_slope, trend.rank_correlation
    assert (slope.estimate, slope.low, slope.high) == pytest.approx((1.5, 1.5, 1.5))
    assert (rank.estimate, rank.low, rank.high) == pytest.approx((1, 1, 1))
    assert (trend.n, trend.left_out, trend.missing) == (50, 0, 0)


def test_a_known_log_slope_is_covered_as_often_as_stated(holds_coverage):
    rng, trials = np.random.default_rng(2), 200
    hits = 0
    for seed in range(trials):
        x = np.abs(rng.normal(size=300)) + 0.2
        y = x**1.5 * np.exp(0.5 * rng.normal(size=300))
        hits += log_trend(x, y, resamples=200, seed=seed).log_slope.covers(1.5)
    holds_coverage(hits, trials, 0.95, measured=250)


@given(
    points=st.lists(
        st.tuples(st.integers(0, 8), st.integers(-4, 8)), min_size=4, max_size=30
    )  # whole numbers, for ties
)
@settings(max_examples=60, deadline=None)
def test_the_estimates_are_scipy_s(points):
    x, y = np.array(points, dtype=float).T
    trend = log_trend(x, y, resamples=2)
    positive = (x > 0) & (y > 0)
    assert trend.left_out == np.count_nonzero(~positive)
    if np.ptp(x) > 0 and np.ptp(y) > 0:
        expected = scipy.stats.spearmanr(x, y).statistic
        assert trend.rank_correlation.estimate == pytest.approx(expected, abs=1e-12)
    if positive.any() and np.ptp(x[positive]) > 0:
        expected = scipy.stats.linregress(np.log(x[positive]), np.log(y[positive])).slope
        assert trend.log_slope.estimate == pytest.approx(expected, abs=1e-9)


@given(values=st.lists(st.integers(-3, 3), min_size=1, max_size=12), data=st.data())
@settings(max_examples=60, deadline=None)
def test_weighted_ranks_are_the_ranks_of_repeated_values(values, data):
    weights = data.draw(
        st.lists(st.integers(0, 3), min_size=len(values), max_size=len(values)).filter(any)
    )
    weighted = ranks(np.array(values, dtype=float), np.array([weights]))[0]
    expected = scipy.stats.rankdata(np.repeat(values, weights))
    # Mid-ranks here count from 0, not from 1/2 past it: the same up to a constant.
    np.testing.assert_allclose(np.repeat(weighted, weights), expected - 0.5)


def test_points_without_a_logarithm_are_left_out_of_the_slope_only():
    x = np.array([0.0, 1, 2, 4, 8, 16, np.nan])
    y = np.array([1.0, 1, 2, 4, -8, 16, 1])
    trend = log_trend(x, y, resamples=2)
    assert (trend.n, trend.left_out, trend.missing) == (6, 2, 1)
    assert trend.log_slope.estimate == pytest.approx(1)
    assert trend.rank_correlation.estimate < 1
    assert "2 of 6 points without a logarithm left out" in str(trend)


def test_too_few_points_or_no_spread_have_no_trend():
    for trend in (log_trend([1, np.nan], [1, 2]), log_trend([3.3] * 7, np.arange(1, 8))):
        numbers = (trend.log_slope.estimate, trend.rank_correlation.low)
        assert np.isnan(numbers).all()


@given(n=st.integers(2, 40), data=st.data())
@settings(max_examples=40, deadline=None)
def test_a_resample_has_n_points_in_runs_of_one_block(n, data):
    block = data.draw(st.integers(1, n))
    counts = block_counts(n, block, 5, seed=1)
    assert counts.shape == (5, n)
    assert (counts.sum(axis=1) == n).all()
    # Each of the ceil(n / block) runs begins and ends once around the circle.
    steps = np.abs(np.diff(counts, axis=1, append=counts[:, :1])).sum(axis=1)
    assert (steps <= 2 * -(-n // block)).all()


def test_every_point_is_drawn_equally_often():
    # 4,000 resamples of 3 blocks: a point's count has variance below 2 * 4 per resample.
    counts = block_counts(12, 4, 4000, seed=2).mean(axis=0)
    assert np.abs(counts - 1).max() < 4 * np.sqrt(8 / 4000)


def test_blocks_grow_with_the_correlation_of_the_residuals():
    rng, n = np.random.default_rng(3), 2000
    x, noise = rng.normal(size=n), rng.normal(size=n)
    memory = np.convolve(rng.normal(size=n + 29), np.ones(30), mode="valid")
    assert block_length(None, x, 2 * x + noise) < 25
    assert block_length(None, x, 2 * x + memory) > 30
    assert block_length(7, x, noise) == 7
    assert block_length(None, np.arange(27.0), np.zeros(27)) == 3  # n^(1/3)
    assert block_length(None, np.arange(3.0), np.zeros(3)) == 1


def test_a_percentile_interval_leaves_half_of_the_rest_on_each_side():
    interval = percentile_interval(40.0, np.arange(101.0), 0.9, 101)
    assert (interval.estimate, interval.low, interval.high) == pytest.approx((40, 5, 95))
    assert np.isnan(percentile_interval(1.0, np.array([1.0, np.nan]), 0.9, 2).low)

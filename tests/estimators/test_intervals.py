import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from attnscape.estimators import Interval, bootstrap, proportion
from attnscape.estimators.intervals import _expanded


@pytest.mark.parametrize(("statistic", "stated"), [(np.mean, 0.93), (np.median, 0.97)])
def test_six_normal_values_are_covered_as_often_as_stated(statistic, stated, holds_coverage):
    rng = np.random.default_rng(1)
    hits = sum(bootstrap(statistic, rng.normal(size=6), seed=seed).covers(0) for seed in range(500))
    holds_coverage(hits, 500, stated)


@pytest.mark.parametrize("n", [2, 6, 1000])
def test_percentiles_are_expanded_by_student_s_t_and_the_lost_degree_of_freedom(n):
    z = np.sqrt(n / (n - 1)) * scipy.stats.t.ppf(0.95, n - 1)
    assert _expanded(0.9, n) == pytest.approx(scipy.stats.norm.cdf(z) - scipy.stats.norm.cdf(-z))


def test_a_large_sample_gives_the_classical_interval_of_its_mean():
    # Two quantiles of 20,000 resampled means at the 2.5 % tail: standard error
    # sqrt(0.025 * 0.975 / 20000) / phi(1.96) = 0.019 standard errors of the mean each; 4 of these.
    sample = np.random.default_rng(2).normal(size=500)
    interval = bootstrap(np.mean, sample, resamples=20_000, seed=3)
    unit = np.std(sample, ddof=1) / np.sqrt(500)
    half = scipy.stats.t.ppf(0.975, 499)
    assert interval.estimate == np.mean(sample)
    assert abs((interval.low - np.mean(sample)) / unit + half) < 4 * 0.019
    assert abs((interval.high - np.mean(sample)) / unit - half) < 4 * 0.019


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    sample = np.random.default_rng(4).normal(size=30)
    assert bootstrap(np.mean, sample, seed=5) == bootstrap(np.mean, sample, seed=5)
    assert bootstrap(np.mean, sample, seed=5) != bootstrap(np.mean, sample, seed=6)


def test_a_higher_level_gives_a_wider_interval():
    sample = np.random.default_rng(7).normal(size=10)
    wide, narrow = (bootstrap(np.mean, sample, level=level) for level in (0.99, 0.5))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_paired_samples_are_resampled_together():
    x = np.random.default_rng(8).normal(size=40)

    def shift(a, b, axis=-1):
        return np.mean(a - b, axis=axis)

    together = bootstrap(shift, x + 1, x, paired=True)
    apart = bootstrap(shift, x + 1, x)
    assert together.low == pytest.approx(1, abs=1e-12)
    assert together.high == pytest.approx(1, abs=1e-12)
    assert apart.high - apart.low > 0.5  # about 4 * sqrt(2/40)


def test_a_statistic_without_axis_is_called_resample_by_resample():
    sample = np.random.default_rng(9).normal(size=12)
    plain = bootstrap(lambda values: float(np.mean(values)), sample, resamples=200)
    assert plain == bootstrap(np.mean, sample, resamples=200)


@pytest.mark.parametrize("sample", [[], [1.5]])
def test_fewer_than_two_values_have_no_interval(sample):
    interval = bootstrap(np.mean, sample)
    assert np.isnan([interval.low, interval.high]).all()
    assert interval.estimate == 1.5 if sample else np.isnan(interval.estimate)


def test_equal_values_have_an_interval_of_no_width():
    interval = bootstrap(np.median, [2.0] * 6)
    assert (interval.estimate, interval.low, interval.high) == (2, 2, 2)


def test_an_undefined_statistic_has_no_interval():
    def spread_of_means(a, b, axis=-1):
        return np.mean(a, axis=axis) / np.ptp(b, axis=axis)

    assert np.isnan(bootstrap(spread_of_means, [0, 0], [1, 1]).estimate)
    assert np.isnan(bootstrap(spread_of_means, [1, 2], [1, 2], paired=True).high)


def test_a_missing_interval_supports_no_verdict():
    interval = Interval(1.0, np.nan, np.nan, 0.95)
    assert not any([interval.above(0), interval.below(2), interval.covers(1)])


def test_an_interval_reads_as_estimate_ends_and_level():
    interval = Interval(1.7649, 1.4, 2.25, 0.95)
    assert str(interval) == "1.76 [1.4, 2.25] (95 %)"
    assert interval.above(1.3)
    assert interval.below(2.3)
    assert interval.covers(1.4)
    assert not interval.covers(1.39)


@pytest.mark.parametrize(
    ("arguments", "options", "sentence"),
    [
        (([1, np.nan],), {}, "1 values of 2 that are NaN or infinite"),
        (([[1, 2]],), {}, "must have one dimension"),
        ((), {}, "No sample was given"),
        (([1, 2], [1, 2, 3]), {"paired": True}, "must be equally long"),
        (([1, 2],), {"resamples": 1}, "resamples is 1; it must be at least 2"),
        (([1, 2],), {"level": 95}, "strictly between 0 and 1"),
    ],
)
def test_what_bootstrap_refuses_it_explains(arguments, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        bootstrap(np.mean, *arguments, **options)


@given(trials=st.integers(0, 400), data=st.data(), level=st.floats(0.01, 0.999))
@settings(max_examples=100, deadline=None)
def test_a_share_has_the_clopper_pearson_interval(trials, data, level):
    successes = data.draw(st.integers(0, trials))
    interval = proportion(successes, trials, level=level)
    if trials == 0:
        assert np.isnan(interval.high)
        return
    expected = scipy.stats.binomtest(successes, trials).proportion_ci(level, "exact")
    assert interval.low == pytest.approx(expected.low, abs=1e-9)
    assert interval.high == pytest.approx(expected.high, abs=1e-9)


def test_a_share_above_one_is_refused():
    with pytest.raises(ValueError, match="5 successes in 4 trials"):
        proportion(5, 4)

import re
from functools import partial

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from attnscape.statistics import (
    Interval,
    bootstrap,
    geometric_mean,
    mean_interval,
    median,
    proportion,
)
from attnscape.statistics._bootstrap import _expanded


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


@pytest.mark.parametrize("sample", [[], [1.5], [1, 2, 3, 4]])
@pytest.mark.parametrize("of", [partial(bootstrap, np.mean), mean_interval, geometric_mean, median])
def test_fewer_than_five_values_have_no_interval(of, sample):
    interval = of(sample)
    assert np.isnan([interval.low, interval.high]).all()
    assert (interval.n, interval.method) == (len(sample), "none")
    assert np.isnan(interval.estimate) == (not sample)
    assert (interval.p_at_most(-99), interval.p_at_least(99)) == (1, 1)
    if sample:
        assert str(interval) == f"{interval.estimate:.3g} (no interval, n = {len(sample)})"


def test_equal_values_have_an_interval_of_no_width():
    interval = bootstrap(np.median, [2.0] * 6)
    assert (interval.estimate, interval.low, interval.high) == (2, 2, 2)


def test_an_undefined_statistic_has_no_interval():
    def spread_of_means(a, b, axis=-1):
        return np.mean(a, axis=axis) / np.ptp(b, axis=axis)

    assert np.isnan(bootstrap(spread_of_means, [0, 0], [1, 1]).estimate)
    assert np.isnan(bootstrap(spread_of_means, [1, 2], [1, 2], paired=True).high)


def test_a_missing_interval_supports_no_verdict():
    interval = Interval(1.0, np.nan, np.nan, 0.95, 1, "none")
    assert not any([interval.above(0), interval.below(2), interval.covers(1)])


def test_an_interval_reads_as_estimate_ends_and_level():
    interval = Interval(1.7649, 1.4, 2.25, 0.95, 6, "Student t")
    assert str(interval) == "1.76 [1.4, 2.25] (95 %, n = 6)"
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


def test_a_mean_of_few_values_has_students_interval():
    sample = np.random.default_rng(10).normal(size=10)
    interval = mean_interval([*sample, np.nan, np.inf], level=0.9)
    expected = scipy.stats.ttest_1samp(sample, 0.0)
    ends = expected.confidence_interval(0.9)
    assert (interval.n, interval.method) == (10, "Student t")
    assert (interval.low, interval.high) == pytest.approx((ends.low, ends.high))
    two_sided = 2 * min(interval.p_at_most(0), interval.p_at_least(0))
    assert two_sided == pytest.approx(expected.pvalue)


def test_a_mean_of_many_values_has_the_bootstraps():
    sample = np.random.default_rng(11).normal(size=400)
    interval = mean_interval(sample, resamples=20_000)
    assert (interval.n, interval.method) == (400, "bootstrap")
    # Normal values: Student's t to the Monte Carlo error of two quantiles (see above).
    unit = np.std(sample, ddof=1) / np.sqrt(400)
    half = scipy.stats.t.ppf(0.975, 399)
    assert abs((interval.low - sample.mean()) / unit + half) < 4 * 0.019
    assert abs((interval.high - sample.mean()) / unit - half) < 4 * 0.019
    assert mean_interval(sample) == mean_interval(sample)
    assert mean_interval(sample, seed=1) != mean_interval(sample)


def test_many_equal_values_do_not_break_the_mean():
    mostly_zero = mean_interval([0.0] * 23 + [1.0])
    assert mostly_zero.low < 1 / 24 < mostly_zero.high < 1
    constant = mean_interval([0.1] * 12)
    assert (constant.low, constant.high) == (constant.estimate, constant.estimate)
    assert constant.p_at_most(0) == 0


def test_a_geometric_mean_is_the_mean_of_logs():
    ratios = np.random.default_rng(12).lognormal(size=7)
    logs, interval = mean_interval(np.log(ratios)), geometric_mean(ratios)
    assert interval.estimate == pytest.approx(scipy.stats.gmean(ratios))
    assert (interval.low, interval.high) == pytest.approx((np.exp(logs.low), np.exp(logs.high)))
    assert interval.p_at_most(1) == logs.p_at_most(0)
    assert np.isnan(geometric_mean([1, 2, 3, 4, 5, 0]).estimate)


DRAWS = {
    "normal": lambda rng, n: rng.normal(size=n),
    "log-normal": lambda rng, n: rng.lognormal(size=n),
    "stuck": lambda rng, n: 0.3 * rng.normal(size=n) + np.log(10) * (rng.random(n) < 0.2),
}
MEANS = {"normal": 0.0, "log-normal": np.exp(0.5), "stuck": 0.2 * np.log(10)}


@pytest.mark.parametrize("kind", DRAWS)
@pytest.mark.parametrize("n", [5, 6, 10, 11, 24])
def test_means_are_covered_as_often_as_the_table_says(kind, n, holds_coverage):
    rows = [line.split() for line in (mean_interval.__doc__ or "").splitlines()]
    (stated,) = (row[1:] for row in rows if len(row) == 6 and row[0] == kind)
    share = float(stated[[5, 6, 10, 11, 24].index(n)]) / 100
    rng, trials = np.random.default_rng(13), 600
    samples = [DRAWS[kind](rng, n) for _ in range(trials)]
    hits = sum(mean_interval(x, resamples=1000).covers(MEANS[kind]) for x in samples)
    holds_coverage(hits, trials, share, measured=4000)


@pytest.mark.parametrize("n", [6, 10, 24])
def test_a_median_is_covered_whatever_the_law(n):
    # Exact: 1 - 2 P(Binomial(n, 1/2) < rank), with ranks 1, 2, 7. Diverging: two runs in five do;
    # then the law's median is the quantile 5/6 of the others.
    rank, trials = {6: 1, 10: 2, 24: 7}[n], 1500
    exact = 1 - 2 * scipy.stats.binom.cdf(rank - 1, n, 0.5)
    assert f"{exact:.1%} for n = {n}".replace("%", " %") in re.sub(
        r"\s+", " ", median.__doc__ or ""
    )
    rng = np.random.default_rng(n)
    for share, truth in ((0.0, 1.0), (0.4, np.exp(scipy.stats.norm.ppf(5 / 6)))):
        hits = 0
        for _ in range(trials):
            values = rng.lognormal(size=n)
            values[rng.random(n) < share] = np.inf
            hits += median(values).covers(truth)
        assert abs(hits / trials - exact) <= 3.3 * np.sqrt(exact * (1 - exact) / trials)


def test_a_median_counts_infinite_values_and_refuses_to_guess():
    interval = median([1, 2, 3, 4, np.inf, np.inf, np.inf])
    assert (interval.estimate, interval.low, interval.high) == (4, 1, np.inf)
    assert interval.n == 7
    assert interval.method == "exact"
    middle = median([1, 2, 3, np.inf, np.inf, np.inf])
    assert middle.estimate == np.inf
    assert np.isnan(median([1, 2, 3, 4, 5, 6, np.nan]).estimate)
    assert np.isnan(median([1, 2, 3, 4, 5]).low)  # the range of five covers 93.75 %
    assert median([1, 2, 3, 4, 5], level=0.9).low == 1


@pytest.mark.parametrize("n", [6, 10, 24])
@pytest.mark.parametrize("of", [mean_interval, median, geometric_mean, partial(bootstrap, np.mean)])
def test_p_values_agree_with_the_interval_of_every_level(of, n):
    sample = np.random.default_rng(15).lognormal(0.6, size=n)
    interval = of(sample)
    for level in (0.5, 0.9, 0.95):
        ends = of(sample, level=level)
        # Beyond an end the p-value is at most the error; a little inside it is more.
        width, error = ends.high - ends.low, (1 - level) / 2
        slack = 0.002 if interval.method == "bootstrap" else 1e-9
        assert interval.p_at_most(ends.low - 0.02 * width) <= error + slack
        assert interval.p_at_least(ends.high + 0.02 * width) <= error + slack
        assert interval.p_at_most(ends.low + 0.02 * width) > error - slack
        assert interval.p_at_least(ends.high - 0.02 * width) > error - slack


def test_p_values_of_a_share_are_binomial():
    share = proportion(7, 20).times(10)
    assert share.p_at_most(2) == pytest.approx(
        scipy.stats.binomtest(7, 20, 0.2, alternative="greater").pvalue
    )
    assert share.p_at_least(6) == pytest.approx(
        scipy.stats.binomtest(7, 20, 0.6, alternative="less").pvalue
    )


def test_an_interval_that_knows_its_ends_only_has_p_values_of_its_level():
    interval = Interval(1, 0.5, 2, 0.95, 9, "exact")
    assert interval.p_at_most(0.4) == pytest.approx(0.025)
    assert interval.p_at_most(0.6) == 1
    assert interval.p_at_least(2.1) == pytest.approx(0.025)

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from attnscape.statistics import paired_difference, paired_ratio

POSITIVE = st.lists(st.floats(1e-3, 1e3), min_size=6, max_size=12)


@pytest.mark.parametrize(
    ("seeds", "median", "geometric", "trials"), [(6, 0.973, 0.957, 500), (20, 0.960, 0.952, 300)]
)
def test_log_normal_ratios_are_covered_as_often_as_stated(
    seeds, median, geometric, trials, holds_coverage
):
    rng = np.random.default_rng(1)
    truth = np.exp(0.3)
    hits = np.zeros(2, dtype=int)
    for seed in range(trials):
        denominator = rng.lognormal(size=seeds)
        numerator = denominator * rng.lognormal(0.3, 0.4, size=seeds)
        ratio = paired_ratio(numerator, denominator, seed=seed)
        hits += [ratio.median.covers(truth), ratio.geometric_mean.covers(truth)]
    holds_coverage(hits[0], trials, median, measured=3000)
    holds_coverage(hits[1], trials, geometric, measured=3000)


def test_a_ratio_is_summarised_as_the_paper_prints_it():
    ratio = paired_ratio([1, 4, 6], [1, 2, 1])
    assert (ratio.n, ratio.mean) == (3, 3)
    assert ratio.std == pytest.approx(np.sqrt(7))  # deviations -2, -1, 3 over n - 1 = 2
    assert ratio.median.estimate == 2
    assert ratio.geometric_mean.estimate == pytest.approx(12 ** (1 / 3))
    assert ratio.share_above_one.estimate == pytest.approx(2 / 3)


def test_ties_are_left_out_of_the_sign_test():
    assert paired_ratio([1, 4, 6], [1, 2, 1]).sign_test_p == 0.5
    assert paired_ratio([1, 1], [1, 1]).sign_test_p == 1


@given(above=st.integers(0, 30), below=st.integers(0, 30))
@settings(max_examples=60, deadline=None)
def test_the_sign_test_is_the_exact_binomial_test(above, below):
    ratio = paired_ratio([2.0] * above + [1.0] * below, [1.0] * above + [2.0] * below, resamples=2)
    if above + below == 0:
        assert np.isnan(ratio.sign_test_p)
    else:
        expected = scipy.stats.binomtest(above, above + below).pvalue
        assert ratio.sign_test_p == pytest.approx(expected, rel=1e-9)


def test_diverged_undefined_and_negative_pairs_are_counted_and_named():
    ratio = paired_ratio([1, 2, np.nan, -1, 0, 3, 1, 1], [1, 1, 1, 1, 1, 0, np.inf, 1], level=0.9)
    assert (ratio.n, ratio.diverged, ratio.undefined, ratio.nonpositive) == (5, 2, 1, 2)
    assert ratio.mean == 0.6
    assert np.isnan(ratio.geometric_mean.estimate)
    assert not np.isnan(ratio.median.low)
    text = str(ratio)
    assert text.startswith("0.6 (1.14) mean (std) of 5 pairs; median 1 [-1, 2] (90 %, n = 5)")
    assert "2 dropped as not finite; 1 dropped for a zero denominator; 2 zero or negative" in text


def test_a_clean_ratio_mentions_no_dropped_pairs():
    assert "dropped" not in str(paired_ratio([2, 3], [1, 1]))


def test_nothing_left_to_compare_gives_nan_everywhere():
    ratio = paired_ratio([np.nan, np.inf], [1, 1])
    assert ratio.n == 0
    numbers = (ratio.mean, ratio.std, ratio.median.low, ratio.sign_test_p)
    assert np.isnan([*numbers, ratio.geometric_mean.high, ratio.share_above_one.low]).all()
    difference = paired_difference([np.nan], [1])
    assert np.isnan([difference.mean.estimate, difference.std, difference.wilcoxon_p]).all()


@given(values=POSITIVE, exponents=st.tuples(st.integers(-20, 20), st.integers(-20, 20)))
@settings(max_examples=40, deadline=None)
def test_ratios_scale_with_numerator_and_against_denominator(values, exponents):
    a, b = 2.0 ** np.array(exponents, dtype=float)  # powers of two: no rounding, exact equality
    values = np.array(values)
    plain = paired_ratio(values, values[::-1], resamples=50)
    scaled = paired_ratio(a * values, b * values[::-1], resamples=50)
    assert scaled.mean == plain.mean * a / b
    assert scaled.std == plain.std * a / b
    assert scaled.median.low == plain.median.low * a / b
    assert scaled.geometric_mean.high == pytest.approx(plain.geometric_mean.high * a / b)


@given(values=POSITIVE)
@settings(max_examples=40, deadline=None)
def test_swapping_the_two_inverts_the_geometric_mean_and_keeps_the_sign_test(values):
    numerator, denominator = np.array(values), np.array(values[1:] + values[:1])
    forth = paired_ratio(numerator, denominator, resamples=50)
    back = paired_ratio(denominator, numerator, resamples=50)
    assert forth.geometric_mean.estimate == pytest.approx(1 / back.geometric_mean.estimate)
    assert forth.sign_test_p == pytest.approx(back.sign_test_p)


def test_pairs_must_match():
    with pytest.raises(ValueError, match="numerator has 2 values and denominator has 3"):
        paired_ratio([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="first has 1 values and second has 2"):
        paired_difference([1], [1, 2])


def test_a_difference_is_summarised_over_seeds():
    difference = paired_difference([3, 5, 7, np.nan], [2, 2, 2, 0])
    assert (difference.n, difference.diverged) == (3, 1)
    assert (difference.mean.estimate, difference.std, difference.median.estimate) == (3, 2, 3)
    assert difference.wilcoxon_p == 0.25  # all three of one sign: 2 / 2^3
    assert "mean (std) of 3 pairs" in str(difference)
    assert "1 dropped as not finite" in str(difference)


def test_the_signed_rank_test_rejects_a_true_null_as_often_as_it_says():
    # Exact with 10 pairs: the attainable level below 5 % is 4.88 % (Wilcoxon tables, T <= 8).
    # 500 samples, 3.3 binomial standard deviations: 1 false alarm in 1,000 seeds.
    rng = np.random.default_rng(2)
    rejected = sum(
        paired_difference(rng.normal(size=10), rng.normal(size=10), resamples=2).wilcoxon_p < 0.05
        for _ in range(500)
    )
    level = 50 / 1024  # twice 25 of 2^10 sign patterns with rank sum at most 8
    assert abs(rejected / 500 - level) <= 3.3 * np.sqrt(level * (1 - level) / 500)


def test_no_difference_at_all_is_no_evidence():
    assert paired_difference([1, 2, 3], [1, 2, 3]).wilcoxon_p == 1


def test_zero_differences_are_left_out_of_the_signed_rank_test():
    with_zeros = paired_difference([1, 2, 3, 4, 9], [1, 1, 1, 1, 9])
    without = paired_difference([2, 3, 4], [1, 1, 1])
    assert with_zeros.wilcoxon_p == without.wilcoxon_p

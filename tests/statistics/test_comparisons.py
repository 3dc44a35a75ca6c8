import numpy as np
import pytest
import scipy.stats

from attnscape.statistics import (
    _comparisons,
    geometric_mean,
    median,
    paired_comparison,
    unpaired_comparison,
)
from attnscape.statistics._shift import mann_whitney

NAN, INF = np.nan, np.inf


def test_without_divergence_the_ratio_is_the_geometric_mean():
    rng = np.random.default_rng(1)
    a, b = rng.lognormal(0.5, size=6), rng.lognormal(size=6)
    comparison = paired_comparison(a, b)
    assert comparison.ratio == comparison.survivors
    assert comparison.ratio.estimate == pytest.approx(geometric_mean(a / b).estimate)
    assert comparison.ratio.method == "Student t"
    assert (comparison.n, comparison.diverged, comparison.divergence) == (6, 0, "")
    assert "survivors" not in str(comparison)


def test_a_diverged_run_is_the_worst_result():
    first, second = [1, 2, INF, 4, 3, NAN, 5], [0.5, 1, 1, NAN, 1, NAN, 1]
    comparison = paired_comparison(first, second)
    # log ratios: log 2, log 2, inf, -inf, log 3, 0 (both), log 5
    counts = (comparison.diverged_first, comparison.diverged_second, comparison.diverged_both)
    assert counts == (2, 2, 1)
    assert comparison.diverged == 3
    assert comparison.ratio == comparison.median
    ratio = comparison.ratio
    assert (ratio.estimate, ratio.low, ratio.high) == (pytest.approx(2), 0, INF)
    assert comparison.sign_test_p == pytest.approx(scipy.stats.binomtest(5, 6).pvalue)
    assert np.isnan(comparison.permutation_p)
    assert (comparison.survivors.n, comparison.survivors.method) == (4, "none")
    assert comparison.survivors.estimate == pytest.approx((2 * 2 * 3 * 5) ** 0.25)
    text = str(comparison)
    assert text.startswith("median 2 [0, inf] (95 %, n = 7)")
    assert "diverged: 2 and 2 of 7 runs, 1 on the same seeds; survivors alone: 2.78" in text


def test_one_that_always_diverges_loses():
    comparison = paired_comparison([INF] * 6, [1.0] * 6)
    assert comparison.ratio.low == INF
    assert comparison.ratio.above(1)
    assert comparison.sign_test_p == 2 / 64
    assert comparison.survivors.n == 0
    both = paired_comparison([INF] * 6, [NAN] * 6)
    assert both.ratio.estimate == 1
    assert both.sign_test_p == 1


def test_survivors_that_win_do_not_hide_those_that_diverged():
    # Four of six of second diverge, and the other two are far better.
    comparison = paired_comparison([1.0] * 6, [0.01, 0.01, *[INF] * 4])
    assert comparison.survivors.estimate == pytest.approx(100)
    assert not comparison.ratio.above(1)
    assert comparison.ratio.estimate == 0


def test_swapping_the_two_inverts_the_ratio():
    first, second = [1, 2, INF, 4, 3, 9], [0.5, 1, 1, 1, 2, INF]
    forth, back = paired_comparison(first, second), paired_comparison(second, first)
    assert back.ratio.low == pytest.approx(1 / forth.ratio.high)
    assert back.sign_test_p == forth.sign_test_p


def test_zero_scores_are_the_best_and_negative_ones_are_refused():
    assert paired_comparison([1.0] * 6, [0.0] * 6).ratio.low == INF
    assert paired_comparison([0.0] * 6, [0.0] * 6).ratio.estimate == 1
    with pytest.raises(ValueError, match="A score is -1"):
        paired_comparison([-1.0], [1.0])


@pytest.mark.parametrize(("n", "probability"), [(6, 0), (6, 0.3), (24, 0), (24, 0.3)])
def test_equal_optimizers_are_told_apart_no_more_often_than_the_level_says(
    n, probability, monkeypatch
):
    # The sign test and the interval; 800 samples, 3.3 binomial standard deviations above 5 %.
    # The bootstrap of 24 is nominal: half a per cent is added for it.
    # The permutation test, which would take most of the time, has a test of its own.
    monkeypatch.setattr(_comparisons, "permutation_test", lambda values: np.nan)
    rng, trials = np.random.default_rng(2), 800
    wrong = np.zeros(2)
    for _ in range(trials):
        scores = rng.lognormal(size=(2, n))
        scores[rng.random((2, n)) < probability] = INF
        comparison = paired_comparison(*scores, resamples=1000)
        wrong += [not comparison.ratio.covers(1), comparison.sign_test_p <= 0.05]
    assert (wrong / trials <= 0.055 + 3.3 * np.sqrt(0.05 * 0.95 / trials)).all()


@pytest.mark.parametrize(("m", "n"), [(1, 1), (3, 5), (8, 8), (24, 6)])
def test_mann_whitney_probabilities_are_scipys(m, n):
    distribution = mann_whitney(m, n)
    assert distribution.size == m * n + 1
    for a in (np.arange(m) + 0.5, np.arange(m) * 2.1 + 0.01 + n / 3):
        b = np.arange(n, dtype=float)
        expected = scipy.stats.mannwhitneyu(a, b, method="exact", alternative="less")
        assert distribution[int(expected.statistic)] == pytest.approx(expected.pvalue)


def test_an_unpaired_shift_has_the_intervals_of_the_mann_whitney_test():
    rng = np.random.default_rng(3)
    a, b = rng.lognormal(0.8, size=6), rng.lognormal(size=9)
    comparison = unpaired_comparison(a, b)
    assert comparison.p_value == pytest.approx(scipy.stats.mannwhitneyu(a, b).pvalue)
    ratios = a[:, None] / b
    assert comparison.ratio.estimate == pytest.approx(np.exp(np.median(np.log(ratios))))
    # Just inside of an end the shifted samples are not told apart at 5 %, just outside they are.
    for end, inwards in ((comparison.ratio.low, 1.0001), (comparison.ratio.high, 0.9999)):
        assert scipy.stats.mannwhitneyu(a / end / inwards, b).pvalue > 0.05
        assert scipy.stats.mannwhitneyu(a / end * inwards, b).pvalue <= 0.05
    assert (comparison.ratio.n, comparison.ratio.method) == (6, "exact")


def test_a_known_shift_is_covered_as_often_as_stated(holds_coverage):
    rng, trials = np.random.default_rng(4), 600
    hits = sum(
        unpaired_comparison(rng.lognormal(1, size=6), rng.lognormal(size=6)).ratio.covers(np.e)
        for _ in range(trials)
    )
    holds_coverage(hits, trials, 0.959, measured=INF)  # exact: 1 - 2 P(U <= 5)


def test_divergence_ranks_worst_between_unrelated_seeds_too():
    light, heavy = [1.0, 2, 3, 4, 5, 6], [INF, NAN, INF, INF, INF, 7]
    comparison = unpaired_comparison(heavy, light)
    assert comparison.ratio.low > 1
    assert comparison.ratio.high == INF
    assert comparison.share == 1
    assert comparison.divergence == "diverged: 5 of 6 and 0 of 6 runs"
    both = unpaired_comparison([INF] * 6, [NAN] * 6)
    assert (both.ratio.estimate, both.share) == (1, 0.5)
    assert np.isnan(unpaired_comparison([1, 2, 3, 4], light).ratio.low)
    assert np.isnan(unpaired_comparison([], light).p_value)


def test_the_median_ratio_is_exact():
    a, b = np.random.default_rng(5).lognormal(size=(2, 9))
    expected = median(a / b)
    got = paired_comparison(a, b).median
    assert (got.estimate, got.low) == pytest.approx((expected.estimate, expected.low))

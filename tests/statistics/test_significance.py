import itertools

import numpy as np
import pytest
import scipy.stats

from attnscape.statistics import permutation_test, sign_test


def test_the_sign_test_counts_infinite_values_by_their_sign_and_leaves_out_ties():
    values = [np.inf, np.inf, 3, 0.5, -1, 0, 0]
    assert sign_test(values) == pytest.approx(scipy.stats.binomtest(4, 5).pvalue)
    assert sign_test([0, 0]) == 1
    assert np.isnan(sign_test([]))
    with pytest.raises(ValueError, match="has 1 NaN of 2"):
        sign_test([1, np.nan])


@pytest.mark.parametrize("n", [2, 6, 10])
def test_a_permutation_test_of_few_values_is_over_all_flips_of_signs(n):
    values = np.random.default_rng(n).normal(0.5, size=n)
    flips = np.array(list(itertools.product([-1, 1], repeat=n))) @ values
    side = max(np.mean(flips >= values.sum() - 1e-12), 0)
    other = np.mean(flips <= values.sum() + 1e-12)
    assert permutation_test(values) == pytest.approx(min(1, 2 * min(side, other)))
    assert permutation_test(values + 3, 3) == pytest.approx(permutation_test(values))


def test_values_without_a_mean_have_no_permutation_test():
    assert np.isnan(permutation_test([1, np.inf]))
    assert np.isnan(permutation_test([]))
    assert permutation_test([1.0]) == 1
    assert permutation_test([0.0, 0.0]) == 1


@pytest.mark.parametrize("n", [6, 10, 24])
def test_both_tests_reject_a_true_null_in_at_most_five_per_cent(n):
    # 400 samples, at most 3.3 binomial standard deviations above 5 %: 1 false alarm in 2,000 seeds.
    rng, trials = np.random.default_rng(3), 400
    values = rng.standard_t(2, size=(trials, n))
    for test in (sign_test, lambda v: permutation_test(v, resamples=1999)):
        rejected = sum(test(v) <= 0.05 for v in values)
        assert rejected / trials <= 0.05 + 3.3 * np.sqrt(0.05 * 0.95 / trials)

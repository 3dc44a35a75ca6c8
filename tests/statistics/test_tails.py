import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from attnscape.statistics import excess_kurtosis, fourth_moment, hill, hill_plot, tail_excess


def pareto(rng, alpha, size):
    return (1 - rng.random(size)) ** (-1 / alpha)


def test_kurtosis_of_normal_samples_is_covered_as_often_as_stated(holds_coverage):
    rng = np.random.default_rng(1)
    hits = sum(
        excess_kurtosis(rng.normal(size=200), resamples=500, seed=seed).covers(0)
        for seed in range(300)
    )
    holds_coverage(hits, 300, 0.90)


def test_kurtosis_is_scipy_s_unbiased_estimate():
    sample = np.random.default_rng(2).exponential(size=50)
    expected = scipy.stats.kurtosis(sample, bias=False)
    assert excess_kurtosis(sample).estimate == pytest.approx(expected)


def test_kurtosis_is_unbiased_on_small_normal_samples():
    # Mean over 1,000 samples of 10, 3.3 times its standard error: 1 false alarm in 1,000 seeds.
    # The biased g2 would be off by -6 / 11, some 13 of these standard errors.
    samples = np.random.default_rng(3).normal(size=(1000, 10))
    estimates = [excess_kurtosis(sample, resamples=2).estimate for sample in samples]
    assert abs(np.mean(estimates)) < 3.3 * np.std(estimates) / np.sqrt(1000)


def test_a_heavy_tail_has_a_kurtosis_above_zero_and_a_flat_law_one_below():
    rng = np.random.default_rng(4)
    assert excess_kurtosis(rng.standard_t(5, size=5000)).above(0)
    assert excess_kurtosis(rng.random(500)).below(-1)  # truth -1.2, standard error 0.04


@pytest.mark.parametrize("sample", [[], [1, 2, 3], [2, 2, 2, 2], [0.1] * 7, [0] * 4])
def test_too_few_or_equal_values_have_no_kurtosis(sample):
    kurtosis = excess_kurtosis(sample)
    assert np.isnan([kurtosis.estimate, kurtosis.low, kurtosis.high]).all()


@given(sample=st.lists(st.integers(-1000, 1000), min_size=5, max_size=30, unique=True))
@settings(max_examples=30, deadline=None)
def test_kurtosis_does_not_depend_on_unit_or_origin(sample):
    values = np.array(sample, dtype=float)
    plain, moved = (excess_kurtosis(v, resamples=50).estimate for v in (values, 5 - 8 * values))
    assert moved == pytest.approx(plain, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(("k", "stated"), [(20, 0.92), (50, 0.94)])
def test_hill_intervals_cover_a_pareto_index_as_often_as_stated(k, stated, holds_coverage):
    rng, trials = np.random.default_rng(5), 500
    tails = [hill(pareto(rng, 2.5, 4 * k), k, resamples=1000, seed=s) for s in range(trials)]
    holds_coverage(sum(tail.alpha.covers(2.5) for tail in tails), trials, stated)
    exact = sum(tail.pareto.covers(2.5) for tail in tails)
    holds_coverage(exact, trials, 0.95, measured=np.inf)  # by theory: no stated measurement


def test_hill_covers_student_s_degrees_of_freedom_at_its_default_k(holds_coverage):
    rng, trials = np.random.default_rng(6), 200
    tails = [hill(np.abs(rng.standard_t(3, size=10_000)), resamples=500) for _ in range(trials)]
    assert tails[0].k == 100
    holds_coverage(sum(tail.alpha.covers(3) for tail in tails), trials, 0.93, measured=600)


def test_hill_is_the_inverse_mean_log_excess():
    tail = hill([np.e**3, 1.0, np.e**2, np.e, 0.5], k=2)
    assert tail.alpha.estimate == pytest.approx(1 / 1.5)  # log-excesses 2 and 1 over e
    assert tail.threshold == pytest.approx(np.e)
    assert (tail.k, tail.n) == (2, 5)
    assert tail.standard_error == pytest.approx(1 / 1.5 / np.sqrt(2))


def test_the_pareto_interval_tends_to_alpha_plus_minus_z_over_root_k():
    tail = hill(pareto(np.random.default_rng(7), 2, 40_000), 10_000)
    half = scipy.stats.norm.ppf(0.975) * tail.standard_error
    # The next term of the gamma quantile is (z^2 - 1) / (3 k), here 1e-4 of alpha.
    assert tail.pareto.low == pytest.approx(tail.alpha.estimate - half, rel=2e-4)
    assert tail.pareto.high == pytest.approx(tail.alpha.estimate + half, rel=2e-4)


@given(
    sample=st.lists(st.floats(1e-3, 1e3), min_size=3, max_size=40, unique=True),
    exponent=st.integers(-30, 30),
    data=st.data(),
)
@settings(max_examples=40, deadline=None)
def test_hill_does_not_depend_on_the_unit_and_scales_with_a_power(sample, exponent, data):
    k = data.draw(st.integers(1, len(sample) - 1))
    values = np.array(sample)
    plain = hill(values, k, resamples=20).alpha.estimate
    assert hill(values * 2.0**exponent, k, resamples=20).alpha.estimate == pytest.approx(plain)
    assert hill(values**2, k, resamples=20).alpha.estimate == pytest.approx(plain / 2, rel=1e-6)


def test_a_hill_plot_is_hill_at_every_k():
    sample = pareto(np.random.default_rng(8), 3, 200)
    plot = hill_plot(sample, [1, 10, 199], level=0.9)
    for i, k in enumerate((1, 10, 199)):
        tail = hill(sample, k, level=0.9, resamples=2)
        ends = (tail.pareto.estimate, tail.pareto.low, tail.pareto.high)
        assert (plot.alpha[i], plot.low[i], plot.high[i]) == pytest.approx(ends)
    default = hill_plot(np.append(sample, [-1, 0]))
    assert default.k[[0, -1]].tolist() == [2, 100]
    assert (np.diff(default.k) > 0).all()


def test_equal_largest_values_have_an_infinite_index_without_interval():
    tail = hill([3, 3, 3, 1], k=2)
    assert tail.alpha.estimate == np.inf
    assert np.isnan(tail.alpha.high)


@pytest.mark.parametrize(
    ("sample", "k", "sentence"),
    [
        ([1, 2, 3], 3, "k is 3; with 3 values it must lie between 1 and 2"),
        ([1, 2, 3], 0, "k is 0"),
        ([-1, 0, 3], 1, "needs a positive upper tail"),
        ([1], None, "at least 2"),
        ([1, np.inf], None, "NaN or infinite"),
    ],
)
def test_what_hill_refuses_it_explains(sample, k, sentence):
    with pytest.raises(ValueError, match=sentence):
        hill(sample, k)


def test_what_a_hill_plot_refuses_it_explains():
    with pytest.raises(ValueError, match="ks span 1 to 4"):
        hill_plot([1, 2, 3, 4, -1], [1, 4])
    with pytest.raises(ValueError, match="3 positive values; 4 are needed"):
        hill_plot([1, 2, 3])


def test_exceedances_are_counted_against_their_expectation():
    excess = tail_excess(np.arange(1000), 994.0, share=0.002)
    assert (excess.count, excess.n, excess.ratio.estimate) == (5, 1000, 2.5)
    test = scipy.stats.binomtest(5, 1000, 0.002, alternative="greater")
    assert excess.p_value == pytest.approx(test.pvalue)
    interval = scipy.stats.binomtest(5, 1000).proportion_ci(0.95, "exact")
    assert excess.ratio.low == pytest.approx(interval.low / 0.002)
    assert excess.ratio.high == pytest.approx(interval.high / 0.002)
    assert str(excess).startswith("5 of 1000 beyond the reference's 99.8 % quantile, 2.5 [")


def test_no_exceedance_is_no_evidence():
    excess = tail_excess([0.0] * 10, 1.0)
    assert (excess.ratio.estimate, excess.ratio.low, excess.p_value) == (0, 0, 1)


def test_a_reference_exceeds_itself_no_more_often_than_the_level_says():
    # Exact binomial test: size at most 5 %, here 4.9 % (P(X >= 16), X ~ Binomial(10000, 0.001)).
    # 400 samples at 3.3 binomial standard deviations: 1 false alarm in 1,000 seeds.
    rng, threshold = np.random.default_rng(9), scipy.stats.norm.ppf(0.999)
    rejected = sum(
        tail_excess(rng.normal(size=10_000), threshold).p_value < 0.05 for _ in range(400)
    )
    size = scipy.stats.binom.sf(15, 10_000, 0.001)
    assert abs(rejected / 400 - size) <= 3.3 * np.sqrt(size * (1 - size) / 400)


def test_an_empty_sample_or_a_missing_threshold_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        tail_excess([], 1.0)
    with pytest.raises(ValueError, match="threshold is NaN"):
        tail_excess([1.0], np.nan)


@pytest.mark.parametrize(
    ("degrees", "infinite", "estimable"), [(3, 0.90, 0), (4, 0.17, 0.004), (5, 0.004, 0.08)]
)
def test_a_kurtosis_that_is_infinite_is_told_as_often_as_stated(
    degrees, infinite, estimable, holds_coverage
):
    rng, trials = np.random.default_rng(10), 200
    found = [fourth_moment(np.abs(rng.standard_t(degrees, size=10_000))) for _ in range(trials)]
    holds_coverage(sum(each.infinite for each in found), trials, infinite, measured=600)
    holds_coverage(sum(each.estimable for each in found), trials, estimable, measured=600)


def test_whether_a_kurtosis_is_estimable_is_said_in_words():
    rng = np.random.default_rng(11)
    normal = fourth_moment(np.abs(rng.normal(size=10_000)))
    assert normal.estimable
    assert str(normal).endswith("above 4")
    cauchy = fourth_moment(np.abs(rng.standard_cauchy(size=10_000)))
    assert cauchy.infinite
    assert str(cauchy).startswith("kurtosis is not estimable: tail index ")
    assert str(cauchy).endswith("below 4")
    unclear = fourth_moment(pareto(rng, 4, 400))
    assert not unclear.estimable


def test_hills_bias_on_students_tails_is_the_stated_one(holds_coverage):
    rng, trials = np.random.default_rng(12), 200
    tails = [hill(np.abs(rng.standard_t(5, size=10_000)), resamples=2) for _ in range(trials)]
    indices = [tail.alpha.estimate for tail in tails]
    # A standard deviation of 0.42 each, in 200 here and in 400 that were stated.
    assert abs(np.mean(indices) - 4.32) <= 3.3 * 0.42 * np.sqrt(1 / trials + 1 / 400)
    holds_coverage(sum(tail.pareto.covers(5) for tail in tails), trials, 0.62, measured=400)

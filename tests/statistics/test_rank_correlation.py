import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from attnscape.errors import UsageError
from attnscape.statistics import rank_correlation
from attnscape.statistics._rank_correlation import _over_seeds, _reliability
from attnscape.statistics._rank_scores import (
    NormalRanks,
    correlation,
    from_normal,
    permutation_p,
    scores,
    to_normal,
)

INF, NAN = np.inf, np.nan
KINDS = ("spearman", "kendall")
# Whole numbers, for ties; some runs diverged.
LOSSES = st.one_of(st.integers(0, 6).map(float), st.just(INF))


def of_scipy(first, second, kind):
    of = {"spearman": scipy.stats.spearmanr, "kendall": scipy.stats.kendalltau}[kind]
    return of(first, second).statistic


@st.composite
def two_tables(draw, least=2, most=8):
    n = draw(st.integers(least, most))
    return [draw(arrays(float, (n, draw(st.integers(1, 6))), elements=LOSSES)) for _ in range(2)]


@given(tables=two_tables(), kind=st.sampled_from(KINDS))
def test_the_correlation_is_scipys_of_the_medians(tables, kind):
    first, second = (np.median(table, axis=1) for table in tables)
    got = float(correlation(scores(first, kind), scores(second, kind)))
    if np.unique(first).size == 1 or np.unique(second).size == 1:
        assert np.isnan(got)
        assert np.isnan(rank_correlation(*tables, kind=kind, resamples=10).p_value)
    else:
        assert got == pytest.approx(of_scipy(first, second, kind), abs=1e-12)
        result = rank_correlation(*tables, kind=kind, resamples=10)
        assert result.over_seeds.estimate == result.over_optimizers.estimate == got


@given(
    values=st.integers(2, 5).flatmap(lambda n: arrays(float, (2, n), elements=LOSSES)),
    kind=st.sampled_from(KINDS),
)
def test_the_p_value_is_that_of_all_permutations(values, kind):
    first, second = values
    if np.unique(first).size == 1 or np.unique(second).size == 1:
        return
    observed = abs(of_scipy(first, second, kind))
    others = [abs(of_scipy(first, second[list(p)], kind)) for p in permutations(first.size)]
    share = np.mean(np.array(others) >= observed - 1e-9)
    assert permutation_p(first, second, kind, seed=0) == pytest.approx(share, abs=1e-12)


def permutations(n):
    return itertools.permutations(range(n))


@pytest.mark.parametrize("kind", KINDS)
def test_the_p_value_of_six_is_that_of_all_720_permutations(kind):
    first, second = np.arange(6.0), np.array([2.0, 0, 1, 3, 5, 4])
    observed = of_scipy(first, second, kind)
    others = [of_scipy(first, second[list(p)], kind) for p in permutations(6)]
    share = np.mean(np.abs(others) >= observed - 1e-9)
    assert permutation_p(first, second, kind, seed=0) == pytest.approx(share, abs=1e-12)
    assert share < 0.5


@pytest.mark.parametrize("n", [5, 8])
def test_kendalls_p_value_without_ties_is_scipys_exact_one(n):
    first, second = np.random.default_rng(n).normal(size=(2, n))
    expected = scipy.stats.kendalltau(first, second, method="exact").pvalue
    assert permutation_p(first, second, "kendall", seed=0) == pytest.approx(expected)


def test_above_eight_optimizers_the_permutations_are_random():
    rng = np.random.default_rng(1)
    first = rng.normal(size=11)
    second = 0.6 * first + rng.normal(size=11)
    exact = scipy.stats.kendalltau(first, second, method="exact").pvalue
    got = permutation_p(first, second, "kendall", seed=0)
    # 10,000 permutations: 3.3 binomial standard deviations, 1 false alarm in 1,000 seeds.
    assert abs(got - exact) <= 3.3 * np.sqrt(exact * (1 - exact) / 10_000) + 1e-4
    assert got == permutation_p(first, second, "kendall", seed=0)
    assert permutation_p(np.arange(11.0), np.arange(11.0), "kendall", seed=0) == 1 / 10_001


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [6, 9])
def test_unrelated_systems_are_called_related_in_at_most_five_per_cent(kind, n):
    # 3.3 binomial standard deviations above 5 %: 1 false alarm in 2,000 cases.
    rng, trials = np.random.default_rng(2), 100
    pairs = rng.normal(size=(trials, 2, n))
    rejected = sum(permutation_p(*pair, kind, seed=0) <= 0.05 for pair in pairs)
    assert rejected / trials <= 0.05 + 3.3 * np.sqrt(0.05 * 0.95 / trials)


def losses(rng, optimizers=8, seeds=(7, 9), noise=1.0):
    truth = np.arange(float(optimizers))[:, None]
    return [truth + noise * rng.normal(size=(optimizers, n)) for n in seeds]


@pytest.mark.parametrize("kind", KINDS)
def test_optimizers_share_their_seeds(kind):
    # The seeds differ by far more than the optimizers, but all optimizers have the same ones: the
    # order is the same in every resample of columns, though not in one of cells.
    rng = np.random.default_rng(3)
    one, other = (np.arange(6.0)[:, None] + 100 * rng.normal(size=n) for n in (5, 8))
    result = rank_correlation(one, other, kind=kind, resamples=200)
    interval = result.over_seeds
    assert (interval.estimate, interval.low, interval.high) == pytest.approx((1, 1, 1))
    assert (result.reliability_one, result.reliability_other) == pytest.approx((1, 1))
    assert (interval.n, result.n) == (5, 6)


def test_only_the_order_of_losses_counts():
    one, other = losses(np.random.default_rng(4))
    result = rank_correlation(one, other, resamples=200)
    assert rank_correlation(np.exp(one), other**3, resamples=200) == result  # odd numbers of seeds
    assert rank_correlation(2 * one + 1, other, resamples=200) == result


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_in_which_optimizers_are_named_does_not_count(kind):
    one, other = losses(np.random.default_rng(5))
    order = np.random.default_rng(6).permutation(8)
    named = rank_correlation(one, other, kind=kind, resamples=200)
    again = rank_correlation(one[order], other[order], kind=kind, resamples=200)
    assert again.over_seeds == named.over_seeds
    assert again.p_value == named.p_value
    assert again.reliability_one == pytest.approx(named.reliability_one)


@pytest.mark.parametrize("kind", KINDS)
def test_the_reverse_order_has_the_mirrored_interval(kind):
    one, other = losses(np.random.default_rng(7), noise=3)
    forth = rank_correlation(one, other, kind=kind, resamples=400)
    back = rank_correlation(one, -other, kind=kind, resamples=400)
    assert back.over_seeds.estimate == -forth.over_seeds.estimate
    mirrored = (-back.over_seeds.high, -back.over_seeds.low)
    assert mirrored == pytest.approx((forth.over_seeds.low, forth.over_seeds.high))
    assert back.p_value == forth.p_value
    # Other draws: 400 of them determine a tail of 2.5 % to 0.8 %, which moves an end a little.
    mirrored = (-back.over_optimizers.high, -back.over_optimizers.low)
    assert mirrored == pytest.approx(
        (forth.over_optimizers.low, forth.over_optimizers.high), abs=0.1
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_result_and_another_seed_another(kind):
    tables = losses(np.random.default_rng(8), optimizers=9, noise=3)
    first = rank_correlation(*tables, kind=kind, resamples=200, seed=1)
    assert first == rank_correlation(*tables, kind=kind, resamples=200, seed=1)
    second = rank_correlation(*tables, kind=kind, resamples=200, seed=2)
    assert first.over_seeds != second.over_seeds
    assert first.over_optimizers != second.over_optimizers
    assert first.p_value != second.p_value


def test_optimizers_that_diverge_are_last_and_tie():
    one = np.tile(np.arange(6.0)[:, None], 6)
    other = one.copy()
    other[4, :3], other[5, 2:] = INF, NAN  # three and four of six
    result = rank_correlation(one, other, resamples=200)
    expected = scipy.stats.spearmanr([0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 9, 9]).statistic
    assert result.over_seeds.estimate == pytest.approx(expected)
    assert (result.diverged_one, result.diverged_other) == (0, 2)
    assert str(result).endswith("diverged: 0 and 2 optimizers")
    assert "diverged" not in str(rank_correlation(one, one, resamples=10))


@pytest.mark.parametrize(
    ("optimizers", "seeds", "seeds_known", "optimizers_known"),
    [
        (8, (4, 9), False, True),
        (8, (9, 4), False, True),
        (4, (9, 9), False, False),
        (5, (5, 5), True, True),
        (2, (1, 1), False, False),
    ],
)
def test_few_seeds_or_optimizers_have_no_interval(optimizers, seeds, seeds_known, optimizers_known):
    tables = losses(np.random.default_rng(9), optimizers, seeds, noise=0.1)
    result = rank_correlation(*tables, resamples=100)
    for interval, known in (
        (result.over_seeds, seeds_known),
        (result.over_optimizers, optimizers_known),
    ):
        assert np.isfinite([interval.low, interval.high]).all() == known
        assert interval.estimate == 1
        assert (interval.method == "none") == (not known)
    assert result.over_seeds.n == min(seeds)
    assert result.over_optimizers.n == optimizers


def test_equal_optimizers_have_no_correlation():
    result = rank_correlation(np.full((6, 6), INF), losses(np.random.default_rng(10), 6)[0])
    numbers = (result.over_seeds.estimate, result.over_optimizers.low, result.p_value)
    assert np.isnan([*numbers, result.reliability_one]).all()
    assert result.diverged_one == 6


@pytest.mark.parametrize(
    ("one", "other", "options", "sentence"),
    [
        ([[1, 2]], [[1], [2]], {}, "one has 1 optimizers and other has 2"),
        ([1, 2], [[1], [2]], {}, r"one has shape \(2,\); pass losses"),
        ([[1]], [[]], {}, r"other has shape \(1, 0\); pass losses"),
        ([[-INF]], [[1]], {}, "one contains -inf"),
        ([[1]], [[1]], {"kind": "pearson"}, "kind is 'pearson'; it must be"),
        ([[1]], [[1]], {"level": 95}, "strictly between 0 and 1"),
        ([[1]], [[1]], {"resamples": 1}, "resamples is 1; it must be at least 2"),
    ],
)
def test_what_cannot_be_used_is_explained(one, other, options, sentence):
    error = ValueError if {"level", "resamples"} & set(options) else UsageError
    with pytest.raises(error, match=sentence):
        rank_correlation(one, other, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_p_values_agree_with_the_intervals_of_every_level(kind):
    tables = losses(np.random.default_rng(11), noise=5)
    result = rank_correlation(*tables, kind=kind, resamples=400)
    for level in (0.5, 0.9, 0.95):
        other = rank_correlation(*tables, kind=kind, resamples=400, level=level)
        for interval, ends in (
            (result.over_seeds, other.over_seeds),
            (result.over_optimizers, other.over_optimizers),
        ):
            # Beyond an end the p-value is at most the error; well inside it is more.
            error, slack = (1 - level) / 2, 0.01
            if ends.low > -1:
                assert interval.p_at_most(ends.low - 0.01) <= error + slack
                assert interval.p_at_most(ends.low + 0.1) > error
            if ends.high < 1:
                assert interval.p_at_least(ends.high + 0.01) <= error + slack
                assert interval.p_at_least(ends.high - 0.1) > error


@pytest.mark.parametrize("kind", KINDS)
@given(value=st.floats(-1, 1))
def test_normal_values_with_a_rank_correlation_are_found_both_ways(kind, value):
    assert from_normal(to_normal(value, kind), kind) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [0.3, 0.8])
def test_normal_values_have_the_rank_correlation_that_is_said(kind, value):
    r, rng = to_normal(value, kind), np.random.default_rng(12)
    x, noise = rng.normal(size=(2, 20_000))
    got = of_scipy(x, r * x + np.sqrt(1 - r**2) * noise, kind)
    assert abs(got - value) < 3.3 / np.sqrt(20_000)  # the standard deviation is below 1/sqrt(n)


@pytest.mark.parametrize("n", [7, 10])
def test_without_correlation_normal_ranks_have_kendalls_exact_p_values(n):
    rng = np.random.default_rng(n)
    first = rng.normal(size=n)
    second = 0.5 * first + rng.normal(size=n)
    tails = NormalRanks(first, second, "kendall", *rng.normal(size=(2, 10_000, n)))
    for got, side in zip(tails(0.0), ("greater", "less"), strict=True):
        exact = scipy.stats.kendalltau(first, second, method="exact", alternative=side).pvalue
        assert abs(got - exact) <= 3.3 * np.sqrt(exact * (1 - exact) / 10_000) + 1e-4


@given(values=arrays(float, (2, 6), elements=LOSSES), kind=st.sampled_from(KINDS))
def test_drawn_samples_have_the_ties_of_the_sample(values, kind):
    first, second = values
    draws = np.random.default_rng(13).normal(size=(2, 50, 6))
    tails = NormalRanks(first, second, kind, *draws)
    drawn = tails._with_ties(draws[0], first)
    # A score's square depends on the ties alone.
    assert (np.sum(drawn**2, axis=-1) == np.sum(scores(first, kind) ** 2)).all()
    plain = NormalRanks(np.arange(6.0), second, kind, *draws)
    np.testing.assert_array_equal(
        plain._with_ties(draws[0], np.arange(6.0)), scores(draws[0], kind)
    )


SIZES = (10, 12, 20)
TRUTHS = (0.0, 0.5, 0.8, 0.95)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("truth", TRUTHS)
def test_other_optimizers_are_covered_as_often_as_the_table_says(kind, n, truth, holds_coverage):
    lines = (line.strip() for line in (rank_correlation.__doc__ or "").splitlines())
    start = f"{kind.capitalize()}, {n} "
    (row,) = (line.removeprefix(start).split() for line in lines if line.startswith(start))
    stated = float(row[TRUTHS.index(truth)]) / 100
    rng, trials, r = np.random.default_rng(14), 1000, to_normal(truth, kind)
    x, noise = rng.normal(size=(2, trials, n))
    y = r * x + np.sqrt(1 - r**2) * noise
    tails = NormalRanks(x[0], y[0], kind, *rng.normal(size=(2, 2000, n)))
    # Without ties, the draws are the same for every sample.
    drawn = tails.products(truth)
    observed = np.sum(scores(x, kind) * scores(y, kind), axis=-1, keepdims=True)
    p = (np.sum([drawn >= observed, drawn <= observed], axis=-1) + 1) / 2001
    assert tails(truth) == pytest.approx(tuple(p[:, 0]))
    holds_coverage(np.count_nonzero((p > 0.025).all(axis=0)), trials, stated, measured=4000)


LINE, PAIRS, GROUPS = np.arange(10.0), np.repeat(np.arange(5.0), 2), np.repeat([0.0, 3.0], 5)
WITHIN_PAIRS, WITHIN_GROUPS = np.tile([0.0, 0.1], 5), np.tile(0.05 * np.arange(5), 2)
MEDIANS = {
    "line, equal orders": (LINE, LINE),
    "line, different orders": (LINE, [4, 0, 6, 2, 1, 9, 3, 5, 8, 7]),
    "pairs, equal orders": (PAIRS + WITHIN_PAIRS, PAIRS + WITHIN_PAIRS),
    "pairs, reversed within": (PAIRS + WITHIN_PAIRS, PAIRS - WITHIN_PAIRS),
    "groups, equal orders": (GROUPS + WITHIN_GROUPS, GROUPS + WITHIN_GROUPS),
    "groups, reversed within": (GROUPS + WITHIN_GROUPS, GROUPS - WITHIN_GROUPS),
    "line and groups": (
        [0, 9, 1, 8, 2, 3, 7, 4, 6, 5],
        [0, 3.2, 0.05, 3.15, 0.1, 0.15, 3.1, 3.05, 3, 0.2],
    ),
    "groups across the line": ([0, 3, 4, 7, 8, 1, 2, 5, 6, 9], GROUPS + WITHIN_GROUPS),
}
QUICK = ("line, equal orders", "line and groups")


@pytest.mark.parametrize(
    ("medians", "seeds", "trials"),
    [(medians, 6, 40) for medians in QUICK]
    + [
        pytest.param(medians, seeds, 120, marks=pytest.mark.slow)
        for medians in MEDIANS
        for seeds in (6, 24)
    ],
)
def test_true_medians_are_covered_though_percentiles_miss_them(
    medians, seeds, trials, holds_coverage
):
    lines = (line.strip() for line in (rank_correlation.__doc__ or "").splitlines())
    (row,) = (
        line.removeprefix(medians).replace("(", "").replace(")", "").split()
        for line in lines
        if line.startswith(f"{medians}  ")
    )
    correlation_, *columns = map(float, row)
    stated, alone, length = columns[:3] if seeds == 6 else columns[3:]
    truth = of_scipy(*MEDIANS[medians], "spearman")
    assert correlation_ == pytest.approx(truth, abs=0.005)
    rng = np.random.default_rng(15)
    hits = percentiles = total = 0
    for seed in range(trials):
        one, other = (
            np.reshape(median, (10, 1))
            + 2 * rng.normal(size=(10, seeds))
            + 0.5 * rng.normal(size=seeds)  # shared by the optimizers
            for median in MEDIANS[medians]
        )
        margin = 1 - min(_reliability(table, "spearman", 600, seed) for table in (one, other))
        interval = _over_seeds((one, other), "spearman", margin, 0.95, 600, seed)
        hits += interval.low - 1e-9 <= truth <= interval.high + 1e-9
        percentiles += min(interval.tails.tails(truth)) > 0.025
        total += interval.high - interval.low
    if stated < 95:  # the worst case found, which the docstring admits
        holds_coverage(hits, trials, stated / 100, measured=200)
    else:
        assert hits / trials >= 0.95 - 3.3 * np.sqrt(0.95 * 0.05 / trials)
    holds_coverage(percentiles, trials, alone / 100, measured=200)
    assert total / trials == pytest.approx(length, abs=0.15)


def test_the_reliability_is_at_most_the_correlation_of_two_sets_of_seeds():
    # It is estimated too low, mostly for few seeds, which errs on the safe side.
    rng = np.random.default_rng(16)
    for seeds, most in ((6, 0.15), (24, 0.05)):
        tables = LINE[:, None] + 2 * rng.normal(size=(60, 10, seeds))
        truth = np.mean(
            [of_scipy(*np.median(tables[i : i + 2], axis=2), "spearman") for i in range(0, 60, 2)]
        )
        found = np.mean([_reliability(table, "spearman", 200, seed=0) for table in tables])
        assert truth - most <= found <= truth + 0.02

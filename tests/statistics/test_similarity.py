import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from attnscape.statistics import (
    Interval,
    bootstrap,
    closer_to,
    crossed,
    mean_interval,
    median,
    no_interval,
)
from attnscape.statistics._one_sided import Student
from attnscape.statistics._similarity import _Nearer

INF, NAN = np.inf, np.nan
SAMPLES = st.lists(st.floats(-8, 8, width=16), min_size=5, max_size=9)
NUMBERS = st.floats(-8, 8, width=16)
ERRORS = st.tuples(st.floats(0.1, 3), st.floats(0.1, 3))


@given(candidate=SAMPLES, one=SAMPLES, other=SAMPLES)
def test_the_estimate_is_the_difference_of_the_distances_of_the_means(candidate, one, other):
    c, a, b = map(np.mean, (candidate, one, other))
    result = closer_to(candidate, one, other)
    interval = result.interval
    assert interval.estimate == pytest.approx(abs(c - b) - abs(c - a))
    assert interval.low <= interval.estimate + 1e-9
    assert interval.high >= interval.estimate - 1e-9
    assert interval.n == min(map(len, (candidate, one, other)))
    assert (result.word == "closer to A") == (interval.low > 0)
    assert (result.word == "closer to B") == (interval.high < 0)
    assert (result.word == "undecided") == interval.covers(0)


@given(candidate=SAMPLES, one=SAMPLES, other=SAMPLES)
def test_exchanging_the_two_systems_changes_the_sign(candidate, one, other):
    forth, back = closer_to(candidate, one, other), closer_to(candidate, other, one)
    assert (back.interval.low, back.interval.high) == pytest.approx(
        (-forth.interval.high, -forth.interval.low)
    )
    for value in (-1.0, 0.0, 0.5):
        assert back.interval.p_at_most(value) == pytest.approx(forth.interval.p_at_least(-value))


@given(candidate=SAMPLES, one=SAMPLES, other=SAMPLES, shift=st.integers(-4, 4))
def test_neither_shift_nor_reflection_nor_unit_counts(candidate, one, other, shift):
    samples = [np.array(sample) for sample in (candidate, one, other)]
    plain = closer_to(*samples).interval
    for moved in (closer_to(*(s + shift for s in samples)), closer_to(*(-s for s in samples))):
        assert (moved.interval.low, moved.interval.high) == pytest.approx((plain.low, plain.high))
    doubled = closer_to(*(2 * s for s in samples)).interval
    assert (doubled.low, doubled.high) == pytest.approx((2 * plain.low, 2 * plain.high))


@given(c=NUMBERS, a=NUMBERS, b=NUMBERS, errors=ERRORS)
def test_the_interval_holds_what_gap_and_side_allow(c, a, b, errors):
    # The oracle: all pairs of a grid over the rectangle of both intervals.
    gap, side = Student(a - b, errors[0], 7.0), Student(2 * c - a - b, errors[1], 5.0)
    low, high = _Nearer(gap, side).ends(0.9)
    gaps, sides = (
        np.linspace(*scipy.stats.t.interval(0.9, s.freedom, s.estimate, s.standard_error), 41)
        for s in (gap, side)
    )
    # c = 0: a = (gap - side)/2 and b = -(gap + side)/2.
    first, second = np.meshgrid(gaps, sides)
    values = np.abs((first + second) / 2) - np.abs((first - second) / 2)
    assert (low, high) == pytest.approx((values.min(), values.max()), abs=1e-9)


@given(c=NUMBERS, a=NUMBERS, b=NUMBERS, errors=ERRORS)
def test_p_values_agree_with_the_interval_of_every_level(c, a, b, errors):
    tails = _Nearer(Student(a - b, errors[0], 7.0), Student(2 * c - a - b, errors[1], 5.0))
    for level in (0.5, 0.9, 0.95, 0.99):
        low, high = tails.ends(level)
        error = (1 - level) / 2
        assert tails(low - 1e-6)[0] <= error + 1e-9
        assert tails(low + 1e-6)[0] >= error - 1e-9
        assert tails(high + 1e-6)[1] <= error + 1e-9
        assert tails(high - 1e-6)[1] >= error - 1e-9


def test_with_one_system_far_away_the_interval_is_welchs():
    rng = np.random.default_rng(1)
    candidate, one, other = rng.normal(size=7), rng.normal(1, 2, size=6), rng.normal(3, 1, size=9)
    far = candidate - 1000  # c is below both, so the difference is b - a
    interval = closer_to(far, one, other).interval
    test = scipy.stats.ttest_ind(other, one, equal_var=False)
    ends = test.confidence_interval(0.95)
    assert (interval.low, interval.high) == pytest.approx((ends.low, ends.high))
    two_sided = 2 * min(interval.p_at_most(0), interval.p_at_least(0))
    assert two_sided == pytest.approx(test.pvalue)


def test_an_interval_counts_like_its_sample():
    samples = np.random.default_rng(2).normal([[0], [1], [5]], 1, size=(3, 8))
    of_samples = closer_to(*samples)
    assert closer_to(*map(mean_interval, samples)) == of_samples
    mixed = closer_to(samples[0], mean_interval(samples[1], level=0.5), samples[2])
    assert mixed == of_samples
    # Ends alone, as from a file, and of a higher level.
    bare = [
        Interval(i.estimate, i.low, i.high, i.level, i.n, "Student t")
        for i in (mean_interval(sample, level=0.99) for sample in samples)
    ]
    interval = closer_to(*bare).interval
    expected = (of_samples.interval.low, of_samples.interval.high)
    assert (interval.low, interval.high) == pytest.approx(expected)


def test_the_longer_half_of_an_interval_counts():
    skewed = Interval(1.0, 0.9, 3.0, 0.95, 6, "bootstrap")
    symmetric = Interval(1.0, -1.0, 3.0, 0.95, 6, "bootstrap")
    others = [np.arange(6.0) + 4, np.arange(6.0) + 9]
    assert closer_to(skewed, *others) == closer_to(symmetric, *others)


def test_a_crossed_layout_keeps_its_degrees_of_freedom():
    rng = np.random.default_rng(3)
    layout = crossed(rng.normal(size=(24, 1)) + 0.1 * rng.normal(size=(24, 8)))
    certain = [np.full(9, 100.0), np.full(9, 200.0)]
    interval = closer_to(layout.interval, *certain).interval
    assert (interval.low, interval.high) == pytest.approx((100, 100))  # c is below both: b - a
    near = [np.full(9, -100.0), np.full(9, 100.0)]
    width = closer_to(layout.interval, *near).interval
    assert width.high - width.low == pytest.approx(2 * (layout.interval.high - layout.interval.low))


@pytest.mark.parametrize("few", [0, 1, 2])
@pytest.mark.parametrize("sample", [[], [1.0], [1.0, 2.0, 3.0, 4.0], no_interval(2.5, 9)])
def test_without_five_values_or_an_interval_there_is_no_word(few, sample):
    parts = [[1.0, 1.1, 1.2, 1.3, 1.4], [2.0, 2.1, 2.2, 2.3, 2.4], [99.0, 99.1, 99.2, 99.3, 99.4]]
    assert closer_to(*parts).word == "closer to A"
    parts[few] = sample
    result = closer_to(*parts)
    assert (result.word, result.interval.method) == ("undecided", "none")
    assert np.isnan([result.interval.low, result.interval.high]).all()


def test_an_interval_without_finite_ends_decides_nothing():
    diverging = median([1.0, 2.0, 3.0, 4.0, 5.0, INF])
    assert diverging.high == INF
    assert closer_to(diverging, [1.0] * 6, [99.0] * 6).word == "undecided"


def test_equal_values_are_certain():
    result = closer_to([0.1] * 6, [0.2] * 6, [0.4] * 6)
    assert result.word == "closer to A"
    assert result.interval.low == result.interval.high == pytest.approx(0.2)
    assert closer_to([0.1] * 6, [0.3] * 6, [0.3] * 6).word == "undecided"


def test_values_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="one has 1 values of 3 that are NaN or infinite"):
        closer_to([1, 2, 3], [1, 2, INF], [1, 2, 3])
    with pytest.raises(ValueError, match="level is 95"):
        closer_to([1], [1], [1], level=95)


# Means of c, a and b with equal distances, and the standard deviations; "near" and "far" count
# in these.
EQUALLY_FAR = {
    "a = b = c": ((0, 0, 0), (1, 1, 1)),
    "a = b, c far": ((9, 0, 0), (1, 1, 1)),
    "c between, near": ((0, -1, 1), (1, 1, 1)),
    "c between, far": ((0, -9, 9), (1, 1, 1)),
    "a = b = c, b noisy": ((0, 0, 0), (0.01, 0.01, 1)),
    "a = b, c far, b noisy": ((9, 0, 0), (0.01, 0.01, 1)),
    "c between, far, noisy": ((0, -9, 9), (1, 0.01, 0.01)),
}
COLUMNS = [
    ("normal", (5, 5, 5)),
    ("normal", (24, 6, 6)),
    ("stuck", (6, 6, 6)),
    ("stuck", (24, 24, 24)),
    ("medians", (6, 6, 6)),
]


def errors(rng, law, n):
    """Normal errors, or log losses of which one in five is stuck at ten times the loss."""
    if law == "normal":
        return rng.normal(size=n)
    values = 0.3 * rng.normal(size=n) + np.log(10) * (rng.random(n) < 0.2)
    # The mean; or the median, where 0.8 Phi(x / 0.3) = 1/2, as stuck runs are all above it.
    return values - (0.2 * np.log(10) if law == "stuck" else 0.3 * scipy.stats.norm.ppf(5 / 8))


def words(rng, law, sizes, means, spreads, trials=400):
    summary = median if law == "medians" else np.asarray
    found = []
    for _ in range(trials):
        samples = (
            mean + spread * errors(rng, law, n)
            for mean, spread, n in zip(means, spreads, sizes, strict=True)
        )
        found.append(closer_to(*map(summary, samples)).word)
    return np.array(found)


@pytest.mark.parametrize("column", range(len(COLUMNS)))
@pytest.mark.parametrize("case", EQUALLY_FAR)
def test_equally_far_is_called_closer_as_often_as_the_table_says(case, column, holds_coverage):
    lines = (line.strip() for line in (closer_to.__doc__ or "").splitlines())
    (row,) = (line.removeprefix(case).split() for line in lines if line.startswith(f"{case}  "))
    stated = float(row[column]) / 100
    law, sizes = COLUMNS[column]
    found = words(np.random.default_rng(4), law, sizes, *EQUALLY_FAR[case])
    count = int(np.count_nonzero(found != "undecided"))
    holds_coverage(count, 400, stated, measured=2000)
    if law != "stuck":  # the promise itself
        assert count / 400 <= 0.05 + 3.3 * np.sqrt(0.05 * 0.95 / 400)


def test_what_is_three_standard_deviations_nearer_is_found_as_often_as_stated(holds_coverage):
    found = words(np.random.default_rng(5), "normal", (6, 6, 6), (0, 0, 3), (1, 1, 1))
    holds_coverage(np.count_nonzero(found == "closer to A"), 400, 0.75)
    assert not (found == "closer to B").any()


@pytest.mark.parametrize("means", [(0, 0, 1), (0, 0, 9), (-2, 0, 2), (0.5, 0, 2)])
def test_the_difference_is_covered_at_corners_and_beyond(means):
    # 94 to 97 %, and 3.3 binomial standard deviations: 1 false alarm in 1,000 cases.
    rng, trials = np.random.default_rng(6), 400
    c, a, b = means
    truth = abs(c - b) - abs(c - a)
    hits = sum(
        closer_to(*(rng.normal(mean, 1, size=6) for mean in means)).interval.covers(truth)
        for _ in range(trials)
    )
    assert hits / trials >= 0.94 - 3.3 * np.sqrt(0.94 * 0.06 / trials)
    assert hits / trials <= 0.97 + 3.3 * np.sqrt(0.97 * 0.03 / trials)


def test_resampling_would_mistake_noise_for_distance():
    # The reason for the tests of two contrasts: three equal systems, the third of them noisy.
    rng = np.random.default_rng(7)

    def nearer(c, a, b, axis=-1):
        to_a, to_b = (np.abs(np.mean(c, axis=axis) - np.mean(x, axis=axis)) for x in (a, b))
        return to_b - to_a

    samples = [[s * rng.normal(size=24) for s in (0.01, 0.01, 1)] for _ in range(60)]
    wrong = [bootstrap(nearer, *each, resamples=200).above(0) for each in samples]
    assert np.mean(wrong) > 0.5
    assert np.mean([closer_to(*each).word == "closer to A" for each in samples]) < 0.2

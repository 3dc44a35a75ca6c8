"""Verdict words: what they mean, and how often each comes up where there is nothing to find."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import scipy.stats

from attnscape.paper.claims._comparison import Comparison
from attnscape.paper.claims._outcomes import (
    by_choice,
    decided,
    holm,
    in_words,
    outcomes,
    verdict_label,
    verdict_of_comparisons,
)
from attnscape.paper.verdict import WORDS
from attnscape.statistics import Interval, geometric_mean, mean_interval, proportion


def sample(mean: float, n: int = 6, spread: float = 1.0) -> Interval:
    """Student's interval of n values with exactly that mean and standard deviation."""
    values = np.linspace(-1, 1, n)
    return mean_interval(mean + spread * values / np.std(values, ddof=1))


def comparison(mean: float, **changes) -> Comparison:
    return Comparison("x", sample(mean), **{"threshold": 0.0} | changes)


YES, NO, OPEN = comparison(5), comparison(-5), comparison(0.1)
BARELY = comparison(1.1)  # two-sided p = 0.043


def test_the_words_say_what_the_comparisons_come_to():
    assert verdict_of_comparisons([YES, YES]) == "holds"
    assert verdict_of_comparisons([YES, OPEN]) == "holds in part"
    assert verdict_of_comparisons([YES, NO]) == "mixed"
    assert verdict_of_comparisons([YES, NO, NO, NO, NO, NO]) == "mixed"
    assert verdict_of_comparisons([YES, NO, OPEN]) == "mixed"
    assert verdict_of_comparisons([NO, OPEN]) == verdict_of_comparisons([NO]) == "does not hold"
    assert verdict_of_comparisons([OPEN]) == verdict_of_comparisons([]) == "undecided"
    assert {verdict_label([*map(str, found)]) for found in ([], ["holds"], ["reversed"])} < set(
        WORDS
    )


def test_a_comparison_is_decided_by_its_interval_when_it_stands_alone():
    for mean in np.linspace(-3, 3, 25):
        one = comparison(float(mean))
        expected = "holds" if one.interval.above(0) else "undecided"
        expected = "does not hold" if one.interval.below(0) else expected
        assert verdict_of_comparisons([one]) == expected


def test_comparisons_that_are_picked_follow_holms_procedure():
    assert verdict_of_comparisons([BARELY]) == "holds"
    # All are tested at the full level: nothing was picked.
    assert verdict_of_comparisons([BARELY, BARELY]) == "holds"
    assert verdict_of_comparisons([BARELY, OPEN]) == "undecided"  # one of two: 0.043 is doubled
    assert verdict_of_comparisons([BARELY, YES, OPEN]) == "holds in part"
    text = in_words([BARELY, YES, OPEN])
    assert text.count("(undecided)") == 2


def test_holms_adjustment_is_the_textbooks():
    # Holm (1979): the smallest times 4, then 3, 2, 1, never decreasing.
    adjusted = holm(np.array([0.03, 0.01, 0.04, 0.2]))
    assert adjusted == pytest.approx([0.09, 0.04, 0.09, 0.2])
    assert holm(np.array([0.9, 0.8])).max() == 1


def test_fewer_than_five_seeds_decide_nothing_and_say_so():
    few = Comparison("gap", geometric_mean([9.0, 10.0, 11.0]))
    assert verdict_of_comparisons([few]) == "undecided"
    assert in_words([few]) == "gap: 9.97 (no interval, n = 3) (undecided: 3 seeds)"
    assert verdict_of_comparisons([few, YES]) == "holds in part"


@pytest.mark.parametrize(
    ("share", "outcome"), [(0.01, "does not hold"), (0.1, "undecided"), (0.3, "holds")]
)
def test_an_effect_counts_from_its_size_on(share, outcome):
    excess = proportion(round(100 * share), 100).times(10)
    heavy = Comparison("tail", excess, threshold=1.5, unit="norms")
    assert verdict_of_comparisons([heavy]) == outcome
    assert ", above 1.5" in in_words([heavy])


@pytest.mark.parametrize(
    ("ratio", "outcome"),
    [(1, "holds"), (1.6, "holds"), (2, "undecided"), (4, "does not hold"), (0.2, "does not hold")],
)
def test_alike_is_shown_by_two_one_sided_tests(ratio, outcome):
    alike = Comparison("loss", sample(np.log(ratio), spread=0.15).exp(), kind="alike", margin=2.0)
    assert alike.region == (0.5, 2)
    assert verdict_of_comparisons([alike]) == outcome
    assert ", within 0.5 to 2" in in_words([alike])
    log = sample(np.log(ratio), spread=0.15)
    expected = max(
        2 * scipy.stats.t.sf((log.estimate + np.log(2)) / 0.15 * 6**0.5, 5),
        2 * scipy.stats.t.cdf((log.estimate - np.log(2)) / 0.15 * 6**0.5, 5),
    )
    assert alike.p_values[0] == pytest.approx(min(1, expected))


def test_two_noisy_groups_are_not_called_alike():
    noisy = Comparison("loss", sample(0.0, spread=2.0).exp(), kind="alike", margin=2.0)
    assert verdict_of_comparisons([noisy]) == "undecided"


@pytest.mark.parametrize(
    ("mean", "outcome"), [(0.3, "holds"), (-0.05, "holds"), (-0.2, "undecided"), (-1, "reversed")]
)
def test_what_does_not_shrink_may_be_smaller_by_the_margin_only(mean, outcome):
    interval = sample(mean, spread=0.1)
    shrinks = Comparison("gap", interval, 0.0, kind="not beyond", margin=0.2)
    assert shrinks.region == (-0.2, np.inf)
    assert outcomes([shrinks]) == [outcome]
    grows = Comparison("gap", sample(-mean, spread=0.1), 0.0, False, kind="not beyond", margin=0.2)
    assert grows.region == (-np.inf, 0.2)
    assert outcomes([grows]) == [outcome]
    assert ", no less than -0.2" in in_words([shrinks])


def test_a_margin_without_a_kind_that_needs_it_is_refused():
    for wrong in ({"margin": 2.0}, {"kind": "alike"}, {"kind": "alike", "margin": 0.5}):
        with pytest.raises(ValueError, match="margin"):
            Comparison("x", sample(1), **wrong)


def test_notes_stand_with_the_numbers():
    noted = Comparison("x", sample(5), 0.0, note="2 of 6 diverged")
    assert in_words([noted]).endswith("(95 %, n = 6), 2 of 6 diverged")


def test_the_table_by_choice_judges_each_choice_acomparison():
    first, second = by_choice({"published rates": [YES], "searched rates": [OPEN, NO]})
    assert (first.choice, first.verdict) == ("published rates", "holds")
    assert second.verdict == "does not hold"
    assert second.numbers == in_words([OPEN, NO])


TRIALS = 4000


def mean_tails(values: np.ndarray) -> np.ndarray:
    """One-sided p-values of means at 0, (many, 2): `mean_interval`'s, many rows at once.

    Rows of one length share the bootstrap's draws, as calls with one seed do.
    """
    n = values.shape[1]
    mean = values.mean(axis=1)
    t = mean / (values.std(axis=1, ddof=1) / np.sqrt(n))
    if n <= 10:
        return np.stack([scipy.stats.t.sf(t, n - 1), scipy.stats.t.cdf(t, n - 1)], axis=1)
    draws = np.random.default_rng(0).integers(0, n, (1000, n))
    counts = np.stack([np.bincount(draw, minlength=n) for draw in draws])
    centred = values - mean[:, None]
    means = centred @ counts.T / n
    spread = np.sqrt((centred**2 @ counts.T / n - means**2) / (n - 1))
    replicates = means / spread
    above = (replicates >= t[:, None]).sum(axis=1) + 1
    below = (replicates <= t[:, None]).sum(axis=1) + 1
    return np.stack([above, below], axis=1) / 1001


def test_many_means_at_once_have_the_p_values_of_each():
    values = np.random.default_rng(0).normal(0.3, size=(5, 24))
    for rows in (values[:, :6], values):
        for row, (at_most, at_least) in zip(rows, mean_tails(rows), strict=True):
            interval = mean_interval(row, resamples=1000)
            assert interval.p_at_most(0) == pytest.approx(at_most)
            assert interval.p_at_least(0) == pytest.approx(at_least)


@pytest.mark.parametrize("dependent", [False, True], ids=["independent", "dependent"])
@pytest.mark.parametrize("comparisons", [1, 2, 3, 6, 12])
@pytest.mark.parametrize("seeds", [6, 24])
@pytest.mark.parametrize("distribution", ["normal", "stuck"])
def test_two_equal_optimizers_seldom_get_a_verdict(distribution, seeds, comparisons, dependent):
    # Log-ratios of two equal optimizers. By design 5 % at most for all decided words
    # together. 4,000 trials: 3.3 standard errors of a share of 5 % are 1.1 %.
    rng = np.random.default_rng([seeds, comparisons])
    size = (2, TRIALS if dependent else TRIALS * comparisons, seeds)
    logs = rng.normal(size=size)
    if distribution == "stuck":  # one run in five at ten times
        logs = 0.3 * logs + np.log(10) * (rng.random(size) < 0.2)
    tails = np.minimum(2 * mean_tails(logs[0] - logs[1]), 1)
    tails = np.repeat(tails, comparisons, axis=0) if dependent else tails
    tails = tails.reshape(TRIALS, comparisons, 2)
    words = Counter(verdict_label(decided(each[:, 0], each[:, 1])) for each in tails)
    error = 3.3 * np.sqrt(0.05 * 0.95 / TRIALS)
    assert words["holds"] / TRIALS <= 0.05 + error
    assert words["does not hold"] / TRIALS <= 0.05 + error
    assert words["mixed"] / TRIALS <= 0.10
    assert words["holds in part"] / TRIALS <= 0.10
    if distribution == "normal" and (seeds, comparisons) == (
        6,
        1,
    ):  # exact: 2.5 % each, as the level says
        assert abs(words["holds"] / TRIALS - 0.025) <= 3.3 * np.sqrt(0.025 * 0.975 / TRIALS)
    elif distribution == "normal":
        assert 1 - words["undecided"] / TRIALS <= 0.055 + error


def test_comparisons_that_hold_are_found():
    # 24 seeds, a ratio of e at a spread of 1: six comparisons of six in most cases.
    rng = np.random.default_rng(1)
    tails = np.minimum(2 * mean_tails(1 + rng.normal(size=(1200, 24))), 1).reshape(200, 6, 2)
    words = Counter(verdict_label(decided(each[:, 0], each[:, 1])) for each in tails)
    assert words["holds"] > 180
    assert words["mixed"] == words["does not hold"] == 0

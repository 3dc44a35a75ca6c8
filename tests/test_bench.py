"""The bench: numbers whose answers are known, and one run of the whole."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from attnscape.bench import SUITE, statistics
from attnscape.cli import Bench
from attnscape.commands import bench, command_line
from attnscape.errors import UsageError

LOSSES = arrays(float, (3, 4, 5), elements=st.floats(1e-6, 1e6, allow_subnormal=False))


def test_the_loss_at_the_budget_is_the_median_of_the_last_twentieth():
    losses = np.ones((2, 100))
    losses[0, -5:] = [1, 2, 3, 4, 100]
    losses[1, -1] = np.nan
    assert statistics.loss_at_budget(losses).tolist() == [3, np.inf]


def test_steps_to_a_target_are_the_first_at_or_below_it():
    losses = np.array([[5, 3, 2, 1], [5, np.nan, 2, 9], [5, 5, 5, 5]], float)
    steps = statistics.steps_to_reach(losses, np.array([0.0, 10, 20, 30]), np.array([2.0, 2, 2]))
    assert steps.tolist() == [20, 20, np.inf]


def test_a_speed_up_is_zero_where_the_target_is_not_reached():
    baseline = np.array([100.0, 100, 100, 100, 0])
    half = statistics.speed_up(baseline, np.array([50.0, 50, 50, 50, 50]))
    assert (half.estimate, half.low, half.high) == (2, 2, 2)
    never = statistics.speed_up(baseline, np.full(5, np.inf))
    assert (never.estimate, never.high) == (0, 0)


@given(LOSSES)
def test_mean_ranks_add_up_and_lie_inside_their_intervals(losses):
    ranks = statistics.mean_ranks(losses)
    assert sum(rank.estimate for rank in ranks) == pytest.approx(4 * 5 / 2)
    assert all(1 <= rank.low <= rank.estimate <= rank.high for rank in ranks)


def test_the_best_everywhere_has_rank_one_and_diverged_runs_share_the_last():
    losses = np.array([[[1.0, 1, 1], [2, 2, 2], [np.inf] * 3, [np.inf] * 3]] * 2)
    ranks = statistics.mean_ranks(losses)
    assert [rank.estimate for rank in ranks] == [1, 2, 3.5, 3.5]
    assert (ranks[0].low, ranks[0].high) == (1, 1)


@given(LOSSES)
def test_profiles_rise_from_the_share_of_wins_to_one(losses):
    factors = np.array([1, 10, 1e13])
    shares = statistics.profile(losses, factors)
    wins = (losses == losses.min(axis=1, keepdims=True)).mean(axis=(0, 2))
    np.testing.assert_allclose(shares[:, 0], wins)
    assert (np.diff(shares, axis=1) >= 0).all()
    assert (shares[:, -1] == 1).all()


def test_nobody_is_within_a_factor_where_all_diverged():
    shares = statistics.profile(np.full((1, 2, 3), np.inf), np.array([1.0, 1e9]))
    assert (shares == 0).all()


def tuning(losses):
    """A table of three seeds that agree."""
    return pd.DataFrame(
        [
            {"learning_rate": rate, "seed": seed, "loss": loss}
            for rate, loss in losses.items()
            for seed in range(3)
        ]
    )


@pytest.mark.parametrize(
    ("losses", "factor"),
    [
        ({0.1: 9, 0.2: 2, 0.5: 1, 1.0: 1.9, 2.0: np.inf}, 5),
        ({0.1: 1.5, 0.2: 9, 0.5: 1, 1.0: 9}, 1),  # a good rate beyond a bad one is not counted
        ({0.1: np.inf, 0.2: np.inf}, 0),
    ],
)
def test_good_rates_are_neighbours_within_twice_the_best_loss(losses, factor):
    width = statistics.good_range(tuning(losses))
    assert (width.estimate, width.low, width.high) == pytest.approx((factor,) * 3)


def test_the_suite_is_the_documented_one(capsys):
    assert set(SUITE) == {
        "setting-1", "setting-2", "setting-3", "sphere", "depth-2", "depth-8", "dim-20", "softmax"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (Bench(seeds=0), "--seeds is 0; it must be at least 1."),
        (Bench(settings=("setting-9",)), "There is no setting 'setting-9' in the suite; there are"),
        (Bench(("sdgm",)), "There is no optimizer 'sdgm'; there are sgd, "),
    ],
)
def test_mistakes_are_answered_before_anything_runs(options, sentence, tmp_path):
    with pytest.raises(UsageError, match=sentence):
        bench(options)


OWN = """
import optax

def mine(rate):
    return optax.sgd(rate)

def broken(rate):
    raise ValueError("no luck")
"""


def test_one_that_fails_stops_no_other_and_runs_are_found_again(tmp_path, capsys):
    file = tmp_path / "own.py"
    file.write_text(OWN)
    options = Bench(
        (f"{file}:mine", f"{file}:broken"),
        settings=("setting-1",),
        seeds=2,
        steps=40,
        out=tmp_path / "out",
    )
    sentence = r"broken was left out: The optimizer broken failed: ValueError: no luck \(.*line 8\)"
    with pytest.raises(UsageError, match=sentence):
        bench(options)
    printed = capsys.readouterr().out
    assert (
        printed.count("running") == 7
    )  # three searches and their reports, and the search that failed
    frame = pd.read_csv(tmp_path / "out" / "bench.csv")
    report = frame[frame["phase"] == "report"]
    assert sorted(report["optimizer"].unique()) == ["adam", "mine", "sgdm"]
    assert len(report) == 6
    # Steps to a baseline's loss at the budget: the baseline itself gets there within it.
    own = report[report["optimizer"] == "sgdm"]
    assert (own["steps_to_sgdm"] <= 40).all()
    landscape = pd.read_csv(tmp_path / "out" / "bench-landscape.csv")
    adam = landscape[landscape["optimizer"] == "adam"]
    assert adam[["condition_number", "sharpness", "preconditioned_sharpness"]].notna().any().all()
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "Bench: mine, broken against SGDM and Adam" in page
    assert "broken was left out" in page
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "runs").iterdir()}
    with pytest.raises(UsageError, match="broken"):
        bench(options)
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "runs").iterdir()}


def test_the_command_line_makes_the_same_bench_again():
    options = Bench(("a.py:b",), settings=("sphere", "setting-1"), all=True)
    words = "attnscape bench a.py:b --all --settings sphere setting-1"
    assert command_line(options, *options.optimizers) == words

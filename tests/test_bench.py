"""The bench: numbers whose answers are known, and one run of the whole."""

import dataclasses
import io
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rich.console import Console

from attnscape.bench import SUITE, statistics, tables
from attnscape.bench import Bench as BenchArtifact
from attnscape.bench import rank as rank_from_python
from attnscape.bench.words import interval_in_words, speed_up_in_words
from attnscape.cli._options import Bench, Reproduce
from attnscape.cli.commands._again import command_line
from attnscape.cli.commands.bench import narrow_tables
from attnscape.cli.commands.bench import run as bench
from attnscape.errors import UsageError
from attnscape.optimizers.references import resolve
from attnscape.statistics import median
from attnscape.workflows.cost import Cost
from attnscape.workflows.members import Budget, Members

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


def test_speed_ups_are_zero_where_the_target_is_not_reached():
    baseline = np.array([100.0, 100, 100, np.inf, 0])
    ratios = statistics.speed_ups(baseline, np.array([50.0, np.inf, 0, 50, 50]))
    assert ratios.tolist() == [2, 0, 100]


@pytest.mark.parametrize(
    ("ratios", "words"),
    [
        ([0] * 6, "not reached (6 of 6)"),
        ([0, 0, 0, 1.5, 2, 3], "not reached (3 of 6)"),
        ([0, 1.5, 2], "1.5 (n = 3, not reached: 1)"),
        ([], "no target"),
        ([2.0] * 4, "2 (n = 4)"),
    ],
)
def test_targets_that_are_not_reached_are_said_to_be_so(ratios, words):
    assert speed_up_in_words(np.array(ratios, float)) == words


def test_an_interval_that_reaches_to_runs_without_the_target_says_so():
    words = speed_up_in_words(np.array([0, 1, 1, 1, 2, 2, 3], float))
    assert words == "1 [not reached, 3] (n = 7, not reached: 1)"


@pytest.mark.parametrize("n", [2, 4])
def test_below_five_seeds_there_is_no_interval(n):
    assert interval_in_words(median(np.arange(1.0, n + 1)), n) == f"{(n + 1) / 2:g} (n = {n})"


def test_n_stands_beside_every_interval():
    words = interval_in_words(median(np.arange(1.0, 8)), 7)
    assert words == "4 [1, 7] (n = 7)"


def test_divergence_counts_as_the_worst_result_in_ratios():
    inf = np.inf
    losses = np.array([[1.0, inf, 2, inf, inf], [2.0, 1, 2, inf, 8]])
    baseline = np.array([[2.0, 1, inf, 1, inf], [4.0, 1, 2, inf, 2]])
    ratios = statistics.loss_ratios(losses, baseline)
    assert ratios.tolist() == pytest.approx([0.5, inf, 0, inf, 4])


def ranking(losses):
    """The ranking of sgdm, adam and mine on a setting, by their losses of each seed."""
    rows = [
        {"setting": "setting-1", "optimizer": optimizer, "phase": "report", "seed": s, "loss": loss}
        for optimizer, of_seeds in losses.items()
        for s, loss in enumerate(of_seeds)
    ]
    artifact = artifact_of(dict.fromkeys(losses, ()), marked=("mine",))
    analysis = artifact.ranked({}, pd.DataFrame(rows))
    return tables.ranking(artifact.lineup, analysis.losses, analysis.ranks).set_index("optimizer")


def artifact_of(entries, marked=()):
    settings = (SUITE["setting-1"],)
    return BenchArtifact("bench", "", "", settings, entries=entries, marked=marked)


def test_ratios_of_survivors_are_shown_apart_and_said_to_be_that():
    six = [1.0] * 6
    table = ranking({"sgdm": six, "adam": six, "mine": [0.1] * 2 + [np.inf] * 4})
    assert table.loc["mine *", "loss / sgdm"].startswith("diverged")
    assert table.loc["mine *", "loss / sgdm, survivors"] == "0.1 (n = 2)"
    assert table.loc["mine *", "runs that diverged"] == "4 of 6"
    whole = ranking({"sgdm": six, "adam": six, "mine": [0.1] * 6})
    assert list(whole) == ["mean rank", "loss / sgdm", "loss / adam", "runs that diverged"]


def test_a_table_fits_into_80_columns_and_nothing_is_cut():
    cell = "0.000123 [0.000045, 1.23e+04] (n = 24)"
    names = ["setting", "optimizer", "rate", "loss at the budget", "speed-up over sgdm"]
    row = ["setting-1", "schedule-free-adamw *", "0.0002 (edge)", cell, "not reached (13 of 24)"]
    frame = pd.DataFrame([[*row, cell]], columns=[*names, "speed-up over adam"])
    console = Console(width=80, record=True, file=io.StringIO())
    for table in narrow_tables("Report runs by setting", frame):
        console.print(table)
    printed = console.export_text()
    assert max(map(len, printed.splitlines())) <= 80
    assert "\N{HORIZONTAL ELLIPSIS}" not in printed
    squeezed = "".join(printed.split())
    for number in ("0.000123", "[0.000045,", "1.23e+04]", "0.0002", "(n=24)"):
        assert number in squeezed
    for word in " ".join(frame.columns[1:]).split():
        assert word in printed


@given(LOSSES)
def test_mean_ranks_add_up_and_lie_inside_their_intervals(losses):
    ranks = statistics.mean_ranks(losses)
    assert sum(rank.estimate for rank in ranks) == pytest.approx(4 * 5 / 2)
    for rank in ranks:
        assert 1 <= rank.estimate <= 4
        assert rank.low <= rank.estimate <= rank.high


def test_the_best_everywhere_has_rank_one_and_diverged_runs_share_the_last():
    losses = np.array([[[1.0] * 5, [2.0] * 5, [np.inf] * 5, [np.inf] * 5]] * 2)
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
    """A table of six seeds that agree."""
    return pd.DataFrame(
        [
            {"learning_rate": rate, "seed": seed, "loss": loss}
            for rate, loss in losses.items()
            for seed in range(6)
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


def test_a_rate_at_which_any_tuning_run_diverged_is_no_good_rate():
    table = tuning({0.1: 1.0, 0.2: 1.0, 0.5: 1.0})
    table.loc[(table["learning_rate"] == 0.5) & (table["seed"] == 2), "loss"] = np.inf
    assert statistics.good_range(table).estimate == 2


def test_the_suite_is_the_documented_one(attnscape, capsys):
    with pytest.raises(SystemExit):
        attnscape("bench", "--help")
    words = " ".join(capsys.readouterr().out.replace("\N{BOX DRAWINGS LIGHT VERTICAL}", "").split())
    documented = words.partition("[SETTING ...] Of ")[2].partition("; or `all`")[0]
    assert documented.split(", ") == list(SUITE)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (Bench(seeds=0), "--seeds is 0; it must be at least 1."),
        (Bench(settings=("setting-9",)), "There is no setting 'setting-9' in the suite; there are"),
        (Bench(remove=("lion",)), "'lion' is not in the bench; there are none but the baselines."),
        (Bench(remove=("adam",)), "adam is what all others are compared with; it stays."),
        (Bench(("sdgm",)), "There is no optimizer 'sdgm'; there are sgd, "),
    ],
)
def test_mistakes_are_answered_before_anything_runs(options, sentence, tmp_path):
    with pytest.raises(UsageError, match=sentence):
        bench(dataclasses.replace(options, out=tmp_path))


OWN = """
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

def mine(rate):
    return optax.sgd(rate)

def late(rate):
    # Can be used, and raises after 20 updates.
    def luck(gradient, updates):
        if updates.max() >= 20:
            raise ValueError("no luck")
        return gradient

    def update(gradient, updates, parameters=None):
        call = lambda g: jax.pure_callback(luck, g, g, updates, vmap_method="expand_dims")
        return jax.tree.map(call, gradient), updates + 1

    return optax.GradientTransformation(lambda parameters: jnp.zeros((), int), update)

class Pair(NamedTuple):
    init: Callable
    update: Callable

def keep(gradient, state, parameters=None):
    return gradient, state

def pair(rate):
    return Pair(lambda parameters: (), keep)

def raises(rate):
    def update(gradient, state, parameters=None):
        raise ValueError("no luck")

    return optax.GradientTransformation(lambda parameters: (), update)

def leaves(rate):
    return optax.GradientTransformation(
        lambda parameters: (), lambda gradient, state, parameters=None: (gradient.P, state)
    )

def tuned(rate, size=1.0):
    return optax.sgd(rate) if size == 1.0 else pair(rate)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the bench of `mine` and `late` was made, and the file that defines them."""
    folder = tmp_path_factory.mktemp("bench")
    (folder / "own.py").write_text(OWN)
    with pytest.raises(UsageError, match=r"late was left out: .*ValueError: no luck"):
        bench(of(folder, "mine", "late", settings=("setting-1",), seeds=2, steps=40))
    return folder


def of(folder, *names, **options):
    references = tuple(f"{folder / 'own.py'}:{name}" for name in names)
    return Bench(references, out=folder / "out", **options)


BROKEN = {
    "pair": "The factory of pair gave Pair .* must give an optax.GradientTransformation",
    "raises": "The optimizer raises failed: ValueError: no luck .*own.py, line",
    "leaves": "The optimizer leaves gives updates of another form than the parameters",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_one_is_refused_before_any_baseline_runs(name, tmp_path, capsys):
    (tmp_path / "own.py").write_text(OWN)
    with pytest.raises(UsageError, match=BROKEN[name]):
        bench(of(tmp_path, "mine", name, seeds=1, steps=2))
    assert list((tmp_path / "out").rglob("*")) == []
    assert capsys.readouterr().out == ""
    factories = resolve([f"{tmp_path / 'own.py'}:{each}" for each in ("mine", name)])
    with pytest.raises(UsageError, match=BROKEN[name]):
        rank_from_python(factories, seeds=1, steps=2, runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_value_that_breaks_one_is_refused_before_any_baseline_runs(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    tune = (f"{tmp_path / 'own.py'}:tuned.size=1.0,2.0",)
    with pytest.raises(UsageError, match=r"The factory of tuned\+size gave Pair"):
        bench(of(tmp_path, "mine", tune=tune, settings=("setting-1",), seeds=1, steps=2))
    assert list((tmp_path / "out").rglob("*")) == []


def test_one_of_pytorch_that_cannot_step_is_refused_before_any_baseline_runs(tmp_path):
    pytest.importorskip("torch")
    (tmp_path / "own.py").write_text(
        "import torch\n\nclass Stuck(torch.optim.SGD):\n"
        "    def step(self, closure=None):\n        raise ValueError('no luck')\n"
    )
    reference = f"torch:{tmp_path / 'own.py'}:Stuck"
    options = Bench((reference,), settings=("setting-1",), out=tmp_path / "out", seeds=1, steps=2)
    with pytest.raises(UsageError, match=r"torch\.Stuck failed: ValueError: no luck"):
        bench(options)
    assert list((tmp_path / "out").rglob("*")) == []


def shown(folder):
    """Labels of the optimizers in the CSV, and the text of the page."""
    frame = pd.read_csv(folder / "out" / "bench.csv")
    page = (folder / "out" / "report.html").read_text("utf-8")
    return sorted(frame["optimizer"].unique()), page


def test_one_that_fails_stops_no_other_and_runs_are_found_again(folder, capsys):
    frame = pd.read_csv(folder / "out" / "bench.csv")
    report = frame[frame["phase"] == "report"]
    assert sorted(report["optimizer"].unique()) == ["adam", "mine", "sgdm"]
    assert len(report) == 6
    # Steps to a baseline's loss at the budget: the baseline itself gets there within it.
    own = report[report["optimizer"] == "sgdm"]
    assert (own["steps_to_sgdm"] <= 40).all()
    landscape = pd.read_csv(folder / "out" / "bench-landscape.csv")
    adam = landscape[landscape["optimizer"] == "adam"]
    assert adam[["condition_number", "sharpness"]].notna().any().all()
    # Before the first update there is no preconditioner.
    assert adam.loc[adam["step"] == 0, "preconditioned_sharpness"].isnull().all()
    _, page = shown(folder)
    assert "Bench: mine against SGDM and Adam" in page
    assert "late was left out" in page
    before = {path: path.stat().st_mtime_ns for path in (folder / "out" / "runs").iterdir()}
    with pytest.raises(UsageError, match="late was left out"):
        bench(of(folder, "mine", "late"))
    assert "running setting-1-mine" not in capsys.readouterr().out
    assert before == {p: p.stat().st_mtime_ns for p in (folder / "out" / "runs").iterdir()}


def test_the_bench_grows_call_by_call_and_one_can_be_taken_out(folder, attnscape, capsys):
    # Without options a call has the budget and the settings of the folder's bench.
    attnscape("bench", "sgd", "--out", folder / "out")
    assert shown(folder)[0] == ["adam", "mine", "sgd", "sgdm"]
    command = json.loads((folder / "out" / "bench.json").read_text())["command"]
    assert (
        f"bench {folder / 'own.py'}:mine sgd --settings setting-1 --seeds 2 --steps 40" in command
    )
    said = attnscape("bench", "--remove", "sgd", "--out", folder / "out")
    assert "running" not in said
    assert shown(folder)[0] == ["adam", "mine", "sgdm"]
    with pytest.raises(UsageError, match="'sgd' is not in the bench; there is mine"):
        bench(Bench(remove=("sgd",), out=folder / "out"))


def test_one_whose_file_changed_or_vanished_stays_as_it_was_run_and_is_marked(folder, attnscape):
    before = pd.read_csv(folder / "out" / "bench.csv")
    source = folder / "own.py"
    try:
        source.write_text(OWN.replace("optax.sgd(rate)", "optax.sgd(2 * rate)"))
        said = attnscape("bench", "--out", folder / "out")
        assert "running" not in said
        assert f"mine * is shown as it was run: {source}:mine would give other numbers" in said
        source.unlink()
        said = attnscape("bench", "--out", folder / "out")
        assert "mine * is shown as it was run" in said
        assert "cannot be loaded any more (There is no file" in said
    finally:
        source.write_text(OWN)
    pd.testing.assert_frame_equal(pd.read_csv(folder / "out" / "bench.csv"), before)
    assert "mine * is shown as it was run" in shown(folder)[1]


def test_one_without_the_runs_to_compare_is_left_out_with_a_sentence(folder, attnscape):
    kept = Members.read(folder / "out")
    (mine,) = (m for m in kept.members if m.label == "mine")
    longer = dataclasses.replace(mine, label="longer", budget=Budget(2, 50, "code"))
    files = {"setting-1": dataclasses.replace(mine.entries["setting-1"], report="runs/gone.nc")}
    lost = dataclasses.replace(mine, label="lost", entries=files)
    elsewhere = dataclasses.replace(mine, label="elsewhere", entries={})
    try:
        more = dataclasses.replace(kept, members=(*kept.members, longer, lost, elsewhere))
        more.save(folder / "out")
        said = attnscape("bench", "--out", folder / "out")
    finally:
        kept.save(folder / "out")
    assert "longer is left out: it was run with 2 seeds and 50 steps by the recipe code" in said
    assert "lost is left out: it has lost its runs (runs/gone.nc)" in said
    assert "elsewhere is left out: it was not run on setting-1" in said
    assert shown(folder)[0] == ["adam", "mine", "sgdm"]


def test_a_damaged_list_of_members_is_not_taken_for_an_empty_one(tmp_path):
    (tmp_path / "bench-optimizers.json").write_text("{}")
    with pytest.raises(UsageError, match=r"cannot be read .*; delete it to begin a new bench"):
        bench(Bench(out=tmp_path))


def test_what_takes_long_says_how_long_first_and_then_how_far_it_is():
    now, said = [0.0], []
    cost = Cost(said.append, lambda: now[0])
    for seconds, done in [
        (0, 0),
        (30, 10),
        (30.5, 20),
        (32, 60),
        (40, 200),
        (102, 1460),
        (163, 1521),
        (170, 2000),
    ]:
        now[0] = seconds
        cost(done, 2000)
    assert said == [
        "takes about 1 min 53 s, at 18 run-steps a second",
        "is at 73 %, about 27 s left",
        "is at 76 %, about 7 min 59 s left",  # the last minute's speed
    ]


def test_what_is_compiled_between_the_first_steps_is_not_taken_for_their_speed():
    now, said = [0.0], []
    cost = Cost(said.append, lambda: now[0])
    for seconds, done in [(0, 0), (10, 1), (40, 2), (42, 402), (44, 802)]:
        now[0] = seconds
        cost(done, 20_002)
    assert said == ["takes about 2 min 10 s, at 200 run-steps a second"]


def test_what_is_soon_done_says_nothing():
    now, said = [0.0], []
    cost = Cost(said.append, lambda: now[0])
    for seconds, done in [(0, 0), (30, 10), (32, 1000), (34, 2000)]:
        now[0] = seconds
        cost(done, 2000)
    assert said == []


def test_the_command_line_makes_the_same_bench_again():
    options = Bench(("a.py:b",), settings=("sphere", "setting-1"), all=True)
    words = "attnscape bench a.py:b --all --settings sphere setting-1"
    assert command_line(options, *options.optimizers) == words


def test_the_command_line_of_one_extended_artifact_makes_no_others():
    options = Reproduce(extended=True, seeds=7)
    assert command_line(options, "rotation") == "attnscape reproduce rotation --seeds 7"
    assert command_line(options) == "attnscape reproduce --extended --seeds 7"

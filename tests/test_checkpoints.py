"""A training that was stopped is continued to the bits of one that never was."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import optax
import pytest

from attnscape import Experiment, LinearTransformer, RegressionTask, load, train
from attnscape.errors import UsageError
from attnscape.experiments import checkpoints, store
from attnscape.identity import Identity
from attnscape.measures import (
    Curvature,
    DirectionalSmoothness,
    EvaluationLoss,
    LargeBatchLoss,
    Parameters,
    TrainingLoss,
    at,
    every,
)
from attnscape.optimizers import NAMED, adam, sgdm
from attnscape.training import Status
from attnscape.training.checkpoints import UnusedCheckpointWarning
from attnscape.workflows.status import runs_in
from tests.checkpoint_support import SMALL, Recorder
from tests.support import PlainExternal, python

STEPS = 24
MEASURES = (
    EvaluationLoss(every(5)),
    EvaluationLoss(at(7), evaluations=1),
    TrainingLoss(every(4)),
    DirectionalSmoothness(at(0, 1, 2, 9, 23, 24)),  # makes the next step, and goes on from there
    LargeBatchLoss(at(16), batch=1000),
    Curvature(at(8)),
    Parameters(at(10, 24)),
)


def training(optimizers, **arguments):
    model = functools.partial(LinearTransformer.init, layers=1, dim=2)
    arguments = {"learning_rates": (0.01, 1e30), "seeds": (3, 5), "steps": STEPS} | arguments
    return functools.partial(
        train, RegressionTask(dim=2, context=3), model, optimizers, batch=8, measures=MEASURES,
        evaluation_batch=8, evaluation_seeds=(0, 1), **arguments,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("names", "precision"),
    [
        (("newton", "gauss-newton"), "float32"),  # compiled apart, in a third of the time for all
        (tuple(NAMED)[:-2], "float32"),
        (("adam", "sophia"), "float64"),
        pytest.param(("muon", "prodigy"), "float64", marks=pytest.mark.slow),
    ],
    ids=["second-order", "first-order", "float64", "other-float64"],
)
def test_every_named_optimizer_is_continued_bit_for_bit(names, precision):
    """At the large learning rate, many diverge on the way, and stay so."""
    large = 1e30 if precision == "float32" else 1e200
    run = training(names, precision=precision, seeds=(3,), learning_rates=(0.01, large))
    whole = run(checkpoints=(recorder := Recorder()))
    assert (whole["status"] == Status.finished).any()
    assert "newton" in names or (whole["status"] == Status.diverged).any()
    offered = {step: state for _, step, state in recorder.offered if "runs" in state}
    # The first update, an update of the smoothness, the border of a segment, and within one.
    assert {1, 2, 3, 10, 24} <= offered.keys()
    for step in (3, 10):
        assert run(checkpoints=Recorder({"seed-3": offered[step]})).identical(whole)


def test_every_step_can_be_the_last():
    run = training(["adam", "sophia"])
    whole = run(checkpoints=(recorder := Recorder()))
    assert run().identical(whole)
    assert {part for part, _, _ in recorder.offered} == {"seed-3", "seed-5"}
    of_seed = [state for part, _, state in recorder.offered if part == "seed-5"]
    assert [state["step"] for state in of_seed[:-1]] == sorted({s["step"] for s in of_seed[:-1]})
    for state in of_seed[::8]:
        assert run(checkpoints=Recorder({"seed-5": state})).identical(whole)


def test_a_finished_seed_is_not_trained_again(monkeypatch):
    run = training(["adam"])
    whole = run(checkpoints=(recorder := Recorder()))
    finished = {part: state for part, _, state in recorder.offered if "runs" not in state}
    assert finished.keys() == {"seed-3", "seed-5"}
    started, told = [], []
    from attnscape.training._engine import Engine

    start = Engine.start
    monkeypatch.setattr(Engine, "start", lambda e, seed: started.append(seed) or start(e, seed))
    kept = Recorder({"seed-3": finished["seed-3"]})
    again = run(checkpoints=kept, progress=lambda *both: told.append(both))
    assert again.identical(whole)
    assert set(started) == {5}
    assert told[0] == (0, 96)
    assert told[-1] == (96, 96)
    assert all(part == "seed-5" for part, _, _ in kept.offered)


def test_what_starts_from_saved_parameters_is_continued():
    start = training(["adam"])()["parameters"].sel(optimizer="adam", learning_rate=0.01, step=24)
    run = training(["sgdm"], start=start)
    whole = run(checkpoints=(recorder := Recorder()))
    (state,) = (s for part, step, s in recorder.offered if part == "seed-3" and step == 10)
    again = run(checkpoints=Recorder({"seed-3": state}))
    assert again.identical(whole)
    assert int(again["start_step"]) == 24


def keeps_a_key(rate):
    """An optimizer whose state has a random key, a mean in bfloat16 and a weak type."""

    def init(parameters):
        mean = jax.tree.map(lambda a: a.astype(jnp.bfloat16), parameters)
        return jax.random.key(1), mean, jnp.asarray(2.0) * jnp.ones((), int)

    def update(gradient, state, parameters=None):
        key, mean, weak = state
        key, now = jax.random.split(key)
        mean = jax.tree.map(lambda m, g: (m + g.astype(m.dtype)) / 2, mean, gradient)
        noise = jax.random.normal(now) * weak
        change = jax.tree.map(lambda m: -rate * (m.astype(jnp.float32) + noise), mean)
        return change, (key, mean, weak * 0.5)

    return optax.GradientTransformation(init, update)


def test_states_of_any_type_are_continued():
    run = training({"mine": keeps_a_key})
    whole = run(checkpoints=(recorder := Recorder()))
    for step in (2, 15):
        states = {part: state for part, at, state in recorder.offered if at == step}
        assert len(states) == 2
        assert run(checkpoints=Recorder(states)).identical(whole)


def test_without_kernels_a_training_is_continued_to_the_same_bits():
    """On the paths through XLA, which are fixed when a process starts."""
    python(
        """
from tests.checkpoint_support import SMALL, Recorder
whole = SMALL.run(checkpoints=(recorder := Recorder()))
assert whole.attrs["kernels"] == "xla"
under_way = [state for part, _, state in recorder.offered if part == "seed-1"][:-1]
state = under_way[3]
assert 0 < state["step"] < 400
assert SMALL.run(checkpoints=Recorder({"seed-1": state})).identical(whole)
""",
        ATTNSCAPE_KERNELS="off",
    )


class Stopped(BaseException):
    """As Ctrl-C."""


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    """The folder of SMALL, left in the middle of a seed, and the path of the result to be."""
    monkeypatch.setattr(checkpoints, "_SECONDS", 0.0)
    monkeypatch.setattr(checkpoints, "_TIMES", 1)
    monkeypatch.setattr("attnscape.training._engine.processors", lambda: 1)

    def progress(done, total):
        if done >= 0.6 * total:
            raise Stopped

    with pytest.raises(Stopped):
        store.load_or_run(SMALL, tmp_path, progress)
    return tmp_path / store.file_name(SMALL)


def test_the_measures_so_far_of_a_run_that_was_stopped(stopped):
    with pytest.raises(UsageError, match="There is no result file"):
        load(stopped)
    so_far = load(stopped, partial=True)
    whole = store.load_or_run(SMALL, stopped.parent)
    assert load(stopped, partial=True).identical(whole)
    assert set(so_far.data_vars) == set(whole.data_vars)
    assert so_far.indexes.keys() == whole.indexes.keys()
    for name in so_far.indexes:
        assert so_far.indexes[name].equals(whole.indexes[name])
    for name in ("loss", "directional_smoothness"):
        known = so_far[name].notnull()
        assert so_far[name].dims == whole[name].dims
        assert so_far[name].dtype == whole[name].dtype
        assert so_far[name].where(known).equals(whole[name].where(known))
        of_seed = known.sum(("optimizer", "learning_rate", "step")).values
        all_of_it = whole[name].notnull().sum(("optimizer", "learning_rate", "step")).values
        assert of_seed[0] == all_of_it[0]
        assert 0 < of_seed[1] < all_of_it[1]
        assert of_seed[2] == 0
    status = so_far["status"].sel(optimizer="adam", learning_rate=0.02).values
    assert status.tolist() == [Status.finished, Status.under_way, Status.not_run]
    assert "run_id" not in so_far.attrs
    assert so_far.attrs["partial_of"] == SMALL.run_id
    assert whole["status"].attrs["flags"] == "0 finished, 1 diverged, 2 not_run"


def test_there_is_nothing_so_far_of_what_was_never_run(tmp_path):
    for name in ("nowhere.nc", f"nowhere-{'0' * 16}.nc"):
        with pytest.raises(
            UsageError, match=r"neither a result file .* nor a checkpoint of it; `att"
        ):
            load(tmp_path / name, partial=True)


def test_the_checkpoints_of_another_training_are_not_used(stopped):
    """As if its identity did not tell it apart: the leaves do."""
    other = dataclasses.replace(SMALL, optimizers={"adam": sgdm, "sgdm": adam})
    mine = checkpoints.folder_of(stopped.parent, SMALL.run_id)
    kept = checkpoints.CheckpointFolder(
        stopped.parent, SMALL.run_id, read(mine)[0].head["attributes"]
    )
    with pytest.warns(UnusedCheckpointWarning, match=r"of seed 1 cannot be used \(the saved state"):
        result = other.run(checkpoints=Only(kept, "seed-1"))
    assert result.identical(other.run())


read = checkpoints.read_folder


class Only(Recorder):
    """Of other checkpoints, a part."""

    def __init__(self, kept, part):
        super().__init__({part: kept.read(part)})


def test_a_run_that_no_other_process_can_find_keeps_no_checkpoints(tmp_path, monkeypatch):
    given, result = [], SMALL.run()
    monkeypatch.setattr(Experiment, "run", lambda run, _, kept: given.append(kept) or result)
    identity = Identity({"own": 1}, reasons=("it depends on more than its code",))
    monkeypatch.setattr(Experiment, "identity", property(lambda run: identity))
    store.load_or_run(SMALL, tmp_path)
    assert given == [None]


def test_an_optimizer_that_cannot_be_saved_is_told_once_and_trained_on(tmp_path):
    run = training({"plain": PlainExternal()}, learning_rates=0.1)
    kept = checkpoints.CheckpointFolder(tmp_path, "0" * 64, {}, {"name": "mine"}, seconds=0.0)
    sentence = (
        r"^No checkpoint of mine can be written: the optimizer plain has no methods save and "
        r"restore; so the run starts again if it is stopped\.$"
    )
    with pytest.warns(UnusedCheckpointWarning, match=sentence) as said:
        result = run(checkpoints=kept)
    assert len(said) == 1
    assert result.identical(run())


def test_status_lists_what_was_stopped_and_what_is_finished(stopped, attnscape, monkeypatch):
    folder = stopped.parent
    (run,) = runs_in(folder)
    assert (run.state, run.name) == ("under way", stopped.stem)  # this process lives
    assert 700 <= run.done <= run.total == 1200
    assert run.seconds_left > 0
    monkeypatch.setattr("attnscape.files._started", lambda process: 1)
    assert [run.state for run in runs_in(folder)] == ["stopped"]
    shown = attnscape("status", "--out", folder)
    assert "1 stopped: the same command goes on from the checkpoints." in shown
    assert f"{run.done:,} of 1,200" in shown
    monkeypatch.setattr("attnscape.files._host", lambda: "0" * 8)
    assert "1 elsewhere: under way, or stopped, on another" in attnscape("status", "--out", folder)
    store.load_or_run(SMALL, folder)
    assert attnscape("status", "--out", folder).endswith("1 finished.\n")


def test_status_of_a_folder_without_runs_is_a_sentence(tmp_path, attnscape):
    with pytest.raises(SystemExit, match=r"holds no runs; choose another with --out, or train so"):
        attnscape("status", "--out", tmp_path)

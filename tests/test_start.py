"""Runs that start from saved parameters: go on as if never interrupted, and are told apart."""

import functools

import numpy as np
import pytest

from attnscape import Experiment, LinearTransformer, RegressionTask, save, train
from attnscape.errors import UsageError
from attnscape.experiments import store
from attnscape.experiments.saved import saved_parameters
from attnscape.measures import Parameters, TrainingLoss, every
from attnscape.optimizers import sgd
from attnscape.optimizers.references import resolve
from attnscape.training import Start

PARTS = (
    RegressionTask(dim=2, context=3),
    functools.partial(LinearTransformer.init, layers=1, dim=2),
)
RUN = {
    "batch": 8,
    "evaluation_batch": 8,
    "measures": (Parameters(every(3)), TrainingLoss(every(3))),
}


@pytest.fixture(scope="module")
def whole():
    return train(*PARTS, ["sgd"], 0.1, (0, 1), steps=6, **RUN)


def test_sgd_goes_on_as_if_never_interrupted(whole):
    saved = whole["parameters"].sel(optimizer="sgd", learning_rate=0.1, step=3)
    rest = train(*PARTS, ["sgd"], 0.1, (0, 1), steps=3, start=saved, **RUN)
    for name in ("parameters", "training_loss"):  # the same prompts, so the same bits
        np.testing.assert_array_equal(rest[name].values, whole[name].sel(step=[3, 6]).values)
    assert rest["start_step"] == 3
    again = rest["parameters"].sel(optimizer="sgd", learning_rate=0.1, step=0)
    assert Start.of(again).step == 3
    assert Start.of(rest["parameters"].sel(optimizer="sgd", learning_rate=0.1, step=3)).step == 6


def test_one_start_serves_all_seeds(whole):
    saved = whole["parameters"].sel(optimizer="sgd", learning_rate=0.1, step=3, seed=1)
    runs = train(*PARTS, ["sgd"], 0.1, (0, 7), steps=3, start=saved.values, **RUN)["parameters"]
    first = runs.sel(step=0).squeeze(drop=True)
    np.testing.assert_array_equal(first.values, [saved.values] * 2)
    assert not np.array_equal(*runs.sel(step=3).squeeze(drop=True).values)


def test_a_run_that_diverges_says_so_in_its_own_steps():
    start = np.full(8, 1e30, np.float32)
    parts = {**RUN, "start": Start(start[None], step=5)}
    assert train(*PARTS, ["sgd"], 0.1, (0,), steps=3, **parts)["diverged_at"].item() == 0


@pytest.mark.parametrize(
    ("start", "sentence"),
    [
        (np.zeros(5), "start has 5 parameters, and the model has 8."),
        (np.full(8, np.nan), "start has numbers that are not finite"),
        (np.zeros((2, 8)), r"start has the shape \(2, 8\); give one vector"),
        (Start(np.zeros((1, 8)), (3,)), "start has no parameters of seed 0; it has those of 3"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_what_is_no_start_is_refused(start, sentence):
    with pytest.raises(UsageError, match=sentence):
        train(*PARTS, ["sgd"], 0.1, (0,), steps=1, start=start, **RUN)


def test_the_identity_has_the_start_by_its_content():
    def run_id(start, seeds=(0,)):
        parts = {**RUN, "start": start}
        return Experiment("x", *PARTS, {"sgd": sgd}, {"sgd": (0.1,)}, seeds, 3, **parts).run_id

    ones, rows = np.ones(8), np.stack([np.ones(8), np.zeros(8)])
    assert run_id(None) != run_id(Start.of(ones)) == run_id(Start.of(ones.astype("float32")))
    assert run_id(Start.of(2 * ones)) != run_id(Start.of(ones))
    assert run_id(Start(ones[None], step=3)) != run_id(Start.of(ones))
    assert run_id(Start(rows, (0, 1))) == run_id(Start.of(ones))  # seed 1 is not run
    assert run_id(Start(rows, (0, 1)), (0, 1)) != run_id(Start.of(ones), (0, 1))


def test_the_command_line_saves_and_starts(attnscape, tmp_path):
    tiny = (
        *("train", "--dim", 2, "--context", 3, "--layers", 1, "--seeds", 2, "--steps", 4),
        *("--batch", 8, "--evaluation-batch", 8, "--out", tmp_path),
    )
    shown = attnscape(*tiny, "--optimizers", "sgd", "sgdm", "--measure", "parameters:every=2")
    path = shown.splitlines()[-1]
    with pytest.raises(UsageError, match="several: optimizer sgd, sgdm; choose one"):
        saved_parameters(path)
    with pytest.raises(UsageError, match="holds no parameters of step 3; it has 0, 2, 4"):
        saved_parameters(f"{path}:optimizer=sgd,step=3")
    saved = saved_parameters(f"{path}:optimizer=sgd,step=2")
    assert saved.dims == ("seed", "parameter")
    options = ("--optimizers", "sgd", "--measure", "parameters:at=0", "--start")
    shown = attnscape(*tiny, *options, f"{path}:optimizer=sgd,step=2")
    found = store.load(shown.splitlines()[-1])["parameters"].sel(step=0).squeeze(drop=True)
    np.testing.assert_array_equal(found.values, saved.values)


def test_labels_with_signs_of_their_own_are_chosen(tmp_path):
    labels = ["adam@cosine:warmup=2,end=0.1", "adam@cosine:warmup=2,end=0.1,weight_decay=0.1"]
    path = tmp_path / "run:seed=7.nc"
    result = train(*PARTS, resolve(labels), 0.1, (0, 1), steps=6, **RUN)
    save(result, path)
    for label in labels:
        expected = result["parameters"].sel(optimizer=label, learning_rate=0.1)
        for choice in (f"step=3,optimizer={label},seed=1", f"optimizer={label},seed=1,step=3"):
            found = saved_parameters(f"{path}:{choice}")
            np.testing.assert_array_equal(found.values, expected.sel(seed=1, step=3).values)
        last = saved_parameters(f"{path}:optimizer={label}")
        np.testing.assert_array_equal(last.values, expected.sel(step=6).values)
    with pytest.raises(UsageError, match="cannot be read at 'optimizer="):
        saved_parameters(f"{path}:optimizer=sgd,optimizer=adam")
    with pytest.raises(UsageError, match="no parameters of optimizer adam@cosine:warmup=2; it has"):
        saved_parameters(f"{path}:optimizer=adam@cosine:warmup=2")

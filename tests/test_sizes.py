"""What no machine could hold is refused before anything is allocated."""

import functools
import re

import pytest

from attnscape import LinearTransformer, RegressionTask, train
from attnscape.errors import UsageError
from attnscape.measures import Curvature, EvaluationLoss, TopEigenvectors, every
from attnscape.optimizers import sgdm
from attnscape.tasks import Huber, Sphere, WithLoss
from attnscape.training import sizes
from support import needs_kernels

MODEL = functools.partial(LinearTransformer.init, layers=1, dim=3)
WIDE = functools.partial(LinearTransformer.init, layers=3, dim=300)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"batch": 10**9},
            "batch of 1000000000 prompts would take .* GB of memory, .* GB with all else, and this",
        ),
        ({"batch": 10**12}, "batch is 1000000000000; it must be at most 2147483647"),
        ({"evaluation_batch": 10**9}, "evaluation batches of 1000000000 prompts would take"),
        ({"seeds": range(10**12)}, "record of what is measured would take .* TB of memory"),
        ({"seeds": range(10**30)}, "seeds are more than can be counted; give fewer"),
        ({"steps": 10**12}, "steps is 1000000000000; it must be at most 2147483647"),
        (
            {"steps": 2 * 10**9, "measures": (EvaluationLoss(every(1)),)},
            "list of steps at which .*; measure at fewer",
        ),
        ({"steps": 2 * 10**9, "batch": 10**6, "measures": ()}, "would take about .* years; give"),
        (
            {"task": RegressionTask(dim=300), "model": WIDE, "measures": (Curvature(),)},
            "Hessian of 540000 parameters would take .* TB of memory",
        ),
        (
            {"task": RegressionTask(dim=3, context=10**8, covariates=Sphere(), noise=0.1)},
            "batch of 1000 prompts would",
        ),
    ],
)
def test_what_no_machine_holds_is_refused_before_it_is_allocated(changes, sentence, unchecked):
    arguments = {
        "task": RegressionTask(dim=3, context=7), "model": MODEL, "optimizers": {"sgdm": sgdm},
        "learning_rates": 0.1, "seeds": (0,), "steps": 1,
    } | changes  # fmt: skip
    with pytest.raises(UsageError, match=sentence):
        train(**arguments)


def test_sizes_are_those_of_the_arrays():
    def estimated(measures, precision):
        return sizes.estimate(
            RegressionTask(dim=3, context=7), MODEL, runs=2, seeds=range(5), steps=100, batch=1000,
            measures=measures, precision=precision,
        )  # fmt: skip

    of_float32, of_float64 = (estimated((Curvature(),), p) for p in ("float32", "float64"))
    assert of_float32.memory["The Hessian of 18 parameters"] == 2 * 8 * 18**2
    gram = 1000 * 3 * 3  # the largest of the moments
    assert of_float64.memory["A batch of 1000 prompts"] >= 8 * gram
    assert of_float32.memory["A batch of 1000 prompts"] >= 4 * gram


def test_vectors_are_counted_with_all_their_entries():
    few, many = (
        sizes.estimate(
            RegressionTask(dim=3, context=7), MODEL, runs=1, seeds=range(1), steps=100,
            measures=(TopEigenvectors(every(10), count=count),),
        ).memory["The record of what is measured"]
        for count in (1, 3)
    )  # fmt: skip
    numbers = 18 + 1 + 1  # a vector, its eigenvalue, its participation ratio; shares by block more
    assert many - few >= 2 * 4 * numbers * 11


def test_a_training_of_usual_size_is_estimated_in_seconds():
    setting = sizes.estimate(
        RegressionTask(), functools.partial(LinearTransformer.init, layers=3, dim=5), runs=2,
        seeds=range(6), steps=10_000, batch=1000,
    )  # fmt: skip
    assert 3 < setting.seconds < 300
    assert setting.checked() is setting


@needs_kernels
def test_what_has_no_kernel_is_estimated_to_take_longer():
    model = functools.partial(LinearTransformer.init, layers=3, dim=5)
    squared, huber = (
        sizes.estimate(task, model, runs=4, seeds=(0,), steps=1000).seconds
        for task in (RegressionTask(), WithLoss(RegressionTask(), Huber()))
    )
    # Measured on two cores: 0.4 ms a step by kernels, 54 ms in XLA.
    assert 5 < huber / squared < 500


def test_seeds_at_once_take_at_most_a_quarter_of_the_memory():
    setting = sizes.Sizes({"A batch": 10, "The record": 15}, seconds=1.0)
    assert [setting.seeds_at_once(sizes.PROCESS + more) for more in (10, 199, 200, 1000)] == [
        1,
        1,
        2,
        10,
    ]


@pytest.mark.parametrize(
    ("seconds", "words"), [(1.5, "1.5 seconds"), (7200.0, "2 hours"), (1e9, "31.7 years")]
)
def test_times_are_told_in_words(seconds, words):
    assert sizes.in_words(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"), [(12, "12 bytes"), (3.2e9, "3.2 GB"), (1e15, "1e+03 TB")]
)
def test_memory_is_told_in_words(count, words):
    assert sizes.in_bytes(int(count)) == words


def test_parts_that_fit_alone_are_refused_if_they_do_not_fit_together():
    setting = sizes.Sizes({"A batch": 300, "The record of what is measured": 400}, seconds=1.0)
    assert setting.needed == sizes.PROCESS + 700
    assert setting.checked(sizes.PROCESS + 700) is setting
    sentence = (
        "The record of what is measured would take 400 bytes of memory, 400 MB with all else, and "
        "this machine has 400 MB; measure fewer numbers or steps, or give fewer runs."
    )
    with pytest.raises(UsageError, match=re.escape(sentence)):
        setting.checked(sizes.PROCESS + 699)


@pytest.mark.parametrize(("limit", "expected"), [("1000000", 1_000_000), ("max", None)])
def test_the_limit_of_any_group_that_the_process_is_in_counts(
    tmp_path, monkeypatch, limit, expected
):
    whole = sizes.available_memory()
    monkeypatch.setattr(sizes, "_GROUPS", tmp_path)
    monkeypatch.setattr(sizes, "_limits_of_groups", lambda: [tmp_path / "no", tmp_path / "outer"])
    (tmp_path / "outer").write_text(f"{limit}\n")
    assert sizes.available_memory() == (expected or whole)

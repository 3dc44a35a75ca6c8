"""Measures by name and of one's own: written as texts, and checked against their contract."""

import functools
import re

import numpy as np
import pytest

from attnscape import LinearTransformer, RegressionTask, measures, train
from attnscape.errors import UsageError
from attnscape.experiments import store
from attnscape.loading import load_object
from attnscape.measures import NAMED_MEASURES, Measure, Schedule, as_measure, at, every, get_measure
from attnscape.validation import check_measure

TINY = (
    *("--dim", 2, "--context", 3, "--layers", 1, "--seeds", 2),
    *("--steps", 6, "--batch", 8, "--evaluation-batch", 8, "--optimizers", "sgdm"),
)
OWN = """
import dataclasses

from attnscape.measures import Measure, Schedule, Variable, every


@dataclasses.dataclass(frozen=True)
class Entries(Measure):
    schedule: Schedule = every(3)
    power: float = 1.0
    limit: int | None = None
    tags: tuple[str, ...] = ()

    def __call__(self, iterate):
        return {"mean_power": (abs(iterate.model.P) ** self.power).mean()}

    def variables(self):
        return {"mean_power": Variable("mean power of P's entries")}


squares = Entries(power=2.0)


@dataclasses.dataclass
class Changeable(Measure):
    schedule: Schedule = every(3)
    __call__ = variables = None


@dataclasses.dataclass(frozen=True)
class Ambiguous(Entries):
    every: int = 3


@dataclasses.dataclass(frozen=True)
class Unfinished(Measure):
    schedule: Schedule = every(3)

    def __call__(self, iterate):
        return {}


@dataclasses.dataclass(frozen=True)
class Small(Entries):
    def __post_init__(self):
        if self.power > 2:
            raise ValueError("power must be small")


small = Small()


def function(iterate):
    return {}
"""


@pytest.fixture
def own(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    return f"{tmp_path}/own.py"


def test_every_measure_has_a_name():
    exported = {
        thing
        for thing in vars(measures).values()
        if isinstance(thing, type) and issubclass(thing, Measure) and thing is not Measure
    }
    assert set(NAMED_MEASURES.values()) == exported
    for name, kind in NAMED_MEASURES.items():
        assert get_measure(name) == kind()


def test_help_names_every_measure(attnscape, capsys):
    with pytest.raises(SystemExit):
        attnscape("train", "--help")
    shown = " ".join(capsys.readouterr().out.replace("│", "").split())
    assert f"Any of {', '.join(NAMED_MEASURES)}." in shown


def test_a_text_gives_schedule_and_fields():
    assert get_measure("curvature:every=250").schedule == every(250)
    assert get_measure("curvature:at=0,5,evaluations=2") == measures.Curvature(at(0, 5), 2)
    assert get_measure("loss:evaluations=none") == measures.EvaluationLoss()
    assert get_measure("smoothness:every=10,at=3,log_spaced=4").schedule == Schedule(10, (3,), 4)
    noise = get_measure("noise:samples=20,batch_sizes=10,100,reference=1000")
    assert noise == measures.GradientNoise(samples=20, batch_sizes=(10, 100), reference=1000)
    steps = get_measure("pseudo-smoothness:optimizers=adam,lion,clip=none")
    assert (steps.optimizers, steps.clip) == (("adam", "lion"), None)


def test_a_measure_of_ones_own_takes_fields(own):
    fields = "at=2,4,power=3,limit=7,tags=a,b"
    measure = get_measure(f"{own}:Entries:{fields}")
    assert (measure.schedule, measure.power, measure.limit) == (at(2, 4), 3.0, 7)
    assert measure.tags == ("a", "b")
    assert get_measure(f"{own}:squares:{fields}") == measure
    assert get_measure(f"{own}:squares").power == 2
    assert as_measure(type(measure)) == get_measure(f"{own}:Entries")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("curvatur", "There is no measure 'curvatur'; there are loss, .*"),
        ("curvatur:every=2", "There is no measure 'curvatur'; there are loss, .*"),
        ("noise:sampels=3", "noise has no field 'sampels'; it has samples, .* and log_spaced."),
        ("noise:schedule=3", "noise has no field 'schedule'; it has samples, .*"),
        ("noise:samples=many", "noise has samples=many; samples must be a whole number."),
        ("noise:samples=1,2", "noise has samples=1,2; samples must be a whole number."),
        ("loss:evaluations=x", ".*; evaluations must be a whole number or none."),
        ("noise:at", "'noise:at' cannot be read; write fields as key=value after the colon."),
        ("noise:at=1,at=2", "'noise:at=1,at=2' cannot be read at 'at=2'; write each field once.*"),
        ("noise:at=", "'noise:at=' cannot be read at 'at='; write each .*"),
        ("curvature:every=0", "The schedule is empty; give every, steps or log_spaced."),
        ("OWN:function", ".*function.* is no measure; it must be a frozen dataclass .*"),
        ("OWN:Changeable", ".*Changeable.* is no measure; it must be a frozen dataclass .*"),
        ("OWN:Ambiguous:every=3", ".* has a field every, a word that says when .*"),
        ("OWN:Unfinished", "Unfinished has no method variables; a measure has __call__ and .*"),
        ("OWN:Small:power=3", r"Small cannot be made \(ValueError: power must be small .*"),
        ("OWN:small:power=3", r"Small cannot be made \(ValueError: power must be small .*"),
        ("OWN:Entries:power=big", ".*:Entries has power=big; power must be a number."),
    ],
)
def test_a_text_that_cannot_be_read_gets_one_sentence(own, text, sentence):
    with pytest.raises(UsageError) as error:
        get_measure(text.replace("OWN", own))
    assert re.fullmatch(sentence, str(error.value))


def test_train_measures_and_says_where_the_numbers_are(attnscape, tmp_path, own):
    shown = attnscape(
        "train", *TINY, "--out", tmp_path, "--measure", "curvature:at=0,4", f"{own}:Entries:power=2"
    )
    *lines, path = shown.splitlines()
    said = "hessian_eigenvalues (step, eigenvalue): eigenvalues of the Hessian, at 2 steps from 0"
    assert f"{said} to 4" in lines
    assert "mean_power (step): mean power of P's entries, at 3 steps from 0 to 6" in lines
    result = store.load(path)
    assert list(result.step) == [0, 3, 4, 6]
    assert np.isfinite(result["hessian_eigenvalues"].sel(step=[0, 4])).all()
    assert np.isfinite(result["mean_power"].sel(step=[0, 3, 6])).all()
    assert "loss" in result


GOOD = """
import dataclasses

import jax
import jax.numpy as jnp

from attnscape import objective
from attnscape.measures import Measure, Schedule, Variable, every


class Plain(Measure):
    needs_training = needs_draw = needs_state = False

    def variables(self):
        return {"number": Variable("a number")}
"""
HEADER = """

@dataclasses.dataclass(frozen=True)
class Mine(Plain):
    schedule: Schedule = every(3)
"""
BROKEN = {
    "variables": (
        'def __call__(self, it): return {"seed": 1.0}\n'
        'def variables(self): return {"seed": Variable("seed")}',
        "uses the name seed, which every result has",
    ),
    "declared needs": (
        'def __call__(self, it): return {"number": objective.loss(it.model, it.training)}',
        "set needs_training = True",
    ),
    "numbers and shapes": (
        'def __call__(self, it): return {"nmber": jnp.zeros(())}',
        r"gives \['nmber'\], but its variables are \['number'\]",
    ),
    "numbers and shapes, dims": (
        'def __call__(self, it): return {"number": it.model.P}',
        r"gives number of shape \(2, 3, 3\), but its variable has the dims \(\)",
    ),
    "numbers and shapes, labels": (
        'def __call__(self, it): return {"number": jnp.zeros(3)}\n'
        'def variables(self): return {"number": Variable("number", ("part",))}\n'
        'def coordinates(self, model): return {"part": "ab"}',
        "gives number of length 3 along part, which has the length 2",
    ),
    "finite": (
        'def __call__(self, it): return {"number": jnp.log(-abs(it.model.P).max())}',
        "After 3 steps of Adam number is not finite",
    ),
    "jit and vmap": (
        # As a rounding that depends on how the function is called: wrong only under vmap.
        'def __call__(self, it): return {"number": wrong(it.model.P.sum())}',
        "Under jit and vmap over runs number is another number",
    ),
    "evaluation batch": (
        'def __call__(self, it): return {"number": objective.loss(it.model, it.evaluation)}',
        "number depends on the evaluation batch; say so",
    ),
    "numbers and shapes, python": (
        'def __call__(self, it): return {"number": float(it.model.P.sum())}',
        "cannot be compiled",
    ),
    "deterministic": (
        'def __call__(self, it): return {"number": it.model.P.sum() + next(count)}',
        "gives other numbers when it is called again",
    ),
}
HELPERS = """
import itertools

count = itertools.count()


@jax.custom_batching.custom_vmap
def wrong(x):
    return x


@wrong.def_vmap
def _(size, batched, x):
    return 2 * x, batched[0]

"""


def findings(check):
    return {result.check: result for result in check}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_contract_is_found_and_said(tmp_path, case):
    body, sentence = BROKEN[case]
    lines = "".join(f"    {line}\n" for line in body.split("\n"))
    (tmp_path / "broken.py").write_text(GOOD + HELPERS + HEADER + lines)
    results = check_measure(load_object(f"{tmp_path}/broken.py:Mine"))
    failed = [result for result in results if not result.ok]
    assert [result.check.split(",")[0] for result in failed] == [case.split(",")[0]]
    assert re.search(sentence, failed[0].sentence)


@pytest.mark.parametrize("name", ["loss", "training-loss", "smoothness", "curvature"])
def test_built_in_measures_keep_the_contract_and_need_what_they_declare(name):
    results = check_measure(NAMED_MEASURES[name])
    assert [result.sentence for result in results if not result.ok] == []
    assert results[-1].sentence == "It uses all that it declares to need."


def test_what_is_declared_and_not_used_is_said(own):
    results = check_measure(get_measure(f"{own}:Entries"))
    assert all(result.ok for result in results)
    flags = "needs_training = False and needs_draw = False and needs_state = False"
    assert flags in results[-1].sentence


def test_training_refuses_a_broken_measure_before_it_begins(tmp_path):
    (tmp_path / "broken.py").write_text(
        GOOD + HEADER + '    def __call__(self, it): return {"nmber": jnp.zeros(())}\n'
    )
    measure = get_measure(f"{tmp_path}/broken.py:Mine")
    with pytest.raises(UsageError, match=r"gives \['nmber'\], but .*broken.py, line"):
        train(
            RegressionTask(dim=2, context=3),
            functools.partial(LinearTransformer.init, layers=1, dim=2),
            *(["sgd"], 0.1, (0,)),
            steps=1,
            batch=4,
            measures=[measure],
            progress=lambda *_: pytest.fail("began"),
        )


def test_check_measure_takes_task_and_model(attnscape, tmp_path):
    (tmp_path / "own.py").write_text(
        GOOD
        + """
from attnscape import RegressionTask

task = RegressionTask(dim=2, context=3)
model = (lambda p, prompts: prompts.query @ p["w"], lambda key: {"w": jnp.ones(2)})
"""
        + HEADER
        + '    def __call__(self, it): return {"number": it.model.parameters["w"].sum()}\n'
    )
    own = f"{tmp_path}/own.py"
    shown = attnscape(
        "check", "measure", f"{own}:Mine", "--task", f"{own}:task", "--model", f"{own}:model"
    )
    assert "FAILS" not in shown
    with pytest.raises(SystemExit, match="--model says what a measure is checked on"):
        attnscape("check", "optimizer", f"{own}:Mine", "--model", f"{own}:model")

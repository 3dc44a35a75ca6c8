"""Measures by name and of one's own: written as texts, and checked against their contract."""

import re

import numpy as np
import pytest

from attnscape import measures
from attnscape.errors import UsageError
from attnscape.experiments import store
from attnscape.measures import NAMED_MEASURES, Measure, Schedule, as_measure, at, every, get_measure

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

"""Equal experiments have equal ids, different ones different ids."""

import dataclasses
import functools
import importlib
import json
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from attnscape import Experiment, LinearTransformer, RegressionTask, spec
from attnscape.errors import UsageError
from attnscape.measures import EvaluationLoss, every
from attnscape.optimizers import adam, sgdm
from attnscape.paper.artifacts import ARTIFACTS
from attnscape.paper.settings import FULL
from attnscape.tasks.covariates import Radial

BASE = Experiment(
    name="base",
    task=RegressionTask(dim=2, context=3),
    model=functools.partial(LinearTransformer.init, layers=2, dim=2),
    optimizers={"sgdm": sgdm, "adam": adam},
    learning_rates={"sgdm": (0.1,), "adam": (0.01,)},
    seeds=(0, 1),
    steps=10,
)
CHANGES = {
    "task": RegressionTask(dim=2, context=4),
    "model": functools.partial(LinearTransformer.init, layers=3, dim=2),
    "optimizers": {"sgdm": sgdm, "adam": sgdm},
    "learning_rates": {"sgdm": (0.1,), "adam": (0.02,)},
    "seeds": (0, 2),
    "steps": 11,
    "batch": 999,
    "clip": None,
    "measures": (EvaluationLoss(every(7)),),
    "evaluation_batch": 999,
    "evaluation_seeds": 1,
    "precision": "float64",
}
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def test_the_name_does_not_count():
    assert dataclasses.replace(BASE, name="other").run_id == BASE.run_id


def test_every_other_field_counts():
    ids = {f: dataclasses.replace(BASE, **{f: value}).run_id for f, value in CHANGES.items()}
    assert set(ids) == {field.name for field in dataclasses.fields(Experiment)} - {"name"}
    assert len({BASE.run_id, *ids.values()}) == 1 + len(ids)


def test_what_is_equal_in_python_has_one_id():
    same = dataclasses.replace(
        BASE,
        optimizers={"adam": adam, "sgdm": sgdm},
        seeds=[np.int64(0), 1],
        clip=1,
        task=RegressionTask(dim=2, context=3, noise=0),
    )
    assert same.run_id == BASE.run_id


@settings(deadline=None)
@given(json_values)
def test_canonical_text_round_trips(value):
    assert json.loads(spec.canonical(value)) == value


@settings(deadline=None)
@given(st.dictionaries(st.text(), st.integers()), st.randoms())
def test_canonical_text_does_not_depend_on_order(entries, random):
    shuffled = list(entries.items())
    random.shuffle(shuffled)
    assert spec.canonical(dict(shuffled)) == spec.canonical(entries)


FACTORY = """
import dataclasses
import functools

from attnscape import LinearTransformer

MOMENTUM = 0.9

def helper(rate):
    return -rate * MOMENTUM

def optimizer(rate, shift=1):
    return helper(rate) + shift

def closure(momentum):
    def optimizer(rate):
        return rate * momentum
    return optimizer

def decorated(function):
    @functools.wraps(function)
    def wrapper(rate):
        return 2 * function(rate)
    return wrapper

pair = (lambda rate: rate + 1), (lambda rate: rate + 2)

@dataclasses.dataclass(frozen=True)
class Law:
    scale: float = 1.0
    def __call__(self, rate):
        return helper(rate) * self.scale

class Model(LinearTransformer):
    def __call__(self, prompts):
        return 0 * prompts.target
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Imports a text as the module `users_own`."""

    def load(source):
        folder = tmp_path / str(hash(source))
        folder.mkdir()
        (folder / "users_own.py").write_text(source)
        with monkeypatch.context() as patch:
            patch.syspath_prepend(folder)
            sys.modules.pop("users_own", None)
            return importlib.import_module("users_own")

    yield load
    sys.modules.pop("users_own", None)


def id_of(value):
    return spec.digest(spec.describe(value))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("helper(rate) + shift", "helper(rate) - shift"),
        ("-rate * MOMENTUM", "+rate * MOMENTUM"),
        ("MOMENTUM = 0.9", "MOMENTUM = 0.8"),
        ("shift=1", "shift=2"),
    ],
    ids=["source", "function it calls", "global value", "default"],
)
def test_a_function_is_what_its_source_and_names_say(module, old, new):
    before = id_of(module(FACTORY).optimizer)
    assert id_of(module(FACTORY + "\nother = 1").optimizer) == before
    assert id_of(module(FACTORY.replace(old, new)).optimizer) != before


def test_functions_from_one_source_differ_by_what_they_close_over(module):
    users = module(FACTORY)
    assert id_of(users.closure(0.9)) == id_of(users.closure(0.9))
    assert id_of(users.closure(0.9)) != id_of(users.closure(0.5))
    assert id_of(users.decorated(users.helper)) != id_of(users.decorated(users.optimizer))
    assert id_of(users.decorated(users.helper)) != id_of(users.helper)
    assert id_of(users.pair[0]) != id_of(users.pair[1])


def test_a_class_is_what_its_methods_do(module):
    users = module(FACTORY)
    laws = [id_of(users.Law(2.0)), id_of(users.Law(3.0))]
    assert laws[0] == id_of(users.Law(2))
    laws.append(id_of(module(FACTORY.replace("* self.scale", "/ self.scale")).Law(2.0)))
    assert len(set(laws)) == 3


def test_a_model_is_not_the_one_it_inherits_from(module):
    models = [id_of(LinearTransformer.init), id_of(module(FACTORY).Model.init)]
    models.append(id_of(module(FACTORY.replace("0 * prompts", "1 * prompts")).Model.init))
    assert len(set(models)) == 3


def test_distributions_without_a_name_differ_by_their_quantiles():
    def observed(values):
        return Radial(stats.rv_histogram(np.histogram(values))())

    assert id_of(observed([1, 2, 4])) == id_of(observed([1, 2, 4]))
    assert id_of(observed([1, 2, 4])) != id_of(observed([1, 3, 4]))


@pytest.mark.parametrize("value", [{1, 2}, object(), 1j, eval("lambda rate: rate")])
def test_what_cannot_be_pinned_down_is_refused(value):
    with pytest.raises(UsageError, match=r"cannot be (part of an experiment|found).*; \w+.*\.$"):
        spec.describe(value)


def test_a_refusal_says_where_the_value_is_used():
    unknown = object()
    with pytest.raises(UsageError, match=r"<lambda> depends on unknown: .* cannot be part of"):
        dataclasses.replace(BASE, optimizers={"mine": lambda rate: unknown}).spec()


@pytest.mark.parametrize(
    ("artifact", "ids"),
    [
        ("fig2", ("cb9d1e67e60ac9bf", "d5c748419a0bdea3", "afa47920496166fd")),
        ("fig5", ("3fd607c428d1ac8e", "388f42751111a1ac", "c4f67a13ea21fdf0")),
    ],
)
def test_ids_of_the_main_runs_stay(artifact, ids):
    # A change of these ids orphans the results that users have: their runs are not found again.
    experiments = ARTIFACTS[artifact].experiments(FULL).values()
    assert tuple(experiment.run_id[:16] for experiment in experiments) == ids

"""Equal experiments have equal ids, different ones different ids."""

import dataclasses
import functools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnscape import Experiment, LinearTransformer, RegressionTask, spec
from attnscape.experiments.setting import FULL
from attnscape.measures import EvaluationLoss, every
from attnscape.optimizers import adam, sgdm
from attnscape.paper.settings import SETTING_1, SETTING_3
from attnscape.training import Start

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
    "start": Start.of(np.ones(16)),
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


def test_what_has_no_description_is_named():
    assert spec.describe({1, 2}) == {"name": "builtins.set"}
    assert spec.describe(lambda rate: rate)["name"].endswith("<lambda>")


@pytest.mark.parametrize(
    ("setting", "declared"),
    [
        (SETTING_1, "eee1657d716d3788"),
        (SETTING_3, "688aa67122d95376"),
    ],
    ids=["setting 1", "setting 3"],
)
def test_what_own_parts_declare_stays(setting, declared):
    # Another hash orphans the results that users have: their runs are not found again.
    content = setting.experiment(FULL).identity.content
    parts = {"task": content["task"]["own"], "model": content["model"]}
    assert spec.digest(parts)[:16] == declared

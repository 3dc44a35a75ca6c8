"""What is fixed when a part is loaded, and what is found again by whom."""

import functools
import subprocess
import sys
import textwrap
from pathlib import Path

import jax
import optax
import pytest

from attnscape import Experiment, LinearTransformer, RegressionTask, loading
from attnscape.errors import UsageError
from attnscape.experiments import store
from attnscape.measures import EvaluationLoss, every
from attnscape.models import as_model
from attnscape.objective import sees_moments_only
from attnscape.optimizers.references import get_optimizer


def experiment(factory, **changes):
    fields = {
        "name": "own",
        "task": RegressionTask(dim=2, context=3),
        "model": functools.partial(LinearTransformer.init, layers=1, dim=2),
        "optimizers": {"mine": factory},
        "learning_rates": {"mine": (0.1,)},
        "seeds": (0,),
        "steps": 2,
        "batch": 4,
        "measures": (EvaluationLoss(every(1)),),
        "evaluation_batch": 4,
    }
    return Experiment(**fields | changes)


def written(path, text):
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(textwrap.dedent(text))
    return path


SGD = """
    import optax

    def part(rate):
        from helper import FACTOR
        return optax.sgd(rate * FACTOR)
    """


@pytest.mark.parametrize("later", ["FACTOR = 5.0", ""], ids=["edited", "emptied"])
def test_a_file_that_changes_while_its_training_runs_does_not_count(tmp_path, later):
    file = written(tmp_path / "my.py", SGD)
    helper = written(tmp_path / "helper.py", "FACTOR = 2.0")
    before = experiment(get_optimizer(f"{file}:part"))
    run_id = experiment(get_optimizer(f"{file}:part")).run_id
    loading._rooms.rooms.clear()
    fresh = get_optimizer(f"{file}:part")  # loaded, and its helper not yet imported
    helper.write_text(later)
    file.write_text("")
    result = store.load_or_run(experiment(fresh), tmp_path / "out")
    assert result.attrs["run_id"] == run_id == before.run_id
    helper.write_text("FACTOR = 5.0")
    written(file, SGD)
    other = experiment(get_optimizer(f"{file}:part"))
    assert other.run_id != run_id
    assert store.find(other, tmp_path / "out") is None


def test_files_of_two_folders_have_helpers_of_their_own(tmp_path):
    texts = {"one": "FACTOR = 2.0", "two": "FACTOR = 3.0"}
    parts = []
    for folder, text in texts.items():
        written(tmp_path / folder / "helper.py", text)
        parts.append(get_optimizer(f"{written(tmp_path / folder / 'my.py', SGD)}:part"))
    ids = [experiment(part).run_id for part in parts]
    assert len({*ids, *(experiment(part).run_id for part in reversed(parts))}) == 2


def test_no_file_of_a_users_takes_the_place_of_an_installed_module(tmp_path):
    import trace

    text = "import random\nimport jax\npart = random.Random\n"
    assert (
        loading.load_object(f"{written(tmp_path / 'trace.py', text)}:part").__module__ == "random"
    )
    assert sys.modules["trace"] is trace
    assert "helper" not in sys.modules


def test_a_factory_with_a_state_is_traced_once_an_experiment_and_told_if_that_shows(tmp_path):
    calls = []

    def factory(rate):
        calls.append(None)
        return optax.sgd(rate * (len(calls) if shows else 1))

    shows = False
    mine = experiment(factory)
    first = store.load_or_run(mine, tmp_path)
    made = len(calls)
    assert store.load_or_run(mine, tmp_path).identical(first)
    assert len(calls) == made
    assert store.load_or_run(experiment(factory), tmp_path).identical(first)
    shows = True
    with pytest.raises(UsageError, match=r"mine gives other numbers when it is called again"):
        _ = experiment(factory).run_id


CALLBACK = """
import os
import jax
import numpy as np
import optax

def host(x):
    return np.asarray(x) * np.float32(os.environ.get("OWN_FACTOR", "1"))

def part(rate):
    def one(g):
        shape = jax.ShapeDtypeStruct(g.shape, g.dtype)
        return -rate * jax.pure_callback(host, shape, g, vmap_method="expand_dims")
    def update(grads, state, params=None):
        return jax.tree.map(one, grads), state
    return optax.GradientTransformation(lambda params: (), update)
"""
SCRIPT = """
import sys, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, {tests!r})
from test_identity import experiment
from attnscape.optimizers.references import get_optimizer
for file in sys.argv[1:]:
    print(experiment(get_optimizer(file + ":part")).run_id)
"""


def test_another_process_finds_what_can_be_pinned_down_and_nothing_else(tmp_path):
    sure = written(tmp_path / "sure.py", "import optax\npart = lambda rate: optax.lion(rate)")
    asking = written(tmp_path / "asking.py", CALLBACK)
    script = SCRIPT.format(tests=str(Path(__file__).parent))
    command = [sys.executable, "-c", script, sure, asking]
    one, other = (
        subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        for _ in range(2)
    )
    assert one[0] == other[0]
    assert one[1] != other[1]


def test_a_model_that_predicts_otherwise_than_the_one_it_inherits_from_is_run_as_itself():
    class Doubled(LinearTransformer):
        def __call__(self, prompts):
            return 2 * super().__call__(prompts)

    init = functools.partial(as_model(Doubled), layers=1, dim=2)
    assert not sees_moments_only(init(jax.random.key(0)))
    plain = experiment(get_optimizer("sgdm"))
    assert experiment(get_optimizer("sgdm"), model=init).run_id != plain.run_id


def test_a_mistake_in_a_part_is_told_with_its_file_and_line(tmp_path):
    file = written(tmp_path / "my.py", "def part(rate):\n    return {}['luck']\n")
    with pytest.raises(UsageError, match=r"KeyError: 'luck' \(.*my\.py, line 2\)"):
        _ = experiment(get_optimizer(f"{file}:part")).run_id
    text = "def part(key, batch, n, d):\n    raise KeyError(n)\n"
    distribution = loading.load_object(f"{written(tmp_path / 'law.py', text)}:part")
    with pytest.raises(UsageError, match=r"KeyError: 4 \(.*law\.py, line 2\)"):
        _ = experiment(
            get_optimizer("sgdm"), task=RegressionTask(2, 3, covariates=distribution)
        ).run_id

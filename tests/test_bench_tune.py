"""Tuning of more arguments than the learning rate, and how much it took."""

import functools
import json

import optax
import pandas as pd
import pytest

from attnscape.errors import UsageError
from attnscape.optimizers import adam
from attnscape.optimizers.arguments import combinations, read_grids, with_arguments, written
from attnscape.workflows.members import Members
from attnscape.workflows.rank import candidates

OWN = """
import optax
from attnscape import RegressionTask

def mine(rate, sign=-1.0, momentum=0.0):
    return optax.sgd(sign * rate, momentum=momentum)

def task():
    return RegressionTask(dim=2, context=4)
"""


def test_grids_are_read_and_written_alike():
    texts = ["adam.b2=0.9,0.99", "adam.eps=1e-08", "a/own.v2.py:mine.warmup=0,100", "x.y:z.on=True"]
    grids = read_grids(texts)
    assert grids["adam"] == {"b2": (0.9, 0.99), "eps": (1e-8,)}
    assert grids["a/own.v2.py:mine"] == {"warmup": (0, 100)}
    assert [text for each in grids.items() for text in written(*each)] == texts
    assert combinations(grids["adam"]) == [{"b2": 0.9, "eps": 1e-8}, {"b2": 0.99, "eps": 1e-8}]
    assert combinations({}) == [{}]


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        (["adam=0.9"], "The grid 'adam=0.9' cannot be read; write the optimizer, the argument"),
        (["adam.b2"], "cannot be read"),
        (["adam.b2=0.9,"], "'' is not a finite number, True or False"),
        (["adam.b2=high"], "'high' is not a finite number"),
        (["adam.b2=1e999"], "'1e999' is not a finite number"),
        (["adam.b2=0.9", "adam.b2=0.99"], "adam.b2 is given twice; give all its values at once"),
    ],
)
def test_grids_that_cannot_be_read_are_refused(texts, sentence):
    with pytest.raises(UsageError, match=sentence):
        read_grids(texts)


def test_arguments_that_a_factory_does_not_have_are_refused():
    with pytest.raises(UsageError, match=r"adam has no argument 'beta' .*; it has b1, b2"):
        with_arguments("adam", adam, {"beta": 0.9})
    pytest.importorskip("torch")
    from attnscape.optimizers.references import get_optimizer

    with pytest.raises(UsageError, match="is PyTorch's, whose arguments are not tuned"):
        with_arguments("torch.Adam", get_optimizer("torch:Adam"), {"eps": 0.1})


def test_a_factory_gets_its_values():
    made = with_arguments("sgd", lambda rate, scale=1.0: optax.scale(-rate * scale), {"scale": 3})
    assert float(made(0.5).update(2.0, made(0.5).init(0.0))[0]) == -3.0
    assert with_arguments("adam", adam, {}) is adam
    assert isinstance(with_arguments("adam", adam, {"b2": 0.9}), functools.partial)


def test_the_best_values_are_chosen_and_the_effort_is_told(attnscape, tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    own = f"{tmp_path / 'own.py'}"
    grids = [f"{own}:mine.sign=-1.0,1.0"]
    out = ("--out", tmp_path / "out")
    said = attnscape(
        *("bench", "--tune", *grids, "--task", f"{own}:task", "--seeds", 1, "--steps", 20), *out
    )
    (mine,) = (m for m in Members.read(tmp_path / "out").members if m.label == "mine+sign")
    (entry,) = mine.entries.values()
    assert entry.chosen == {"sign": 1.0}  # the other one goes uphill
    assert [dict(each.values) for each in entry.combinations] == [{"sign": -1.0}, {"sign": 1.0}]
    # Runs of the other values are not among the optimizer's results.
    frame = pd.read_csv(tmp_path / "out" / "bench.csv")
    tuning = frame.query("optimizer == 'mine+sign' and phase == 'tuning'")
    assert len(tuning) == entry.combinations[1].runs
    assert "learning rate, sign" in said
    total = sum(each.runs for each in entry.combinations)
    assert f"{total} " in said
    assert f"{20 * total:,} " in said
    assert f"{entry.rate:g}, sign 1.0" in said
    manifest = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert f"--tune {grids[0]} --task" in manifest["command"]
    assert "Optimizers with a + had more of their arguments tuned" in manifest["caption"]
    # The next call knows it, finds its runs and that it is still the same.
    said = attnscape("bench", *out)
    assert "mine+sign" in said
    assert "running" not in said
    assert "*" not in said


def test_two_grids_of_one_name_are_refused(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.py").write_text(
            "import optax\ndef mine(rate, m=0.5):\n    return optax.sgd(rate, momentum=m)\n"
        )
    grids = [f"{tmp_path}/{name}.py:mine.m=0.1,0.2" for name in ("a", "b")]
    with pytest.raises(UsageError, match=r"Two optimizers are called mine\+m"):
        candidates([], grids)


def test_the_order_of_arguments_does_not_make_another_row():
    orders = (["adam.b1=0.8", "adam.b2=0.9"], ["adam.b2=0.9", "adam.b1=0.8"])
    assert [list(candidates([], grids)) for grids in orders] == [["adam+b1+b2"]] * 2

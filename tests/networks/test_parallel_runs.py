"""Runs of networks in processes of their own: the same results, nothing lost, errors told."""

import dataclasses
import pickle
from types import MappingProxyType

import numpy as np
import optax
import pytest

pytest.importorskip("torch", reason="torch is not installed")

from attnscape.errors import UsageError
from attnscape.experiments import store
from attnscape.networks import WORKLOADS, NetworkRun, Schedules, train_workload
from attnscape.networks.grid import run_one_by_one
from attnscape.optimizers import NAMED
from attnscape.workflows import run_queue
from attnscape.workflows.runs import load_or_run_all

WORKLOAD = WORKLOADS["softmax-regression"]
SIZE = WORKLOAD.sizes["tiny"]


@pytest.fixture(scope="module")
def run():
    data = WORKLOAD.data("packaged", **SIZE.data)
    schedules = Schedules(loss=5)
    return NetworkRun(
        WORKLOAD, True, data, SIZE, "sgdm", NAMED["sgdm"], 0.01, 0, 10, schedules=schedules
    )


@pytest.fixture(autouse=True)
def two_processors(monkeypatch):
    monkeypatch.setattr(run_queue, "processors", lambda: 2)


def test_processes_of_their_own_give_the_bits_of_this_one(run, tmp_path):
    said: list[str] = []
    wanted = {str(seed): dataclasses.replace(run, seed=seed) for seed in range(3)}
    found = load_or_run_all(wanted, tmp_path, "trial", said.append)
    assert "3 runs in 2 processes" in said[0]
    for key, each in wanted.items():
        alone = each.run()
        np.testing.assert_array_equal(found[key]["loss"].values, alone["loss"].values)
        np.testing.assert_array_equal(found[key]["metric"].values, alone["metric"].values)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {
            "schedules": Schedules(pseudo=2),
            "pseudo_optimizers": MappingProxyType({"adam": NAMED["adam"]}),
        },
    ],
    ids=["defaults", "pseudo-steps"],
)
def test_every_run_of_built_in_parts_can_go_to_another_process(options):
    def run_all(runs):
        for each in runs.values():
            assert each.at_once > 0
            assert pickle.loads(pickle.dumps(each)).run_id == each.run_id
        return run_one_by_one(runs)

    train_workload(
        WORKLOAD, ["sgd"], (0.1,), (0,), size="tiny", steps=4, run_all=run_all, **options
    )


def test_what_cannot_be_sent_to_another_process_is_run_here(run, tmp_path):
    mine = dataclasses.replace(run, factory=lambda rate: optax.sgd(rate), optimizer="mine")
    said: list[str] = []
    found = load_or_run_all({"own": run, "mine": mine}, tmp_path, "trial", said.append)
    assert not any("processes" in line for line in said)
    assert found["mine"]["loss"].notnull().any()


def test_a_run_that_fails_is_told_and_the_others_are_kept(run, tmp_path):
    unlike = dataclasses.replace(run, optimizer="unlike", factory=NAMED["muon"], clip=1.0)
    wrong = dataclasses.replace(run, size=dataclasses.replace(SIZE, batch=10**6))
    with pytest.raises(UsageError, match="batch"):
        load_or_run_all({"a": run, "b": unlike, "c": wrong}, tmp_path, "trial", print)
    assert store.find(run, tmp_path) is not None


def test_one_run_under_two_keys_is_made_once(run, tmp_path):
    again = dataclasses.replace(run, optimizer="again")
    load_or_run_all({"one": run, "two": again}, tmp_path, "trial", print)
    assert len(list(tmp_path.glob("*.nc"))) == 1

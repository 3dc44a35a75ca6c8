"""Runs of networks on a cluster: the bits of processes on one machine, data sent once."""

import contextlib
import dataclasses

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("distributed", reason="Dask is not installed")

import distributed
import threadpoolctl
import torch

from attnscape.networks import WORKLOADS, NetworkNoise, NetworkRun, Schedules
from attnscape.optimizers import NAMED
from attnscape.workflows.open_cluster import opened
from attnscape.workflows.places import Job
from attnscape.workflows.runs import load_or_run_all
from attnscape.workflows.sending import Sender, from_bytes
from cluster_support import equal_results, option_of

WORKLOAD = WORKLOADS["softmax-regression"]
SIZE = WORKLOAD.sizes["tiny"]


@pytest.fixture(scope="module")
def data():
    return WORKLOAD.data("packaged", **SIZE.data)


@pytest.fixture(scope="module")
def run(data):
    schedules = Schedules(loss=5)
    return NetworkRun(
        WORKLOAD, True, data, SIZE, "sgdm", NAMED["sgdm"], 0.01, 0, 10, schedules=schedules
    )


@pytest.fixture(scope="module")
def scheduler():
    """The address of a scheduler with a worker, which imports for seconds: of all tests here."""
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=":0", memory_limit=0
    ) as running:
        yield running.scheduler_address


@pytest.fixture
def one_thread():
    """PyTorch and LAPACK as on a worker; their last bits depend on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        yield
    torch.set_num_threads(before)


def test_networks_and_noise_on_a_cluster_have_the_bits_of_one_thread(
    run, data, tmp_path, one_thread, scheduler
):
    small = dataclasses.replace(SIZE, batch=4)
    wanted = {str(seed): dataclasses.replace(run, seed=seed) for seed in range(2)}
    wanted["noise"] = NetworkNoise(WORKLOAD, True, data, small, seeds=(0, 1), samples=6)
    with opened(scheduler) as cluster:
        found = load_or_run_all(wanted, tmp_path, "trial", print, cluster=cluster)
    for key, each in wanted.items():
        alone = each.run()
        assert found[key].attrs["torch_threads"] == 1
        for name, variable in alone.items():
            np.testing.assert_array_equal(found[key][name].values, variable.values)


def test_data_are_sent_once_for_all_runs(run, data, tmp_path):
    sender = Sender(tmp_path)
    contents = [
        sender.to_bytes(Job(dataclasses.replace(run, seed=seed), tmp_path))[0] for seed in range(3)
    ]
    (file,) = sender.folder.iterdir()
    assert max(map(len, contents)) < 20_000
    first, second = (from_bytes(content).run for content in contents[:2])
    assert first.data is second.data
    assert first.data.digest == data.digest
    assert second.seed == 1
    sender.close()
    assert not file.exists()


KINDS = ["tcp", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("local", "factory"))]


@pytest.mark.parametrize("kind", KINDS)
def test_training_on_a_cluster_has_the_numbers_of_one_without(
    kind, attnscape, tmp_path, one_thread, scheduler
):
    words = ("networks", "train", "softmax-regression", "--size", "tiny", "--steps", 10)
    words = (*words, "--optimizers", "sgdm", "--seeds", 2)
    attnscape(*words, "--out", tmp_path / "one")
    given = contextlib.nullcontext(scheduler) if kind == "tcp" else option_of(kind, tmp_path)
    with given as cluster:
        attnscape(*words, "--out", tmp_path / "many", "--cluster", cluster)
    assert equal_results(tmp_path / "one" / "networks", tmp_path / "many" / "networks")

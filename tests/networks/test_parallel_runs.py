"""Runs of networks in processes of their own: the same results, nothing lost, errors told."""

import dataclasses
import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import optax
import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch

from attnscape.errors import UsageError
from attnscape.experiments import store
from attnscape.networks import WORKLOADS, NetworkRun, Schedules
from attnscape.optimizers import NAMED
from attnscape.workflows import processes, runs
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


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def two_processors(monkeypatch):
    monkeypatch.setattr(runs, "processors", lambda: 2)


def test_processes_of_their_own_give_the_bits_of_this_one(run, tmp_path, one_thread):
    said: list[str] = []
    wanted = {str(seed): dataclasses.replace(run, seed=seed) for seed in range(3)}
    found = load_or_run_all(wanted, tmp_path, "trial", said.append)
    assert "3 runs in 2 processes" in said[0]
    for key, each in wanted.items():
        alone = each.run()
        np.testing.assert_array_equal(found[key]["loss"].values, alone["loss"].values)
        np.testing.assert_array_equal(found[key]["metric"].values, alone["metric"].values)


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


@pytest.fixture
def workers():
    made = processes.Processes(2)
    yield made
    made.stop()


def test_processes_serve_until_they_are_stopped(workers):
    numbers = set()
    for _ in range(3):
        with workers.submitted([os.getpid] * 4) as futures:
            numbers |= {future.result() for future in futures}
    assert len(numbers) <= 2
    assert os.getpid() not in numbers


def test_after_ctrl_c_no_process_goes_on(workers):
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), workers.submitted([_seconds(600)] * 2):
        raise KeyboardInterrupt
    assert time.monotonic() - began < 300


def test_ctrl_c_does_not_wait_for_what_an_error_left_under_way(workers, monkeypatch):
    def interrupted(futures):
        raise KeyboardInterrupt

    monkeypatch.setattr(processes, "wait", interrupted)
    under_way = []
    with pytest.raises(KeyboardInterrupt):
        _fail_beside(workers, under_way)
    assert all(future.done() for future in under_way)


def test_a_process_that_dies_is_told(workers):
    with (
        pytest.raises(UsageError, match="ended unexpectedly"),
        workers.submitted([_Kill()]) as futures,
    ):
        futures[0].result()


# Starts a process that sleeps, and tells its number.
PARENT = """
import functools, os, time
from attnscape.workflows.processes import Processes

if __name__ == "__main__":
    workers = Processes(1)
    with workers.submitted([os.getpid, functools.partial(time.sleep, 600)]) as (number, sleep):
        print(number.result(), flush=True)
        sleep.result()
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc")
def test_processes_do_not_outlive_the_one_that_they_serve(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 60
    while _exists(worker):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _fail_beside(workers, under_way):
    """Raises an error beside tasks that have begun, which are added to `under_way`."""
    with workers.submitted([_seconds(600)] * 2) as futures:
        under_way.extend(futures)
        while not all(future.running() for future in futures):
            time.sleep(0.01)
        raise UsageError("another task failed")


def _seconds(seconds):
    return functools.partial(time.sleep, seconds)


class _Kill:
    def __call__(self):
        os.kill(os.getpid(), signal.SIGKILL)


def _exists(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A process that has ended stays in the table until the system's first process collects it.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"

"""Two processes on one folder: a run is computed once, and no lock outlives its owner."""

import contextlib
import dataclasses
import errno
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from attnscape.experiments import locks, store
from attnscape.experiments.experiment import Experiment
from attnscape.experiments.seed_parts import finish_seeds
from attnscape.workflows import processes, run_queue
from attnscape.workflows.members import Members
from attnscape.workflows.runs import load_or_run_all
from tiny import TINY

THREE = dataclasses.replace(TINY, seeds=(4, 0, 2))
HOLD = """
import signal, sys, time
from pathlib import Path
from attnscape.experiments import locks
# Where the tests run in the background, children would ignore the signal.
signal.signal(signal.SIGINT, signal.default_int_handler)
with locks.alone(Path(sys.argv[1]), sys.argv[2]):
    print("held", flush=True)
    time.sleep(600)
"""


@contextlib.contextmanager
def held_by_another_process(folder, name):
    """Context manager: the process that holds the lock."""
    command = [sys.executable, "-c", HOLD, folder, name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def until(condition):
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_lock_outlives_its_owner(tmp_path, end):
    with held_by_another_process(tmp_path, "run") as process:
        assert locks.is_taken(tmp_path, "run")
        assert not locks.is_taken(tmp_path, "other")
        os.kill(process.pid, end)
        with locks.alone(tmp_path, "run"):  # waits until it is gone
            assert process.wait() != 0


def test_a_folder_that_may_only_be_read_tells_what_is_under_way(tmp_path, monkeypatch):
    """That of another user, whose locks this one cannot take."""

    def refuse(lock, **options):
        raise PermissionError(errno.EACCES, "Permission denied", lock.lock_file)

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    with held_by_another_process(tmp_path, "run") as process:
        assert locks.taken(tmp_path) == {"run"}
        process.kill()
        process.wait()
        assert (tmp_path / ".run.lock").exists()
        assert locks.taken(tmp_path) == set()


def test_a_lock_is_given_back_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), locks.alone(tmp_path, "run"):
        raise ZeroDivisionError
    assert not locks.is_taken(tmp_path, "run")


def test_what_is_under_way_elsewhere_is_waited_for_and_computed_once(tmp_path, monkeypatch):
    computed, waited, first, go = [], [], threading.Event(), threading.Event()

    def run(experiment, progress, checkpoints):
        computed.append(experiment.name)
        first.set()
        assert go.wait(60)
        return of_class(experiment)

    of_class = Experiment.run
    monkeypatch.setattr(Experiment, "run", run)
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(store.load_or_run, TINY, tmp_path)
        assert first.wait(60)
        # The same run under another name.
        other = dataclasses.replace(TINY, name="other")
        two = pool.submit(
            store.load_or_run, other, tmp_path, waiting=lambda: waited.append(go.set())
        )
        assert one.result(60).identical(two.result(60))
    assert computed == ["tiny"]
    assert len(waited) == 1
    assert [path.name for path in tmp_path.iterdir()] == [store.file_name(TINY)]


@pytest.fixture
def gated(monkeypatch):
    """What was trained, as (seeds, who waits for the event `go` first)."""
    trained, begun, go = [], threading.Event(), threading.Event()

    def run(experiment, progress, checkpoints):
        trained.append(experiment.seeds)
        begun.set()
        assert go.wait(60)
        return of_class(experiment, progress, checkpoints)

    of_class = Experiment.run
    monkeypatch.setattr(Experiment, "run", run)
    return trained, begun, go


def test_who_runs_the_whole_waits_for_those_who_train_some_of_its_seeds(tmp_path, gated):
    trained, begun, go = gated
    steps = []
    with ThreadPoolExecutor(2) as pool:
        some = pool.submit(finish_seeds, THREE, THREE.seeds[:2], tmp_path)
        assert begun.wait(60)
        assert store.is_under_way(THREE, tmp_path)
        whole = pool.submit(
            store.load_or_run, THREE, tmp_path, lambda done, total: steps.append(done), go.set
        )
        some.result(60)
        whole.result(60)
    assert trained == [THREE.seeds[:2], THREE.seeds]  # the second finds the seeds of the first
    of_seed = THREE.run_steps // 3
    assert [step for step in steps if 0 < step < 2 * of_seed] == [of_seed]
    assert [path.name for path in tmp_path.iterdir()] == [store.file_name(THREE)]


def test_who_trains_some_seeds_waits_for_those_who_run_the_whole(tmp_path, gated):
    trained, begun, go = gated
    with ThreadPoolExecutor(2) as pool:
        whole = pool.submit(store.load_or_run, THREE, tmp_path)
        assert begun.wait(60)
        some = pool.submit(finish_seeds, THREE, THREE.seeds[:2], tmp_path)
        with pytest.raises(TimeoutError):
            some.result(1)
        go.set()
        whole.result(60)
        some.result(60)
    assert trained == [THREE.seeds]
    assert [path.name for path in tmp_path.iterdir()] == [store.file_name(THREE)]


def test_seeds_that_two_pieces_share_are_trained_once(tmp_path, gated):
    """Of two clusters with other numbers of workers."""
    trained, begun, go = gated
    steps = []
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(finish_seeds, THREE, THREE.seeds[:2], tmp_path)
        assert begun.wait(60)
        other = pool.submit(
            finish_seeds, THREE, THREE.seeds[1:], tmp_path, lambda done, total: steps.append(done)
        )
        with pytest.raises(TimeoutError):
            other.result(1)
        go.set()
        one.result(60)
        other.result(60)
    assert trained[:2] == [THREE.seeds[:2], THREE.seeds[1:]]
    assert THREE.run_steps // 3 in steps[:2]  # the shared seed is there at once
    assert store.find(THREE, tmp_path) is not None


def test_a_run_whose_process_ended_without_a_result_is_computed_by_the_next(tmp_path):
    with held_by_another_process(tmp_path, TINY.run_id[:16]) as process:
        assert store.is_under_way(TINY, tmp_path)
        found = store.load_or_run(TINY, tmp_path, waiting=process.kill)
    assert found.drop_attrs().identical(TINY.run().drop_attrs())


def test_the_queue_leaves_to_others_what_they_compute(tmp_path, monkeypatch):
    """It takes the next one, and in the end what nobody made."""
    monkeypatch.setattr(run_queue, "processors", lambda: 2)
    runs = {str(seed): dataclasses.replace(TINY, seeds=(seed,)) for seed in range(4)}
    left = []
    with held_by_another_process(tmp_path, runs["0"].run_id[:16]) as process:

        def end_it():
            try:
                until(lambda: len(list(tmp_path.glob("*.nc"))) == 3)
                left.append(store.find(runs["0"], tmp_path))
            finally:
                process.kill()

        thread = threading.Thread(target=end_it)
        thread.start()
        found = load_or_run_all(runs, tmp_path, "trial", print)
        thread.join()
    assert left == [None]  # it was the last
    for key, each in runs.items():
        assert found[key].drop_attrs().identical(each.run().drop_attrs())
    processes.processes().stop()


def test_a_result_that_another_process_has_made_waits_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr(run_queue, "processors", lambda: 2)
    runs = {str(seed): dataclasses.replace(TINY, seeds=(seed,)) for seed in range(2)}
    with run_queue.RunQueue(tmp_path) as queue:
        queue._waiting = {run.run_id: run for run in runs.values()}
        store.load_or_run(runs["0"], tmp_path)
        assert queue._next() is runs["1"]
        assert not queue._is_left(runs["0"].run_id)


def test_benches_that_change_at_once_lose_nothing(tmp_path):
    def add(number):
        Members.update(
            tmp_path,
            lambda now: dataclasses.replace(now, settings=(*now.settings, str(number))),
        )

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(40)))
    assert sorted(map(int, Members.read(tmp_path).settings)) == list(range(40))

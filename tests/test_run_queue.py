"""Runs in processes of their own: the order, what is told, and the same bits."""

import dataclasses
import functools
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import SimpleNamespace

import jax
import optax
import pytest

from attnscape.errors import UsageError
from attnscape.identity import settings
from attnscape.workflows import processes, run_queue
from attnscape.workflows.places import Job, Submitted
from attnscape.workflows.run_queue import RunQueue
from attnscape.workflows.runs import load_or_run_all
from tiny import TINY


@pytest.fixture(autouse=True)
def two_processors(monkeypatch):
    monkeypatch.setattr(run_queue, "processors", lambda: 2)


class Trial:
    """A run that only its id distinguishes from others."""

    at_once, run_steps = 2, 10

    def __init__(self, run_id):
        self.run_id = self.name = run_id


class Pool:
    """In place of `Processes`: the first task ends when it is waited for."""

    def __init__(self):
        self.most = 1
        self.begun, self.under_way, self.errors, self.stopped = [], [], {}, 0

    @property
    def has_room(self):
        return len(self.under_way) < self.most

    def submit(self, task, waiting):
        run, future = task.run, Future()
        self.begun.append(run.run_id)
        self.under_way.append((run, future))
        return Submitted(future, lambda: (3, 10))

    def wait(self, futures, *_, **__):
        for run, future in self.under_way[:1]:
            if error := self.errors.get(run.run_id):
                future.set_exception(error)
            else:
                future.set_result(None)
        self.under_way = self.under_way[1:]

    def stop(self):
        self.stopped += 1
        self.under_way = []


@pytest.fixture
def pool(monkeypatch):
    made = Pool()
    monkeypatch.setattr(run_queue, "processes", lambda: made)
    monkeypatch.setattr(run_queue, "wait", made.wait)
    return made


A, B, C, D, E = map(Trial, "abcde")


def silent(words):
    """Says nothing."""


def test_what_is_waited_for_comes_before_what_is_computed_ahead(pool, tmp_path):
    with RunQueue(tmp_path) as queue:
        queue.add([A, B, C])
        queue.compute([C, D], "fig", silent)
        assert pool.begun[:3] == ["a", "c", "d"]
        queue.compute([B, E], "fig", silent)
        assert pool.begun == ["a", "c", "d", "b", "e"]


def test_what_nobody_waited_for_is_not_begun_at_the_end(pool, tmp_path):
    with RunQueue(tmp_path) as queue:
        queue.add([A, B, C])
    assert pool.begun == ["a"]
    assert not pool.under_way


def test_a_run_is_made_once_however_often_it_is_asked_for(pool, tmp_path):
    with RunQueue(tmp_path) as queue:
        queue.add([A, B, Trial("a")])
        queue.compute([Trial("b"), A], "fig", silent)
        queue.compute([A, B, Trial("b")], "fig", silent)
    assert pool.begun == ["a", "b"]


def test_a_run_without_company_is_left_to_this_process(pool, tmp_path):
    with RunQueue(tmp_path) as queue:
        queue.add([A])
        queue.compute([A], "fig", silent)
        assert pool.begun == []
        queue.compute([B, C], "fig", silent)
        queue.compute([B, D], "fig", silent)
    assert pool.begun == ["b", "c"]


def test_no_more_runs_are_begun_than_should_be_computed_at_once(pool, tmp_path):
    pool.most = 9
    with RunQueue(tmp_path) as queue:
        queue.add([A, B, C, D, E])
        assert pool.begun == ["a", "b", "c"]  # two at once, and one that waits for its turn


def test_a_run_under_way_is_waited_for_even_without_company(pool, tmp_path):
    with RunQueue(tmp_path) as queue:
        queue.add([A, B])
        queue.compute([B], "fig", silent)
        assert [run.run_id for run, _ in pool.under_way] == []
    assert pool.begun == ["a", "b"]


def test_one_processor_computes_here(pool, tmp_path, monkeypatch):
    monkeypatch.setattr(run_queue, "processors", lambda: 1)
    with RunQueue(tmp_path) as queue:
        queue.add([A, B])
        queue.compute([A, B], "fig", silent)
    assert pool.begun == []


def test_what_other_processes_cannot_compute_is_left_to_this_one(pool, tmp_path):
    mine = Trial("mine")
    mine.at_once = 0
    with RunQueue(tmp_path) as queue:
        queue.compute([A, mine, B], "fig", silent)
    assert pool.begun == ["a", "b"]


def test_an_error_is_told_to_each_who_needs_the_run_and_to_no_other(pool, tmp_path):
    pool.errors["a"] = UsageError("The batch is too large.")
    with RunQueue(tmp_path) as queue:
        for _ in range(2):
            with pytest.raises(UsageError, match="batch is too large"):
                queue.compute([A, B], "fig", silent)
        queue.compute([B, C], "fig", silent)
    assert pool.begun == ["a", "a", "b", "c"]


def test_a_process_that_died_is_told_and_replaced(pool, tmp_path):
    pool.errors["a"] = BrokenProcessPool()
    with RunQueue(tmp_path) as queue:
        with pytest.raises(UsageError, match="ended unexpectedly"):
            queue.compute([A, B], "fig", silent)
        assert pool.stopped == 1
        pool.errors.clear()
        queue.compute([A, B], "fig", silent)
    assert pool.begun == ["a", "a", "b"]


def test_after_ctrl_c_nothing_is_waited_for(pool, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        _interrupt(tmp_path)
    assert pool.stopped == 1


def test_ctrl_c_while_the_last_ones_end_stops_them(pool, tmp_path, monkeypatch):
    def interrupted(futures, timeout):
        raise KeyboardInterrupt

    monkeypatch.setattr(run_queue, "wait", interrupted)
    queue = RunQueue(tmp_path)
    queue.add([A, B])
    with pytest.raises(KeyboardInterrupt), queue:
        pass
    assert pool.stopped == 1


@pytest.fixture
def seen(monkeypatch):
    """What the progress bar of an artifact called fig was called with."""
    calls = []

    class Bar:
        def __init__(self, label, unit):
            assert label == "fig"
            calls.append(unit)

        def __enter__(self):
            return lambda done, total: calls.append((done, total))

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(run_queue, "ProgressBar", Bar)
    return calls


def test_progress_counts_what_waits_what_is_under_way_and_what_is_done(pool, tmp_path, seen):
    said, pool.most = [], 2
    with RunQueue(tmp_path) as queue:
        queue.compute([A, B, C], "fig", said.append)
    # The first is done and the second has done 3 of 10; then the second is done; then all are.
    assert seen == ["run-steps", (13, 30), (23, 30), (30, 30)]
    assert said == ["fig: running 3 runs in 2 processes, 30 run-steps"]


def test_runs_of_several_kinds_count_alike(pool, tmp_path, seen):
    class Long(Trial):
        run_steps = 3_000_000

    pool.most = 2
    with RunQueue(tmp_path) as queue:
        queue.compute([A, Long("long")], "fig", print)
    # The first is done and the second has done 3 of 10; then both are.
    assert seen == ["", (1300, 2000), (2000, 2000)]


def test_runs_of_several_networks_count_alike(pool, tmp_path, seen):
    """A step of one can take a thousand times as long as a step of another."""
    small, large = Trial("small"), Trial("large")
    small.workload, large.workload = SimpleNamespace(name="small"), SimpleNamespace(name="large")
    pool.most = 2
    with RunQueue(tmp_path) as queue:
        queue.compute([small, large], "fig", print)
    assert seen[0] == ""


def test_a_process_with_other_settings_computes_nothing(tmp_path):
    """Its numbers could differ from those of the process that asks for them."""

    class Run:
        identity = SimpleNamespace(content={"settings": {**settings(), "kernels": "others"}})

    Job(Run(), tmp_path)(pytest.fail)
    assert not list(tmp_path.iterdir())


def test_experiments_of_users_parts_stay_in_their_process():
    assert TINY.at_once == 2
    own = {"sgdm": lambda rate: optax.sgd(rate)}
    assert dataclasses.replace(TINY, optimizers=own).at_once == 0


def test_processes_of_their_own_give_the_bits_of_this_one(tmp_path):
    wanted = {str(seed): dataclasses.replace(TINY, seeds=(seed, 9)) for seed in range(3)}
    said = []
    found = load_or_run_all(wanted, tmp_path, "trial", said.append)
    assert said == ["trial: running 3 runs in 2 processes, 24 run-steps"]
    for key, each in wanted.items():
        assert found[key].drop_attrs().identical(each.run().drop_attrs())


@pytest.fixture(scope="module")
def workers():
    made = processes.Processes(2)
    yield made
    made.stop()


def test_processes_serve_until_they_are_stopped(workers):
    numbers = {workers.submit(_pid).future.result() for _ in range(4)}
    assert len(numbers) <= 2
    assert os.getpid() not in numbers


def test_no_process_opens_an_accelerator(workers):
    assert workers.submit(_backend).future.result() == "cpu"


def test_the_progress_of_a_task_is_seen_while_it_is_under_way(workers, tmp_path):
    task = workers.submit(functools.partial(_half, tmp_path / "go"))
    deadline = time.monotonic() + 60
    while task.progress() != (5, 10):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    (tmp_path / "go").touch()
    task.future.result()


def test_no_more_tasks_are_taken_than_are_soon_begun(workers, tmp_path):
    tasks = []
    while workers.has_room:
        tasks.append(workers.submit(functools.partial(_half, tmp_path / "go")))
    (tmp_path / "go").touch()
    assert len(tasks) == 3
    for task in tasks:
        task.future.result()
    deadline = time.monotonic() + 60
    while not workers.has_room:
        assert time.monotonic() < deadline


def test_a_process_that_dies_is_told():
    workers = processes.Processes(1)
    with pytest.raises(BrokenProcessPool):
        workers.submit(_die).future.result()
    workers.stop()


def test_stopping_does_not_wait_for_tasks():
    workers, began = processes.Processes(1), time.monotonic()
    task = workers.submit(_sleep)
    while not task.future.running():
        time.sleep(0.01)
    workers.stop()
    assert time.monotonic() - began < 300


# Starts a process that sleeps, and tells its number.
PARENT = """
import time
from attnscape.workflows.processes import Processes
from test_run_queue import _pid, _sleep

if __name__ == "__main__":
    workers = Processes(1)
    print(workers.submit(_pid).future.result(), flush=True)
    workers.submit(_sleep).future.result()
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc")
def test_processes_do_not_outlive_the_one_that_they_serve(tmp_path):
    """Nor does the one that cleans up after them complain."""
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    with subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    ) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.kill()
        _, said = parent.communicate(timeout=60)
    assert said == ""
    deadline = time.monotonic() + 60
    while _exists(worker):
        assert time.monotonic() < deadline
        time.sleep(0.1)


# Two processes that both need the kernels.
WITHOUT_KERNELS = """
import dataclasses
import pathlib
import sys
from attnscape.workflows import run_queue
from tiny import TINY

if __name__ == "__main__":
    run_queue.processors = lambda: 2
    with run_queue.RunQueue(pathlib.Path(sys.argv[1])) as queue:
        queue.compute([TINY, dataclasses.replace(TINY, steps=5)], "fig", print)
"""


def test_missing_kernels_are_told_once_for_all_processes(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(WITHOUT_KERNELS)
    switched_off = {"ATTNSCAPE_KERNELS": "off", "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-W", "default", script, tmp_path]
    ended = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **switched_off}, check=True
    )
    assert len(list(tmp_path.glob("*.nc"))) == 2
    assert ended.stderr.count("at a fraction of the speed") == 1


def _interrupt(directory):
    with RunQueue(directory) as queue:
        queue.add([A, B])
        raise KeyboardInterrupt


def _pid(progress):
    return os.getpid()


def _backend(progress):
    return jax.default_backend()


def _half(go, progress):
    progress(5, 10)
    while not go.exists():
        time.sleep(0.01)


def _sleep(progress):
    time.sleep(600)


def _die(progress):
    os.kill(os.getpid(), signal.SIGKILL)


def _exists(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A process that has ended stays in the table until the system's first process collects it.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"

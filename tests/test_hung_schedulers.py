"""A scheduler that is stopped and not dead: it is told, waited for, and given up by a rule."""

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

pytest.importorskip("distributed", reason="Dask is not installed")

from attnscape.errors import UsageError
from attnscape.workflows import roster
from attnscape.workflows.open_cluster import opened
from attnscape.workflows.runs import load_or_run_all
from cluster_support import answers, equal_results, free_port, started, until, worker_of
from tiny import TINY

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs SIGSTOP")

RUN = dataclasses.replace(TINY, steps=1_000)
# Where the tests run in the background, children would ignore Ctrl-C.
COMMAND = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from attnscape.cli.main import main
main()
"""
TRAIN = (
    *("train", "--dim", 2, "--context", 3, "--layers", 1, "--batch", 8, "--evaluation-batch", 8),
    *("--optimizers", "adam", "sgdm", "--seeds", 3, "--measure-every", 500),
)


@contextlib.contextmanager
def scheduler_and_worker(**settings):
    """Context manager: the process of a scheduler, and its address; a worker is connected."""
    address = f"tcp://127.0.0.1:{(port := free_port())}"
    words = ("distributed.cli.dask_scheduler", "--port", str(port), "--no-dashboard")
    env = os.environ | settings
    with started(*words, "--host", "127.0.0.1", env=env) as scheduler:
        until(lambda: answers(port))
        env = os.environ | {"PJRT_NPROC": "2", "OMP_NUM_THREADS": "1"}
        with worker_of(address, env, nanny=True):
            yield scheduler, address
            scheduler.send_signal(signal.SIGCONT)


@pytest.fixture(scope="module")
def shared():
    with scheduler_and_worker() as both:
        yield both


@pytest.fixture
def running(shared):
    """A scheduler with a worker, which goes on after the test whatever the test has done."""
    yield shared
    shared[0].send_signal(signal.SIGCONT)


def begun(folder):
    return list(folder.glob(".checkpoints/*/*begun.note"))


@pytest.mark.parametrize(
    ("when", "ttl"),
    [
        ("before", "5 minutes"),
        pytest.param("while", "5 minutes", marks=pytest.mark.slow),
        ("while", "1s"),
    ],
)
def test_work_goes_on_when_a_hung_scheduler_does(request, tmp_path, monkeypatch, when, ttl):
    """It hangs before a worker begins, or while one computes; and it may find, when it goes on,
    that it has heard nothing of its workers for too long."""
    monkeypatch.setattr(roster, "LACKING", 2.0)
    many, said = tmp_path / "many", []

    def log(words):
        said.append(words)
        if "running" in words and when == "before":
            scheduler.send_signal(signal.SIGSTOP)
        if "does not answer" in words:
            time.sleep(3)
            scheduler.send_signal(signal.SIGCONT)

    def stop_in_between():
        until(lambda: begun(many))
        scheduler.send_signal(signal.SIGSTOP)

    with contextlib.ExitStack() as stack:
        if ttl == "5 minutes":  # as Dask has it
            scheduler, address = request.getfixturevalue("running")
        else:
            own = scheduler_and_worker(DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL=ttl)
            scheduler, address = stack.enter_context(own)
        pool = stack.enter_context(ThreadPoolExecutor(1))
        cluster = stack.enter_context(opened(address))
        stopped = pool.submit(stop_in_between if when == "while" else bool)
        load_or_run_all({"run": RUN}, many, "trial", log, cluster=cluster)
        stopped.result()
    (hung,) = (words for words in said if "does not answer" in words)
    assert hung == (
        f"trial: {address} does not answer; the command waits for it, for 10 minutes at most, and "
        "goes on when it answers again"
    )
    load_or_run_all({"run": RUN}, tmp_path / "one", "trial", print)
    assert equal_results(tmp_path / "one", many)


def test_a_scheduler_that_stays_hung_is_given_up(running, tmp_path, monkeypatch):
    monkeypatch.setattr(roster, "LACKING", 2.0)
    monkeypatch.setattr(roster, "_GIVEN_UP", 4.0)
    scheduler, address = running
    began = []

    def lose():
        with opened(address) as cluster:
            scheduler.send_signal(signal.SIGSTOP)
            began.append(time.monotonic())
            load_or_run_all({"run": RUN}, tmp_path, "trial", print, cluster=cluster)

    with pytest.raises(UsageError, match=r"^The scheduler .* has not answered for 4 seconds; "):
        lose()
    assert 4 <= time.monotonic() - began[0] < 60


def test_a_scheduler_that_hangs_before_the_command_is_told(running, monkeypatch):
    monkeypatch.setattr("attnscape.workflows.open_cluster._PATIENCE", 2)
    scheduler, address = running
    scheduler.send_signal(signal.SIGSTOP)
    with pytest.raises(UsageError, match=f"No scheduler answers at {address}"), opened(address):
        pass


@pytest.mark.parametrize(
    "end", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_a_command_ends_at_once_although_its_scheduler_hangs(running, tmp_path, end, attnscape):
    """And the same command goes on, with the numbers of one that was never stopped."""
    scheduler, address = running
    words = (*TRAIN, "--steps", 2_000)
    there = ("--cluster", address, "--out", tmp_path / "many")
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, *map(str, words + there)],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        until(lambda: begun(tmp_path / "many"))
        scheduler.send_signal(signal.SIGSTOP)
        time.sleep(3)  # until it has asked
        process.send_signal(end)
        before = time.monotonic()
        _, errors = process.communicate(timeout=60)
    assert time.monotonic() - before < 5
    assert process.returncode == 128 + end
    assert "the same command goes on from there" in errors
    assert "Traceback" not in errors
    scheduler.send_signal(signal.SIGCONT)
    attnscape(*words, *there)
    attnscape(*words, "--out", tmp_path / "one")
    assert equal_results(tmp_path / "one", tmp_path / "many")


def test_a_command_that_was_stopped_itself_does_not_blame_its_scheduler(monkeypatch):
    """Ctrl-Z for an hour is no silence of an hour."""
    now, asked, go = [0.0], [], threading.Event()

    def nthreads():
        asked.append(now[0])
        assert len(asked) == 1 or go.wait(60)
        return {"tcp://worker": 1}

    monkeypatch.setattr(roster, "time", SimpleNamespace(monotonic=lambda: now[0]))
    client = SimpleNamespace(nthreads=nthreads, scheduler=SimpleNamespace(address="tcp://host"))
    one = roster.Roster(client)
    assert one.look()
    assert not one.look()
    for seconds in (2, 2, 3600, 2):  # the first of them asks
        now[0] += seconds
        assert not one.look()
        assert one.found == ("tcp://worker",)
        assert not one.lack
    for _ in range(2):
        now[0] += 2
        one.look()
    assert one.lack.startswith("tcp://host does not answer")
    assert not one.is_lost
    for _ in range(295):
        now[0] += 2
        one.look()
    assert one.is_lost
    go.set()
    until(lambda: one._asked.done())
    now[0] += 2
    assert one.look()
    assert not one.is_lost
    assert not one.lack
    assert asked == [0.0, 2.0]

"""The server from which processes that compute are forked."""

import os
import signal
import sys
from multiprocessing import forkserver
from pathlib import Path

import pytest

from attnscape.cli._options import Reproduce
from attnscape.cli.main import _computes_here
from attnscape.workflows import fork_server
from attnscape.workflows.processes import Processes
from support import python

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="processes are spawned there")


def _state(progress):
    """The parent of the process, and the signals that it never sees."""
    return os.getppid(), signal.pthread_sigmask(signal.SIG_BLOCK, ())


@pytest.fixture
def one():
    made = Processes(1)
    yield made
    made.stop()


def test_processes_are_forked_by_the_server_and_never_see_ctrl_c(one):
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    parent, blocked = one.submit(_state).future.result()
    assert parent == forkserver._forkserver._forkserver_pid != os.getpid()
    assert signal.SIGINT in blocked
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_the_server_imports_libraries_and_opens_no_device():
    """A fork of a process in which XLA has threads would hang.

    Nor do the server, `train` and what workers of clusters need import scipy.stats, which takes
    half a second.
    """
    program = f"""
import sys
for library in {fork_server._LIBRARIES}:
    __import__(library)
from jax._src import xla_bridge
print("jax" in sys.modules, "attnscape.experiments.experiment" in sys.modules)
print(xla_bridge.backends_are_initialized())
import attnscape.cli.commands.train, attnscape.workflows.fresh
print("scipy.stats" in sys.modules)
"""
    assert python(program).split() == ["True", "True", "False", "False"]


def test_the_server_is_started_before_anything_long_is_imported():
    program = """
import sys
from attnscape.workflows import fork_server
fork_server.start()
print([name for name in ("jax", "numpy", "scipy", "attnscape.training") if name in sys.modules])
"""
    assert python(program).strip() == "[]"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, True),
        ({"task": "my.py:task"}, False),
        ({"model": "my.py:model"}, False),
        ({"cluster": "local:2"}, False),
        ({"out": "made"}, False),
    ],
)
def test_it_is_started_early_where_runs_will_be_computed(options, expected, tmp_path, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "report.html").touch()
    out = tmp_path / options.pop("out", "new")
    assert _computes_here(Reproduce(out=Path(out), **options)) == expected
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    assert not _computes_here(Reproduce(out=Path(out), **options))

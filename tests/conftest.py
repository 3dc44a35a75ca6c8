"""Strictness for all tests: shapes checked at run time, no silent broadcasting of ranks."""

import os
import sys

# Most of the suite's time is LLVM's, for programs that run once. Without its optimizations it takes
# two thirds; the reproduction in .ci/run has them. Before anything starts XLA.
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0"

import jax
import jaxtyping
import pytest
from hypothesis import settings

# Before anything imports attnscape: every annotated shape of the rooms that hold arrays of JAX or
# tensors is checked when a test calls it. (Numpy's scalars do not pass for its arrays in the other
# rooms.)
ROOMS = ("tasks", "models", "objective", "measures", "steppers", "training", "torch", "networks")
jaxtyping.install_import_hook([f"attnscape.{room}" for room in ROOMS], "beartype.beartype")
jax.config.update("jax_numpy_rank_promotion", "raise")

settings.register_profile("attnscape", derandomize=True, deadline=None, max_examples=20)
settings.load_profile("attnscape")


def pytest_configure(config):
    # The suite also passes where the kernels are missing or switched off.
    config.addinivalue_line("filterwarnings", "ignore:The native kernels:RuntimeWarning")


def pytest_collection_modifyitems(config, items):
    if config.option.markexpr:
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if item not in slow]


@pytest.fixture
def attnscape(monkeypatch, capsys):
    """Runs the command in this process and returns what it printed."""

    def call(*words):
        from attnscape.cli.main import main

        monkeypatch.setattr(sys, "argv", ["attnscape", *map(str, words)])
        main()
        return capsys.readouterr().out

    return call


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def unchecked():
    """Without run-time shape checks: what a user sees who makes a mistake."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)

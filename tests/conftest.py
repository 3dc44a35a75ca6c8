"""Strictness for all tests: shapes checked at run time, no silent broadcasting of ranks."""

import gc
import os
import sys
import tempfile

# Most of the suite's time is the compiler's, for programs that run once. Without LLVM's
# optimizations it takes two thirds, and two thirds of that where XLA itself writes LLVM's code for
# fusions, not MLIR. LLVM's modules are not split for threads that other workers keep busy: that
# takes a third more. The reproduction in .ci/run has all of it. Before anything starts XLA.
os.environ["XLA_FLAGS"] = " ".join(
    (
        os.environ.get("XLA_FLAGS", ""),
        "--xla_backend_optimization_level=0",
        "--xla_llvm_disable_expensive_passes=true",
        "--xla_cpu_use_fusion_emitters=false",
        "--xla_cpu_parallel_codegen_split_count=1",
    )
)

# OpenBLAS has threads that wait awake for the next product: where other workers keep processors
# busy, that takes more than the products do. Tests of its threads ask for two.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# PyTorch's threads wait for each other asleep: where other workers keep processors busy, waiting
# awake takes five times as long as the work. Before anything imports PyTorch.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

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
# Other examples each time, and more: `make nightly`.
settings.register_profile("nightly", deadline=None, max_examples=400, print_blob=True)
settings.load_profile("attnscape")


def pytest_configure(config):
    # The suite also passes where the kernels are missing or switched off.
    config.addinivalue_line("filterwarnings", "ignore:The native kernels:RuntimeWarning")
    keep_what_is_compiled(config)


def keep_what_is_compiled(config):
    """No test compiles again what another has compiled, nor do the commands that tests start.

    The folder of programs serves one run of the suite, all workers of xdist, and nothing after it.
    Programs that call Python back are never kept. XLA compiles for its number of threads and for
    the processors that it may use, which JAX does not look at: tests that change them set
    JAX_ENABLE_COMPILATION_CACHE.
    """
    # JAX writes files in place: who reads half of one is told so, and compiles the program itself.
    unread = "ignore:Error reading persistent compilation cache entry:UserWarning"
    config.addinivalue_line("filterwarnings", unread)
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:  # by the process that started this worker
        return
    folder = tempfile.TemporaryDirectory(prefix="attnscape-compiled-", ignore_cleanup_errors=True)
    config.add_cleanup(folder.cleanup)
    for name, value in {
        "jax_compilation_cache_dir": folder.name,
        "jax_persistent_cache_min_compile_time_secs": 0.0,
    }.items():
        jax.config.update(name, value)
        os.environ[name.upper()] = str(value)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """One more than processors: many tests wait, for a browser, a scheduler or a time to pass."""
    return len(os.sched_getaffinity(0)) + 1 if hasattr(os, "sched_getaffinity") else None


def pytest_collection_finish():
    """Looking through all objects for garbage would take a tenth of the suite's time.

    What is imported by now stays, and what tests leave is looked through a tenth as often.
    """
    gc.freeze()
    gc.set_threshold(2_000, 10, 30)


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


@pytest.fixture(autouse=True, scope="session")
def _in_this_process():
    """Runs are computed here: each worker of xdist would start processes, and compile in each.

    For the whole session, as fixtures of a module are made before those of a test.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("attnscape.workflows.run_queue.processors", lambda: 1)
        yield


@pytest.fixture(scope="module")
def one_browser():
    """Tests of a file have tabs of one browser, as each start takes a second."""
    import browser

    with browser.started():
        yield


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

"""Seeds on threads: in parallel where that is safe, stopped together, the same bits."""

import contextlib
import contextvars
import functools
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from attnscape import LinearTransformer, RegressionTask, train
from attnscape.measures import Curvature, EvaluationLoss, at
from attnscape.optimizers import PAPER
from attnscape.training import _engine, _seeds, _threads, sizes
from attnscape.training._threads import FirstCallAlone, for_each_seed
from support import PlainExternal

SEEDS = (5, 3, 8, 1)
TASK = RegressionTask(dim=3, context=7)
MODEL = functools.partial(LinearTransformer.init, layers=2, dim=3, scale=0.3)
LOSS = (EvaluationLoss(at(0, 9)),)


@pytest.fixture
def threads_used(monkeypatch):
    """The numbers of threads that trainings use, on a machine that says it has four processors."""
    used, on_threads = [], _seeds.for_each_seed

    def watched(run, seeds, threads, report):
        used.append(threads)
        return on_threads(run, seeds, threads, report)

    monkeypatch.setattr(_engine, "processors", lambda: 4)
    monkeypatch.setattr(_seeds, "for_each_seed", watched)
    return used


def trained(optimizers=PAPER, seeds=SEEDS, measures=LOSS, **changes):
    settings = {"steps": 9, "batch": 40, "evaluation_batch": 30} | changes
    return train(TASK, MODEL, optimizers, 0.1, seeds, measures=measures, **settings)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_threads_change_no_bit(precision, threads_used, monkeypatch):
    measures = (EvaluationLoss(at(0, 9)), Curvature(at(4)))
    together = trained(measures=measures, precision=precision)
    monkeypatch.setattr(_engine, "processors", lambda: 1)
    alone = trained(measures=measures, precision=precision)
    assert threads_used == [4, 1]
    assert together["loss"].dtype == precision
    for name, array in alone.variables.items():
        np.testing.assert_array_equal(together[name].values, array.values, err_msg=name)


def with_callback(learning_rate):
    """SGD whose update runs Python code."""

    def update(updates, state, params=None):
        shape = jax.ShapeDtypeStruct((), jnp.float32)
        rate = jax.pure_callback(lambda: np.float32(0.1), shape, vmap_method="broadcast_all")
        return jax.tree.map(lambda u: -rate * u, updates), state

    return optax.GradientTransformation(lambda params: (), update)


def with_print(learning_rate):
    """SGD whose updates print, one seed after the other."""

    def update(updates, state, params=None):
        jax.debug.print("step")
        return jax.tree.map(lambda u: -learning_rate * u, updates), state

    return optax.GradientTransformation(lambda params: (), update)


class OwnLoss(EvaluationLoss):
    """A measure of the user's own."""


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizers": {"outside": PlainExternal()}},
        {"optimizers": {"callback": with_callback}},
        {"optimizers": {"print": with_print}},
        {"measures": (OwnLoss(at(0)),)},
    ],
)
def test_python_code_gets_one_seed_after_the_other(changes, threads_used):
    trained(**changes)
    assert threads_used == [1]


def test_settings_of_a_context_manager_are_kept(threads_used):
    """They belong to the thread of the caller."""
    with jax.debug_nans(True):
        trained()
    assert threads_used == [1]


def test_memory_limits_how_many_seeds_are_trained_at_once(threads_used, monkeypatch):
    monkeypatch.setattr(sizes, "available_memory", lambda: sizes.PROCESS + 5_000_000)
    trained(batch=10_000)
    assert threads_used == [1]


def test_results_come_in_the_order_of_the_seeds():
    waits = dict(zip(SEEDS, (0.2, 0.1, 0.0, 0.1), strict=True))

    def run(seed, report):
        time.sleep(waits[seed])
        report(1)
        return seed

    seen = []
    assert for_each_seed(run, SEEDS, 3, seen.append) == list(SEEDS)
    assert seen == [1, 2, 3, 4]


def test_a_failure_stops_all_seeds_and_is_raised():
    steps = dict.fromkeys(SEEDS, 0)

    def run(seed, report):
        if seed == 3:
            raise SystemExit("the user's sys.exit")
        for steps[seed] in range(1000):
            time.sleep(0.01)
            report(steps[seed])

    with pytest.raises(SystemExit, match=r"the user's sys\.exit"):
        for_each_seed(run, SEEDS, 2, lambda done: None)
    assert max(steps.values()) < 100


def test_ctrl_c_while_the_caller_waits_stops_all_seeds():
    def interrupt(done):
        raise KeyboardInterrupt

    running = []

    def run(seed, report):
        running.append(seed)
        for step in range(1000):
            time.sleep(0.01)
            report(step)

    with pytest.raises(KeyboardInterrupt):
        for_each_seed(run, SEEDS, 2, interrupt)
    assert sorted(running) == sorted(SEEDS[:2])


def test_reports_are_made_on_the_callers_thread():
    callers = set()
    for_each_seed(
        lambda seed, report: report(1), SEEDS, 2, lambda done: callers.add(threading.get_ident())
    )
    assert callers == {threading.get_ident()}


def test_first_calls_are_made_one_at_a_time():
    first_alone, inside, most = FirstCallAlone(), [], []

    def call():
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.02)
        inside.pop()

    for_each_seed(lambda seed, report: first_alone(seed, call), SEEDS, 4, lambda done: None)
    assert max(most) == 1


def test_users_models_are_made_one_at_a_time(threads_used):
    busy = []

    def model(key):
        busy.append(1)
        assert len(busy) == 1
        time.sleep(0.02)
        busy.pop()
        return MODEL(key)

    train(TASK, model, {"mine": lambda rate: optax.sgd(rate)}, 0.1, SEEDS, steps=2, batch=40)
    assert threads_used == [4]


def test_each_seed_sees_the_callers_context():
    word = contextvars.ContextVar("word", default="nothing")
    word.set("something")
    assert for_each_seed(lambda *_: word.get(), SEEDS, 2, lambda done: None) == ["something"] * 4


def test_kernels_are_told_how_many_threads_call_them(threads_used, monkeypatch):
    calls, callers = [], _threads.native.callers

    @contextlib.contextmanager
    def watched(count):
        calls.append(count)
        with callers(count):
            yield
        calls.append(-count)

    monkeypatch.setattr(_threads.native, "callers", watched)
    trained()
    assert calls == [4, -4]


def test_blas_has_one_thread_until_the_last_context_ends():
    def threads():
        return [
            pool["num_threads"] for pool in _threads._pools().info() if pool["user_api"] == "blas"
        ]

    with _threads._pools().limit(limits=2, user_api="blas"):
        before = threads()
        check_blas(threads)
        assert threads() == before != [1] * len(before)


def check_blas(threads):
    outer, inner = _threads.one_blas_thread(), _threads.one_blas_thread()
    outer.__enter__()
    inner.__enter__()
    outer.__exit__(None, None, None)  # as two threads leave in any order
    assert set(threads()) == {1}
    inner.__exit__(None, None, None)

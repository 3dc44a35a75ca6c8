"""The benchmarks: they compare equals, and what they measure can be stored and shown."""

import dataclasses
import io
import json
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from rich.console import Console

from attnscape import native, optimizers, train, value_and_grad
from attnscape.measures import Parameters, every
from benchmarks import instructions, jax_tokens
from benchmarks.__main__ import measure
from benchmarks.agreement import DisagreementError, require_agreement
from benchmarks.clock import Training
from benchmarks.effort import QUICK, TASKS, model
from benchmarks.engine import engine
from benchmarks.models import CASES
from benchmarks.speed import page
from benchmarks.table import tables
from support import needs_kernels, needs_torch, relative

TINY = dataclasses.replace(
    QUICK,
    rounds=1,
    seconds=1e-3,
    batch=100,
    training=((1, 2, 1),),
    models=("softmax",),
    settings=(1,),
    kernels=(("hvp", "block", 8, 5, "float64"),),
    contexts=(5,),
    depths=(2,),
    batches=(),
    widths=(),
)


@needs_torch
@pytest.mark.parametrize("form", ["tuned", "as_written"])
@pytest.mark.parametrize("setting", TASKS)
def test_the_eager_loops_have_the_loss_and_gradient_of_attnscape(form, setting):
    from benchmarks import eager_torch

    require_agreement(form, eager_torch.FORMS[form], model(3), TASKS[setting])


@needs_torch
@pytest.mark.parametrize("name", CASES)
def test_the_eager_loops_of_other_models_have_their_loss_and_gradient(name):
    from benchmarks import eager_torch

    case = CASES[name]
    require_agreement(name, getattr(eager_torch, case.predict), case.make, case.task)


@needs_torch
def test_what_differs_is_not_compared():
    from benchmarks import eager_torch

    def scaled(P, Q, tokens):
        return eager_torch.tuned(P, Q * (1 + 1e-9), tokens)

    with pytest.raises(DisagreementError, match=r"'scaled' differs from attnscape's by .*e-"):
        require_agreement("scaled", scaled, model(3), TASKS[1])


def numbers(tree):
    """All numbers of nested dicts and lists that hold measurements."""
    if isinstance(tree, dict):
        return [number for part in tree.values() for number in numbers(part)]
    if isinstance(tree, list):
        return [number for part in tree for number in numbers(part)]
    return [tree] if isinstance(tree, int | float) else []


@pytest.fixture(scope="module")
def result():
    # Nobody reads these times, so what XLA makes need not be fast either.
    jax.config.update("jax_disable_most_optimizations", True)
    yield measure(TINY)
    jax.config.update("jax_disable_most_optimizations", False)


def test_everything_measured_is_positive_and_can_be_stored(result):
    assert list(result) == [
        "schema",
        "batch",
        "machine",
        "versions",
        "training",
        "models",
        "bridge",
        "kernels",
        "hessian",
        "drawing",
        "scaling",
    ]
    assert len(result["kernels"]) == (0 if native.why_unavailable() else len(TINY.kernels))
    found = numbers(json.loads(json.dumps(result, allow_nan=False)))
    assert all(number > 0 and math.isfinite(number) for number in found)


@needs_torch
@needs_kernels
def test_every_part_is_compared_with_torch_or_with_the_peak(result):
    for row in result["training"]["rows"]:
        assert {"step", "tuned", "as_written"} <= set(row)
    assert all("ratio" in row["torch"] for row in result["models"])
    assert all("share_of_peak" in row for row in result["kernels"])
    assert "ratio" in result["hessian"]
    assert all("ratio" in row for row in result["drawing"])


def test_a_timed_training_makes_the_steps_that_train_makes():
    """Its steps were once fewer than it counted, when `train` began to report more often."""
    parts = {
        "task": TASKS[1],
        "model": model(1),
        "optimizers": {"sgdm": optimizers.sgdm, "adam": optimizers.adam},
        "learning_rates": [0.01, 0.02],
        "seeds": [0, 3],
        "batch": 50,
    }
    timed = Training(5, **parts)
    assert timed.seconds_per_step() > 0  # the second segment; the first one compiled
    wanted = train(**parts, steps=10, measures=[Parameters(every(10))])["parameters"]
    for seed in parts["seeds"]:
        (runs,) = timed._runs[seed]
        for name, models in zip(parts["optimizers"], runs.models, strict=True):
            got = jax.vmap(lambda one: ravel_pytree(one)[0])(jax.tree.map(lambda a: a[0], models))
            np.testing.assert_array_equal(got, wanted.sel(optimizer=name, seed=seed, step=10))


def test_the_peer_in_jax_has_the_loss_and_gradient_of_attnscape():
    with jax.enable_x64(True):
        ours = model(3, dtype="float64")(jax.random.key(0))
        prompts = TASKS[1].sample(jax.random.key(1), 50, "float64")
        tokens = jax_tokens.tokens_of(
            jnp.concatenate([prompts.x, prompts.query[:, None]], axis=1),
            jnp.concatenate([prompts.y, prompts.target[:, None]], axis=1),
        )
        got = jax.value_and_grad(jax_tokens.loss)((ours.P, ours.Q), *tokens)
        assert relative(got, value_and_grad(ours, prompts)) < 1e-10


def test_the_peer_in_jax_learns():
    grid = {"optimizers": {"adam": optimizers.adam}, "learning_rates": [0.001, 0.02], "seeds": [3]}
    more = jax_tokens.training(**grid, layers=1, batch=100)
    fresh = jax_tokens.draw(jax.random.key(7), 1000)
    losses = [
        jax.vmap(jax_tokens.loss, (0, None, None))(
            jax.tree.map(lambda array: array[0], more(steps)["adam"]), *fresh
        )
        for steps in (1, 200)
    ]
    assert losses[1][1] < losses[1][0] < losses[0][0]
    assert losses[1][1] < 0.7 * losses[0][1]


@needs_kernels
def test_the_parts_of_a_step_are_all_of_it_and_stand_on_the_page():
    measured = engine(TINY, all_runs=(1,))
    (row,) = measured["rows"]
    parts = sum(np.array(row[name]["all"]) for name in ("drawing", "kernel", "calls", "updates"))
    np.testing.assert_allclose(parts, row["processor"]["all"])
    clocks = {"wall": row["step"], "processor": row["processor"]}
    peers = {"batch": 100, "rows": [{"runs": 1, "attnscape": clocks, "JAX": clocks}]}
    row["idle"] |= {"median": 0.0012739, "low": 0.000999, "high": 0.012345}
    written = page({"kernels": "avx2", "engine": measured, "peers": peers}, instructions.stored())
    (one_thread,) = re.findall(r"^\| one thread \| (\S+) \[", written, re.MULTILINE)
    shown = float(one_thread.replace(",", ""))
    np.testing.assert_allclose(shown, 1e6 * row["processor"]["median"], rtol=0.005)
    assert "| idle | 1,270 [999, 12,300] |" in written
    assert "| gradient, block | 3 | 5 | float32 |" in written
    rows = [line.count("|") for line in written.splitlines() if line.startswith("|")]
    # Instructions, the engine at one number of runs, one peer: more columns would not fit a page.
    assert set(rows) == {8, 3, 5}


def test_tables_fit_a_terminal_of_100_columns(result):
    written = io.StringIO()
    Console(file=written, width=1000).print(*tables(result))
    assert max(len(line.rstrip()) for line in written.getvalue().splitlines()) <= 100

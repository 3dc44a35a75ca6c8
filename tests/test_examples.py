"""The example and the tutorial run, and compute what attnscape does."""

import importlib.util
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest

from attnscape import LinearTransformer, Prompts, loss, objective
from support import needs_torch, quick_jit, relative

HERE = Path(__file__).parents[1]
MINIMAL = HERE / "examples" / "minimal.py"


@pytest.fixture
def minimal():
    spec = importlib.util.spec_from_file_location("minimal", MINIMAL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def as_prompts(Z, target):
    return Prompts(Z[:, :-1, :-1].mT, Z[:, -1, :-1], Z[:, :-1, -1], target)


def test_minimal_has_attnscapes_loss_gradient_and_condition_number(minimal, x64):
    with jax.numpy_rank_promotion("allow"):  # it is written for readers
        check_minimal(minimal)


def check_minimal(minimal):
    Z, target = minimal.draw(jax.random.key(3), 40)
    parameters = minimal.initial(jax.random.key(4))
    model = LinearTransformer(**parameters)
    prompts = as_prompts(Z, target)
    ours, gradient = jax.jit(jax.value_and_grad(minimal.loss))(parameters, Z, target)
    assert relative(ours, quick_jit(partial(loss, path="token"))(model, prompts)) < 1e-12
    expected = objective.value_and_grad(model, prompts)[1]
    assert relative([gradient["P"], gradient["Q"]], [expected.P, expected.Q]) < 1e-12
    diagonal = np.diag(objective.hessian(model, prompts))
    robust = np.abs(diagonal).max() / np.quantile(np.abs(diagonal), 0.5, method="lower")
    assert relative(minimal.robust_condition_number(parameters, Z, target), robust) < 1e-9


def test_minimal_steps_are_those_of_optax(minimal):
    import optax

    from attnscape.optimizers import adam, clipped, sgdm

    parameters = minimal.initial(jax.random.key(4))
    zeros = jax.tree.map(np.zeros_like, parameters)
    for step_of, mine, factory in (
        (minimal.momentum_step, zeros, sgdm),
        (minimal.adam_step, (zeros, zeros), adam),
    ):
        transformation = clipped(factory, 1.0)(0.02)
        state = transformation.init(parameters)
        for number in range(5):
            gradient = jax.tree.map(lambda a, n=number: 20 * a + n, parameters)
            updates, state = transformation.update(gradient, state, parameters)
            change, mine = step_of(0.02, minimal.clip(gradient), mine, number)
            assert relative(optax.tree.scale(-1, change), updates) < 1e-5


def test_minimal_is_short_and_imports_no_attnscape():
    text = MINIMAL.read_text()
    assert len(text.splitlines()) < 150
    assert "import attnscape" not in text
    assert "from attnscape" not in text


def test_minimal_runs_and_draws(tmp_path):
    """With other sizes: unoptimized, the Hessian in 150 parameters takes many seconds."""
    sizes = "LAYERS, DIM, CONTEXT, BATCH = "
    text = MINIMAL.read_text()
    assert f"\n{sizes}3, 5, 20, 256\n" in text
    (tmp_path / "small.py").write_text(text.replace(f"{sizes}3, 5, 20", f"{sizes}2, 2, 8"))
    command = [sys.executable, "small.py", "40"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["SGD with momentum", "Adam"]
    assert "nan" not in done.stdout
    assert (tmp_path / "minimal.png").stat().st_size > 1000


def run_tutorial(name, folder, *arguments, shorter=("", "")):
    """What a tutorial prints; `shorter` is what stands there of its steps, and what is run."""
    compiling = {k: v for k, v in os.environ.items() if k.startswith(("XLA_", "JAX_"))}
    text = (HERE / "docs" / "tutorials" / f"{name}.py").read_text()
    assert shorter[0] in text
    (folder / f"{name}.py").write_text(text.replace(*shorter))
    done = subprocess.run(
        [sys.executable, f"{name}.py", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        env={"MPLBACKEND": "agg", "PATH": "", **compiling},
    )
    assert (folder / f"{name}.png").stat().st_size > 1000
    return done.stdout.splitlines()


def test_the_first_tutorial_runs_and_draws(tmp_path):
    lines = run_tutorial("first_figure", tmp_path, shorter=("steps=1000", "steps=50"))
    assert sum(line.split()[0] in ("sgdm", "adam") for line in lines) == 4


def test_the_tutorial_of_an_optimizer_runs_and_draws(tmp_path):
    shorter = ("steps=1000", "steps=100")
    lines = run_tutorial("your_optimizer", tmp_path, tmp_path, shorter=shorter)
    assert [line.split()[0] for line in lines] == ["adam"] * 3 + ["cautious"] * 3 + ["Figure:"]


def test_the_tutorial_of_a_measure_keeps_the_contract_and_draws(attnscape, tmp_path):
    reference = f"{HERE / 'docs' / 'tutorials' / 'your_measure.py'}:LayerNorms"
    assert "FAILS" not in attnscape("check", "measure", reference)
    lines = run_tutorial("your_measure", tmp_path, tmp_path)
    assert [line.split()[0] for line in lines] == ["sgdm", "adam", "Figure:"]


def test_the_tutorial_of_a_loss_keeps_the_contract_and_draws(attnscape, tmp_path):
    reference = f"{HERE / 'docs' / 'tutorials' / 'your_loss.py'}:cauchy"
    assert "FAILS" not in attnscape("check", "loss", reference)
    lines = run_tutorial("your_loss", tmp_path, tmp_path)
    assert [line.split()[0] for line in lines] == ["squared", "Huber", "Cauchy", "Figure:"]


@needs_torch
def test_the_tutorial_of_a_pytorch_model_runs_and_draws(tmp_path):
    shorter = ("STEPS = 24, 16, 300", "STEPS = 24, 16, 100")
    lines = run_tutorial("your_pytorch_model", tmp_path, tmp_path, shorter=shorter)
    assert "5,855 parameters" in lines[0]
    # An estimated condition number has its interval beside it.
    assert any(re.search(r"\d+ \[\d+, \d+\]$", line) for line in lines)


# The shape checks of the tests are wrapped around functions that the tutorial uses.
@pytest.mark.filterwarnings("ignore:spirals .* depends on more than its code")
@needs_torch
def test_the_tutorial_of_a_network_keeps_the_contract_and_trains(attnscape, tmp_path):
    reference = f"{HERE / 'docs' / 'tutorials' / 'your_network.py'}:spirals"
    assert "FAILS" not in attnscape("check", "workload", reference)
    shown = attnscape(
        "networks", "train", reference, "--learning-rates", "sgdm=0.1", "adam=0.01", "--steps",
        "40", "--seeds", "2", "--out", tmp_path,
    )  # fmt: skip
    assert "MLP on two spirals, small size" in shown
    assert "adam" in shown

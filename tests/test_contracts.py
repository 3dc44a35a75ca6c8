"""The contracts hold for all that attnscape ships, and find what is broken on purpose."""

import functools
import random
import re
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

from attnscape import AttentionTransformer, LinearTransformer, Prompts, RegressionTask, cli
from attnscape.contracts import check_model, check_optimizer, check_task
from attnscape.models import FactoredLinearTransformer, WithMLP
from attnscape.optimizers import NAMED
from attnscape.tasks import Empirical, Gaussian, Radial, ReluNetwork, Sphere, TableTask

TASK = RegressionTask(dim=2, context=4)


def failures(findings):
    return {finding.check: finding.sentence for finding in findings if not finding.ok}


# --- What attnscape ships


@pytest.mark.parametrize("name", NAMED)
def test_named_optimizers_keep_the_contract(name):
    assert failures(check_optimizer(NAMED[name])) == {}


def test_optimizers_that_ask_for_the_loss_keep_the_contract():
    # L-BFGS with a line search is told the loss's value, gradient and function.
    assert failures(check_optimizer(optax.lbfgs)) == {}


def test_a_state_that_holds_a_random_key_can_be_saved():
    noisy = functools.partial(optax.noisy_sgd, key=jax.random.key(0))
    assert failures(check_optimizer(noisy)) == {}


@pytest.mark.parametrize(
    "model",
    [LinearTransformer, AttentionTransformer, FactoredLinearTransformer, WithMLP],
    ids=lambda model: model.__name__,
)
def test_models_keep_the_contract(model):
    factory = functools.partial(model.init, layers=2, dim=2)
    assert failures(check_model(factory, TASK)) == {}


ROWS = np.random.default_rng(0).normal(size=(30, 2))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"covariates": Gaussian([[2.0, 0.5], [0.5, 1.0]]), "noise": 0.1},
        {"covariates": Sphere(), "response": ReluNetwork()},
        {"covariates": Radial(scipy.stats.gamma(0.1, scale=10))},
        {"covariates": Empirical(ROWS)},
    ],
    ids=["gaussian", "correlated", "sphere", "radial", "empirical"],
)
def test_tasks_keep_the_contract(fields):
    assert failures(check_task(RegressionTask(dim=2, context=4, **fields))) == {}


def test_a_table_keeps_the_contract():
    assert failures(check_task(TableTask(ROWS, ROWS[:, 0], context=4))) == {}


# --- What is broken on purpose


def transformation(update, init=lambda parameters: ()):
    return lambda learning_rate: optax.GradientTransformation(init, update)


def descent(gradient, state, parameters=None):
    return jax.tree.map(lambda g: -0.1 * g, gradient), state


def doubles_type(gradient, state, parameters=None):
    return jax.tree.map(lambda g: g.astype(jnp.bfloat16), gradient), state


def at_random(gradient, state, parameters=None):
    return jax.tree.map(lambda g: -0.1 * random.random() * g, gradient), state


def nan(gradient, state, parameters=None):
    return jax.tree.map(lambda g: g * jnp.nan, gradient), state


def ascent(gradient, state, parameters=None):
    return jax.tree.map(lambda g: 0.001 * g, gradient), state


def growing(gradient, state, parameters=None):
    return descent(gradient, state)[0], jnp.append(state, 1.0)


def fails_here(learning_rate):
    raise ValueError("no luck")


def python_branch(learning_rate):
    return optax.sgd(0.1 if learning_rate > 0.05 else 0.2)


def needs_more(learning_rate, momentum):
    return optax.sgd(learning_rate, momentum)


@pytest.mark.parametrize(
    ("factory", "check", "sentence"),
    [
        (fails_here, "makes a transformation", r"It raises ValueError: no luck \(.*test_contracts"
         r"\.py, line \d+\)\."),
        (needs_more, "makes a transformation", r"It raises TypeError: .*missing 1 required.*'mome"),
        (lambda rate: rate, "makes a transformation", "It gives float for the learning rate 0.01;"),
        (python_branch, "traced learning rates", r"It raises TracerBoolConversionError: .*line "),
        (transformation(doubles_type), "shapes and types, float32", r"Updates are bfloat16\[2, 3, "
         r"3\], .* but parameters are float32\[2, 3, 3\], float32\[4\]\."),
        (transformation(growing, lambda p: jnp.ones(1)), "shapes and types, float32",
         r"The state changes from float32\[1\] to float32\[2\] in an update\."),
        (transformation(growing, lambda p: jnp.ones(1)), "compiles once", "were compiled 4 times"),
        (transformation(at_random), "deterministic", "give different updates; draw random numbers"),
        (transformation(nan), "converges", "the loss is not finite at any of the learning rates"),
        (transformation(ascent), "converges", "of the loss .*; 0.01 is asked for"),
    ],
)  # fmt: skip
def test_a_broken_optimizer_is_found(factory, check, sentence):
    found = failures(check_optimizer(factory))
    assert re.search(sentence, found[check])
    if check == "makes a transformation":
        assert list(found) == [check]


class Mean(eqx.Module):
    """w times the mean response."""

    w: jax.Array = eqx.field(default_factory=lambda: jnp.asarray(0.5))

    def __call__(self, prompts):
        return self.w * prompts.y.mean(1)


class Everything(Mean):
    def __call__(self, prompts):
        return self.w * prompts.y


class Half(Mean):
    def __call__(self, prompts):
        return super().__call__(prompts).astype(jnp.float16)


class Constant(Mean):
    def __call__(self, prompts):
        return prompts.y.mean(1) + 0 * self.w


class Infinite(Mean):
    def __call__(self, prompts):
        return super().__call__(prompts) / 0


class Noisy(Mean):
    def __call__(self, prompts):
        return super().__call__(prompts) * random.random()


class Skewed(Mean):
    w: jax.Array = eqx.field(default_factory=lambda: jnp.ones(2))

    def __call__(self, prompts):
        return skewed(self.w) * prompts.y[:, 0]


@jax.custom_jvp
def skewed(w):
    return w[0] * w[1]


@skewed.defjvp
def _(primals, tangents):
    (w,), (t,) = primals, tangents
    return skewed(w), t[0] * w[1] + 3 * t[1] * w[0]


def random_init(key):
    return Mean(jnp.asarray(random.random()))


@pytest.mark.parametrize(
    ("model", "check", "sentence"),
    [
        (fails_here, "makes a model", r"It raises ValueError: no luck \(.*line \d+\)"),
        (lambda: Mean(), "makes a model", "It raises TypeError: .*takes 0 positional arguments"),
        (lambda key: 3, "makes a model", "A key gives int, which cannot be called"),
        (lambda key: eqx.nn.Identity(), "makes a model", "there is nothing to train"),
        (random_init, "deterministic", "The same key gives different models"),
        (Noisy(), "deterministic", "gives different predictions for the same prompts"),
        (Everything(), "predictions, float32", r"are float32\[16, 4\]; they must be float32\[16\]"),
        (Half(), "predictions, float64", r"are float16\[16\]; they must be float64\[16\]"),
        (Infinite(), "predictions, float32", "Some predictions are not finite"),
        (Constant(), "gradient", "predictions do not depend on the parameters"),
        (Skewed(), "Hessian", "The Hessian is not symmetric"),
    ],
)
def test_a_broken_model_is_found(model, check, sentence):
    found = failures(check_model(model, TASK))
    assert re.search(sentence, found[check])


def test_a_small_own_model_keeps_the_contract():
    assert failures(check_model(Mean(), TASK)) == {}


class OwnTask:
    dim, context = 2, 4

    def sample(self, key, batch, dtype="float32"):
        return TASK.sample(key, batch, dtype)

    def sample_moments(self, key, batch, dtype="float32"):
        return self.sample(key, batch, dtype).moments()


class Single(OwnTask):
    def sample(self, key, batch, dtype="float32"):
        return TASK.sample(key, batch, "float32")


class Longer(OwnTask):
    context = 5


class Arrays(OwnTask):
    def sample(self, key, batch, dtype="float32"):
        return tuple(jax.tree.leaves(TASK.sample(key, batch, dtype)))


class Same(OwnTask):
    def sample(self, key, batch, dtype="float32"):
        return TASK.sample(jax.random.key(0), batch, dtype)


class Global(OwnTask):
    def sample(self, key, batch, dtype="float32"):
        return TASK.sample(jax.random.key(random.randrange(2**31)), batch, dtype)


class Empty(OwnTask):
    def sample(self, key, batch, dtype="float32"):
        return jax.tree.map(lambda a: a / 0, TASK.sample(key, batch, dtype))


class Wrong(OwnTask):
    def sample_moments(self, key, batch, dtype="float32"):
        return jax.tree.map(lambda a: 2 * a, super().sample_moments(key, batch, dtype))


class Numpy(OwnTask):
    def sample(self, key, batch, dtype="float32"):
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        x = jnp.asarray(rng.normal(size=(batch, 5, 2)), dtype)
        return Prompts(x[:, :-1], x[:, :-1, 0], x[:, -1], x[:, -1, 0])


@pytest.mark.parametrize(
    ("task", "check", "sentence"),
    [
        (lambda: [][0], "is a task", r"It raises IndexError: .*line \d+\)"),
        (object, "is a task", "has no dim and no context and no sample and no sample_moments"),
        (Single, "prompts, float64", r"Prompts are float32\[.*; they must be float64\["),
        (Longer, "prompts, float32", r"Prompts are float32\[16, 4, 2\].* must be float32\[16, 5, "),
        (Arrays, "prompts, float32", "sample gives tuple; it must give attnscape.Prompts"),
        (Same, "deterministic", "Different keys give the same prompts"),
        (Global, "deterministic", "The same key gives different prompts"),
        (Empty, "prompts, float32", "Some prompts are not finite"),
        (Wrong, "moments, float64", "Moments are not those of the prompts"),
        (Numpy, "jit and vmap", r"It raises Tracer\w+Error: .*line \d+\)"),
    ],
)
def test_a_broken_task_is_found(task, check, sentence, unchecked):
    assert re.search(sentence, failures(check_task(task))[check])


def test_an_own_task_keeps_the_contract():
    assert failures(check_task(OwnTask)) == {}


# --- On the command line


def test_check_prints_a_table_and_fails_where_a_check_does(tmp_path, monkeypatch, capsys):
    path = tmp_path / "mine.py"
    path.write_text(
        "import optax\n\n\ndef good(rate):\n    return optax.sgd(rate)\n\n\n"
        "def bad(rate):\n    return optax.sgd(float(rate))\n"
    )

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["attnscape", "check", *words])
        cli.main()

    call("optimizer", f"{path}:good")
    assert "FAILS" not in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        call("optimizer", f"{path}:bad")
    shown = capsys.readouterr().out
    assert "FAILS" in shown
    assert "ConcretizationTypeError" in shown
    assert re.fullmatch(
        r"attnscape: .*mine.py:bad does not keep the contract of an optimizer: .*\.",
        str(end.value.code),
    )
    with pytest.raises(SystemExit) as end:
        call("task", f"{path}:none")
    assert "has no 'none'; it defines bad, good." in str(end.value.code)

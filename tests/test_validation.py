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

from attnscape import AttentionTransformer, LinearTransformer, RegressionTask
from attnscape.cli.main import main
from attnscape.models import FactoredLinearTransformer, MultiHeadTransformer, WithMLP
from attnscape.optimizers import NAMED
from attnscape.tasks import (
    Empirical,
    Gaussian,
    Linear,
    OneHot,
    Radial,
    ReluNetwork,
    Sphere,
    TableTask,
)
from attnscape.validation import (
    check_distribution,
    check_model,
    check_optimizer,
    check_response,
    check_task,
)
from attnscape.validation._effects import effects
from attnscape.validation._remembered import remembered

TASK = RegressionTask(dim=2, context=4)


def failures(findings):
    return {finding.check: finding.sentence for finding in findings if not finding.ok}


# --- What attnscape ships


@pytest.mark.parametrize("name", NAMED)
def test_named_optimizers_keep_the_contract(name):
    findings = check_optimizer(NAMED[name])
    assert failures(findings) == {}
    assert [finding.sentence for finding in findings if finding.warning] == []


def test_optimizers_that_ask_for_the_loss_keep_the_contract():
    # L-BFGS with a line search is told the loss's value, gradient and function.
    assert failures(check_optimizer(lambda learning_rate: optax.lbfgs(learning_rate))) == {}


def test_a_state_that_holds_a_random_key_can_be_saved():
    findings = check_optimizer(lambda rate: optax.noisy_sgd(rate, key=jax.random.key(0)))
    assert failures(findings) == {}


@pytest.mark.parametrize(
    "model",
    [
        LinearTransformer,
        AttentionTransformer,
        FactoredLinearTransformer,
        MultiHeadTransformer,
        WithMLP,
    ],
    ids=lambda model: model.__name__,
)
def test_models_keep_the_contract(model):
    factory = functools.partial(model.init, layers=2, dim=2)
    assert failures(check_model(factory, TASK)) == {}


ROWS5 = np.random.default_rng(0).normal(size=(3000, 5))
ROWS = np.random.default_rng(0).normal(size=(30, 2))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"covariates": Gaussian([[2.0, 0.5], [0.5, 1.0]]), "noise": 0.1},
        {"covariates": Sphere(), "response": ReluNetwork()},
        {"covariates": OneHot()},
        {"covariates": Radial(scipy.stats.gamma(0.1, scale=10))},
        {"covariates": Empirical(ROWS)},
    ],
    ids=["gaussian", "correlated", "sphere", "one-hot", "radial", "empirical"],
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


def at_random(gradient, state, parameters=None):
    def noisy(g):
        return jax.pure_callback(
            lambda g: np.float32(random.random()) * np.asarray(g), g, g, vmap_method="expand_dims"
        )

    return jax.tree.map(noisy, gradient), state


def nan(gradient, state, parameters=None):
    return jax.tree.map(lambda g: g * jnp.nan, gradient), state


def ascent(gradient, state, parameters=None):
    return jax.tree.map(lambda g: 0.001 * g, gradient), state


def python_branch(learning_rate):
    return optax.sgd(0.1 if learning_rate > 0.05 else 0.2)


@pytest.mark.parametrize(
    ("factory", "check", "sentence"),
    [
        (transformation(at_random), "deterministic", "give different updates; draw random numbers"),
        (transformation(nan), "converges", "the loss is not finite at any of the learning rates"),
        (transformation(ascent), "converges", "of the loss .*; 0.01 is asked for"),
    ],
)
def test_a_broken_optimizer_is_found(factory, check, sentence):
    found = failures(check_optimizer(factory))
    assert re.search(sentence, found[check])


def test_learning_rates_need_not_be_traced():
    findings = {finding.check: finding for finding in check_optimizer(python_branch)}
    assert all(finding.ok for finding in findings.values())
    assert "needs learning rates as numbers" in findings["learning rates"].sentence


def forgetful(rate, weight_decay=0.01, nesterov=False, betas=(0.9, 0.99), mask=None, **rest):
    """Adam that applies one of its arguments, and checks another without using it."""
    if not 0 <= weight_decay <= 1:
        raise ValueError("a decay is between 0 and 1")
    return optax.adam(rate, b1=betas[0])


def straight(rate, scale=1.0, kind="plain"):
    """Steps that do not depend on the gradient, so that paths are known."""
    if kind != "plain":
        raise ValueError("there is one kind")

    def update(gradient, state, parameters=None):
        return jax.tree.map(lambda g: jnp.full_like(g, -rate * scale), gradient), state

    return transformation(update)(rate)


def one_kind(rate, size=1):
    if size != 1:
        raise ValueError("it must be 1")
    return optax.sgd(rate)


def test_arguments_that_change_nothing_are_warned_of():
    found = {finding.check: finding for finding in effects(forgetful)}
    assert {check for check, finding in found.items() if finding.warning} == {
        "argument weight_decay",
        "argument nesterov",
        "argument betas[1]",
    }
    decay = found["argument weight_decay"].sentence
    assert decay.startswith("It changes nothing: 0.005, 0.505, 0.11, 1e-05 instead of 0.01 give")
    assert "(refused: 10.0 (ValueError: a decay is between 0 and 1" in decay
    assert found["argument betas[0]"].sentence.startswith("From 0.9 to 0.45, it changes the steps")
    assert found["argument mask"].sentence.startswith("It was left at None")
    assert found["**rest"].ok


def test_the_size_of_an_effect_is_relative_to_the_path():
    scale, kind = effects(straight)
    # Half as long steps: after twelve of them, six steps behind; the first step begins the path.
    assert scale.sentence == "From 1.0 to 0.5, it changes the steps by 0.55 of their length."
    assert kind.sentence.startswith("It was left at 'plain'")
    (size,) = effects(one_kind)
    assert (size.ok, size.warning) == (True, False)
    assert re.match(r"Other values than 1 are refused: 2 \(ValueError: it must be 1", size.sentence)


class Mean(eqx.Module):
    """w times the mean response."""

    w: jax.Array = eqx.field(default_factory=lambda: jnp.asarray(0.5))

    def __call__(self, prompts):
        return self.w * prompts.y.mean(1)


class Constant(Mean):
    def __call__(self, prompts):
        return prompts.y.mean(1) + 0 * self.w


class Infinite(Mean):
    def __call__(self, prompts):
        return super().__call__(prompts) / 0


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


@pytest.mark.parametrize(
    ("model", "check", "sentence"),
    [
        (Infinite(), "finite, float32", "Some predictions are not finite"),
        (Constant(), "gradient's values", "predictions do not depend on the parameters"),
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


class Empty(OwnTask):
    def sample(self, key, batch, dtype="float32"):
        return jax.tree.map(lambda a: a / 0, TASK.sample(key, batch, dtype))


class Wrong(OwnTask):
    def sample_moments(self, key, batch, dtype="float32"):
        return jax.tree.map(lambda a: 2 * a, super().sample_moments(key, batch, dtype))


@pytest.mark.parametrize(
    ("task", "check", "sentence"),
    [
        (Single, "prompts, float64", r"sample gives float32\[.*; it must give float64\["),
        (Empty, "finite, float32", "Some prompts are not finite"),
        (Wrong, "moments' values, float64", "Moments are not those of the prompts"),
    ],
)
def test_a_broken_task_is_found(task, check, sentence, unchecked):
    assert re.search(sentence, failures(check_task(task))[check])


def test_an_own_task_keeps_the_contract():
    assert failures(check_task(OwnTask)) == {}


def repeats(key, batch, n, d):
    return jnp.repeat(jax.random.normal(key, (1, n, d)), batch, axis=0)


def infinite(key, batch, n, d):
    return jax.random.normal(key, (batch, n, d)) / 0


def centred(x, w):
    y = jnp.einsum("bnd,bd->bn", x, w)
    return y - y.mean()


def test_distributions_and_responses_are_checked():
    for distribution in (
        Gaussian(),
        Sphere(),
        OneHot(),
        Radial(scipy.stats.gamma(0.1, scale=10)),
        Empirical(ROWS5),
    ):
        assert failures(check_distribution(distribution)) == {}
    for response in (Linear(), ReluNetwork()):
        assert failures(check_response(response)) == {}
    assert "Two prompts of a batch are equal" in failures(check_distribution(repeats))["prompts"]
    assert "not finite" in failures(check_distribution(infinite))["finite"]
    found = failures(check_response(centred))["each prompt for itself"]
    assert "depends on the other prompts of its batch" in found


def test_a_part_that_passed_is_not_checked_again():
    """Also if it is made anew of the same arguments: a partial is equal to itself only."""
    checked = []
    check = remembered(lambda model, batch: checked.append((model.keywords["scale"], batch)))
    for scale in (1, 1, 2, 1.0, 1):
        check(functools.partial(LinearTransformer.init, scale=scale), 8)
    assert checked == [(1, 8), (2, 8), (1.0, 8)]
    assert [type(scale) for scale, _ in checked] == [int, int, float]
    other = functools.partial(LinearTransformer.init, scale=ROWS)  # an array has no hash
    for model in (other, other, functools.partial(other)):
        check(model, 8)
    assert len(checked) == 5


# --- On the command line


def test_check_prints_a_table_and_fails_where_a_check_does(tmp_path, monkeypatch, capsys):
    path = tmp_path / "mine.py"
    path.write_text(
        "import optax\n\n\ndef good(rate):\n    return optax.sgd(rate)\n\n\n"
        "def bad(rate):\n    raise KeyError('luck')\n"
    )

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["attnscape", "check", *words])
        main()

    call("optimizer", f"{path}:good")
    assert "FAILS" not in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        call("optimizer", f"{path}:bad")
    shown = capsys.readouterr().out
    assert "FAILS" in shown
    assert "KeyError: 'luck'" in shown
    assert re.fullmatch(
        r"attnscape: .*mine.py:bad does not keep the contract of an optimizer: .*\.",
        str(end.value.code),
    )
    path.write_text("def law(key, batch, n, d):\n    return 3\n")
    with pytest.raises(SystemExit) as end:
        call("distribution", f"{path}:law")
    assert "does not keep the contract of a distribution: shapes and types" in str(end.value.code)
    path.write_text("def bad():\n    pass\n\n\ndef good():\n    pass\n")
    with pytest.raises(SystemExit) as end:
        call("task", f"{path}:none")
    assert "has no 'none'; it defines bad, good." in str(end.value.code)

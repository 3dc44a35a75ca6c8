"""Sparsity of attention scores: the measure against hand-made scores, and the artifact."""

from __future__ import annotations

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from attnscape import AttentionTransformer, LinearTransformer, Prompts, RegressionTask
from attnscape.errors import UsageError
from attnscape.experiments.setting import Plan
from attnscape.measures import AttentionScores, Iterate
from attnscape.models import MultiHeadTransformer
from attnscape.paper.extended.attention_scores import ATTENTION_SCORES
from attnscape.report.draw import draw
from attnscape.tasks import Gaussian, OneHot, Sphere
from attnscape.validation import check_measure
from attnscape.workflows.make import make
from claims_support import diverging
from claims_support import made as made_of_world

SHARE = "attention_effective_share"


def measured(model, prompts):
    """The measure's numbers, with plain numpy arrays over layers."""
    iterate = Iterate(model, None, prompts, jax.random.key(0), None)
    found = eqx.filter_jit(lambda iterate: dict(AttentionScores()(iterate)))(iterate)
    return {name: np.asarray(value) for name, value in found.items()}


# Two prompts of three examples, and two layers: Q is the identity, and then exchanges the entries.
# P changes responses only, so that covariates are the same in both layers.
X = jnp.array([[[1.0, 0.0], [0.0, 1.0], [-1.0, 1.0]], [[2.0, 0.0], [0.0, 3.0], [1.0, 5.0]]])
PROMPTS = Prompts(X, y=jnp.ones((2, 3)), query=jnp.array([[1.0, 0.0]] * 2), target=jnp.ones(2))
Q = jnp.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]])
SCORES = np.array([[[1.0, 0, -1], [2, 0, 1]], [[0, 1, 1], [0, 3, 5]]])  # (layer, prompt, example)


@pytest.mark.parametrize("activation", ["linear", "relu", "softmax"])
def test_entropy_and_participation_are_those_of_scores_by_hand(activation):
    sizes = {"linear": np.abs, "relu": lambda s: np.maximum(s, 0), "softmax": np.exp}
    weights = sizes[activation](SCORES)
    p = weights / weights.sum(axis=-1, keepdims=True)
    entropy = scipy.stats.entropy(p, axis=-1)
    found = measured(AttentionTransformer(jnp.zeros_like(Q), Q, activation=activation), PROMPTS)
    wanted = {
        "attention_entropy": entropy.mean(axis=-1),
        SHARE: np.exp(entropy).mean(axis=-1) / 3,
        "attention_participation": (1 / (p**2).sum(axis=-1)).mean(axis=-1) / 3,
    }
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-6)


def test_equal_scores_and_no_scores_have_the_share_one_and_undefined_ones_none():
    zero = AttentionTransformer(jnp.zeros_like(Q), jnp.zeros_like(Q), activation="linear")
    np.testing.assert_allclose(measured(zero, PROMPTS)[SHARE], [1, 1], rtol=1e-6)
    lost = AttentionTransformer(jnp.zeros_like(Q), jnp.nan * Q)
    assert np.isnan(measured(lost, PROMPTS)[SHARE]).all()


def test_the_second_layer_sees_tokens_that_the_first_one_changed():
    """With P = Q = I and one example, x becomes x + x (x . x) and the query q + x (x . q)."""
    x, q = np.array([1.0, 2.0]), np.array([3.0, -1.0])
    prompts = Prompts(jnp.asarray([[x]]), jnp.ones((1, 1)), jnp.asarray([q]), jnp.ones(1))
    identity = jnp.broadcast_to(jnp.eye(2), (2, 2, 2))
    weights = LinearTransformer(identity, identity).query_attention(prompts)
    second = (x + x * (x @ x)) @ (q + x * (x @ q))
    np.testing.assert_allclose(weights[:, 0, 0], [x @ q, second], rtol=1e-6)


@pytest.mark.parametrize("law", [Gaussian(np.eye(3) / 3), Sphere()], ids=["gaussian", "sphere"])
def test_parameters_do_not_matter_to_linear_attention_where_no_rotation_matters(law):
    """Scores are products with one vector: those with e_1 have the same law up to a factor."""
    n, count = 10, 4000
    task = RegressionTask(dim=3, context=n, covariates=law)
    model = AttentionTransformer.init(jax.random.key(1), layers=1, dim=3, activation="linear")
    found = measured(model, task.sample(jax.random.key(2), count))[SHARE][0]
    rows = np.random.default_rng(0).normal(size=(count, n, 3))
    if isinstance(law, Sphere):
        rows /= np.linalg.norm(rows, axis=-1, keepdims=True)
    shares = np.exp(scipy.stats.entropy(np.abs(rows[..., 0]), axis=-1)) / n
    # Both means have this standard error; five of their difference happen once in two million.
    assert abs(found - shares.mean()) < 5 * 2**0.5 * shares.std() / count**0.5


def test_with_one_hot_covariates_and_the_identity_the_copies_of_the_query_have_all_attention():
    prompts = RegressionTask(dim=4, context=12, covariates=OneHot()).sample(jax.random.key(0), 200)
    model = AttentionTransformer(jnp.zeros((1, 4, 4)), jnp.eye(4)[None], activation="linear")
    copies = np.asarray((prompts.x == prompts.query[:, None]).all(axis=-1).sum(axis=-1))
    share = np.where(copies == 0, 1, copies / 12).mean()  # without a copy all scores are zero
    found = measured(model, prompts)
    np.testing.assert_allclose([found[SHARE], found["attention_participation"]], share, rtol=1e-5)


def test_moments_and_several_heads_are_refused():
    key, task = jax.random.key(0), RegressionTask()
    with pytest.raises(UsageError, match="moments of prompts, which have no attention scores"):
        AttentionScores()(Iterate.of(LinearTransformer.init(key), task))
    with pytest.raises(UsageError, match="MultiHeadTransformer has no attention scores of one"):
        AttentionScores()(Iterate.of(MultiHeadTransformer.init(key), task))


def test_the_measure_keeps_the_contract():
    model = functools.partial(AttentionTransformer.init, layers=2, dim=2)
    results = check_measure(AttentionScores(), RegressionTask(dim=2, context=4), model)
    assert [result.sentence for result in results if not result.ok] == []


# --- The artifact


def test_the_settings_differ_in_covariates_and_activation_and_share_second_moments():
    names = [each.name for each in ATTENTION_SCORES.settings]
    laws = ("gaussian", "sphere", "orthonormal")
    assert names == [f"{model}-{law}" for model in ("linear", "softmax") for law in laws]
    for setting in ATTENTION_SCORES.settings:
        model = setting.model(Plan())(jax.random.key(0))
        assert model.activation == setting.name.partition("-")[0]
        x = np.asarray(setting.task.sample(jax.random.key(0), 2000).x, float).reshape(-1, 5)
        products = np.einsum("ni,nj->nij", x, x)
        error = products.std(axis=0) / len(x) ** 0.5
        # 25 entries in 6 settings: six errors in one of them happen once in three million.
        assert (abs(products.mean(axis=0) - np.eye(5) / 5) <= 6 * error + 1e-12).all()


def test_it_is_made(tmp_path):
    settings = tuple(dataclasses.replace(each, batch=10) for each in ATTENTION_SCORES.settings)
    artifact = dataclasses.replace(ATTENTION_SCORES, settings=settings)
    made = make(artifact, tmp_path, Plan(seeds=2, steps=2, evaluations=1), print)
    assert {"png", "pdf", "csv", "txt"} <= set(made.files)
    assert made.frame[SHARE].between(1 / 20, 1).all()
    # Softmax's scores are nearly equal before training.
    first = made.frame[made.frame["setting"].str.startswith("softmax") & (made.frame["step"] == 0)]
    assert (first[SHARE] > 0.99).all()


def test_ratios_are_those_of_the_final_and_of_the_first_shares():
    results = made_of_world("claimed")["attention-scores"]
    analysis = ATTENTION_SCORES.analyse(results)
    table = ATTENTION_SCORES.comparison(analysis).set_index("quantity")["ours"]
    # At the middle one of the last 20 steps exp(-15) of the first value is left.
    assert table.filter(like="after training").tolist() == pytest.approx([0.5] * 8, rel=1e-5)
    assert table.filter(like="at step 0").tolist() == pytest.approx([1.0] * 8, rel=1e-6)
    assert "linear, sgdm, over gaussian 0.5 [" in ATTENTION_SCORES.sentence(analysis)


def test_diverged_runs_have_no_share_and_are_counted():
    results = dict(made_of_world("claimed")["attention-scores"])
    results["linear-sphere"] = diverging(results["linear-sphere"], "adam", seeds=2)
    analysis = ATTENTION_SCORES.analyse(results)
    lost = {each.label: each for each in analysis.trained}
    assert lost["linear, adam, over sphere"].note.startswith("not defined for 2 of 6 seeds")
    assert "not defined" not in lost["linear, sgdm, over sphere"].note
    assert ATTENTION_SCORES.sentence(analysis).count("not defined for 2 of 6 seeds") == 1
    # The line, a median over all seeds, ends with them: those that are left would look sparser.
    linear = draw(ATTENTION_SCORES, analysis).axes[0]
    ended = [np.isnan(line.get_ydata()[-1]) for line in linear.lines]
    assert ended == [False, False, False, True, False, False]  # Gaussian, sphere, orthonormal

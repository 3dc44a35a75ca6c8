"""Attention with several heads: one head, numpy and torch's formulas, and what two heads can do."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attnscape import AttentionTransformer, LinearTransformer, RegressionTask, objective
from attnscape.errors import UsageError
from attnscape.models import ACTIVATIONS, MultiHeadTransformer
from support import quick_jit, relative

SIZES = (2, 3, 3, 4)  # layers, heads, dim, context


def make_case(activation="softmax", sizes=SIZES, batch=6):
    layers, heads, dim, context = sizes
    rng = np.random.default_rng(0)
    dtype = "float64" if jax.config.jax_enable_x64 else "float32"
    P, Q = (0.3 * rng.standard_normal((2, layers, heads, dim + 1, dim + 1))).astype(dtype)
    prompts = RegressionTask(dim, context).sample(jax.random.key(1), batch, P.dtype)
    return MultiHeadTransformer(jnp.asarray(P), jnp.asarray(Q), activation), prompts


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_predictions_are_eq_8_with_a_sum_over_heads_written_out_in_numpy(x64, activation):
    model, prompts = make_case(activation)
    wanted = []
    for Z in np.asarray(prompts.tokens()):
        n = Z.shape[1] - 1
        M = np.diag([*[1.0] * n, 0.0])
        for P_layer, Q_layer in zip(np.asarray(model.P), np.asarray(model.Q), strict=True):
            change = np.zeros_like(Z)
            for P, Q in zip(P_layer, Q_layer, strict=True):
                scores = Z.T @ Q @ Z  # (key, query)
                if activation == "softmax":
                    weights = np.exp(scores) / np.exp(scores).sum(axis=0)
                else:
                    weights = np.maximum(scores, 0) if activation == "relu" else scores
                change += P @ Z @ M @ weights / n
            Z = Z + change
        wanted.append(-Z[-1, -1])
    assert relative(quick_jit(type(model).__call__)(model, prompts), np.array(wanted)) < 1e-13


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_one_head_has_the_loss_and_gradient_of_the_attention_transformer(x64, activation):
    model, prompts = make_case(activation, (3, 1, 2, 5))
    single = AttentionTransformer(model.P[:, 0], model.Q[:, 0], "full", activation)
    loss, gradient = quick_jit(objective.value_and_grad)(model, prompts)
    wanted, of_single = quick_jit(objective.value_and_grad)(single, prompts)
    assert relative(loss, wanted) < 1e-12
    assert relative(gradient.P[:, 0], of_single.P) < 1e-12
    assert relative(gradient.Q[:, 0], of_single.Q) < 1e-12


def test_linear_heads_with_one_value_matrix_are_one_head_with_the_sum_of_q(x64):
    model, prompts = make_case("linear")
    P = jnp.broadcast_to(model.P[:, :1], model.P.shape)
    heads = MultiHeadTransformer(P, model.Q, "linear")
    assert relative(heads(prompts), LinearTransformer(P[:, 0], model.Q.sum(1), "full")(prompts)) < (
        1e-12
    )


def test_two_softmax_heads_of_opposite_signs_become_one_linear_head_as_scores_shrink(x64):
    """softmax(s)_k - softmax(-s)_k = 2 (s_k - mean s) / (n + 1) + O(s^3), over all n + 1 keys.

    So with values (n + 1) / 2 times as large over the size of the scores, the two are linear
    attention on scores whose mean over keys is taken out.
    """
    _, prompts = make_case(sizes=(1, 2, 3, 4))
    n, m = 4, 4
    P = jnp.zeros((m, m)).at[-1, -1].set(1.0)
    A = (
        jnp.zeros((m, m))
        .at[:-1, :-1]
        .set(jnp.asarray(np.random.default_rng(1).normal(size=(3, 3))))
    )
    Z = prompts.tokens()
    scores = jnp.einsum("bik,ij,bj->bk", Z, A, Z[:, :, -1])
    centred = scores - scores.mean(axis=1, keepdims=True)
    wanted = -jnp.einsum("bk,bk->b", prompts.y, centred[:, :-1]) / n

    def error(size):
        values, keys = P * (n + 1) / (2 * size), size * A
        model = MultiHeadTransformer(
            jnp.stack([values, -values])[None], jnp.stack([keys, -keys])[None]
        )
        return float(abs(model(prompts) - wanted).max())

    # Odd in s, so the error falls with the square of the size; 1e-3 leaves terms of order 1e-6.
    assert error(1e-3) / error(2e-3) == pytest.approx(1 / 4, rel=0.01)
    assert error(1e-3) < 1e-4 * float(abs(wanted).max())


def test_initial_matrices_of_one_head_are_those_of_the_attention_transformer():
    key = jax.random.key(3)
    single = AttentionTransformer.init(key, layers=2, dim=3, form="full")
    model = MultiHeadTransformer.init(key, layers=2, dim=3, heads=1)
    assert np.array_equal(model.P[:, 0], single.P)
    assert np.array_equal(model.Q[:, 0], single.Q)
    two = MultiHeadTransformer.init(key, layers=2, dim=3, heads=2)
    assert two.Q.shape == (2, 2, 4, 4)
    assert not np.array_equal(two.Q[:, 0], two.Q[:, 1])


def test_mistakes_are_told_in_one_sentence(unchecked):
    model, _ = make_case()
    with pytest.raises(UsageError, match=r"must be \(layers, heads, m, m\)"):
        MultiHeadTransformer(model.P[0], model.Q[0])
    with pytest.raises(UsageError, match="make them equal"):
        MultiHeadTransformer(model.P, model.Q[:, :1])
    with pytest.raises(UsageError, match="several heads have the full form only"):
        MultiHeadTransformer.init(jax.random.key(0), form="block")
    with pytest.raises(UsageError, match="heads is 0"):
        MultiHeadTransformer.init(jax.random.key(0), heads=0)
    with pytest.raises(UsageError, match="activation is 'tanh'"):
        MultiHeadTransformer(model.P, model.Q, "tanh")  # pyright: ignore[reportArgumentType]
    other = RegressionTask(2, 4).sample(jax.random.key(0), 3)
    with pytest.raises(UsageError, match="takes 3"):
        model(other)

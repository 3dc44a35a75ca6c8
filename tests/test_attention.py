"""Attention through an activation: closed forms, PyTorch, and the native kernels against both."""

from functools import partial

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

from attnscape import AttentionTransformer, LinearTransformer, RegressionTask, objective
from attnscape.errors import UsageError
from attnscape.measures import EvaluationLoss, at
from attnscape.models import ACTIVATIONS
from attnscape.optimizers import adam
from attnscape.tasks import Prompts, _normals
from attnscape.training import train
from support import TOLERANCE, needs_kernels, needs_torch, quick_jit, relative

PATHS = [pytest.param("native", marks=needs_kernels), "token"]

cases = st.fixed_dictionaries(
    {
        "form": st.sampled_from(["block", "full"]),
        "activation": st.sampled_from(ACTIVATIONS),
        "layers": st.integers(1, 4),
        "dim": st.integers(1, 8),
        "context": st.integers(1, 25),
        "batch": st.integers(1, 300),
        "seed": st.integers(0, 2**32 - 1),
        "dtype": st.sampled_from(["float32", "float64"]),
    }
)


def make_case(
    form="block", activation="softmax", layers=3, dim=5, context=20, batch=37, seed=0, dtype=None
):
    """A model, a direction for it, and prompts; strong enough for every layer to matter."""
    rng = np.random.default_rng(seed)
    dtype = dtype or ("float64" if jax.config.jax_enable_x64 else "float32")

    def normal(*shape):
        return jnp.asarray(rng.standard_normal(shape).astype(dtype))

    size = dim + 1 if form == "full" else dim
    shape = (layers, size, size)
    P, Q = 0.3 / size * normal(*shape), 0.3 * normal(*shape)
    model = AttentionTransformer(P, Q, form, activation)
    direction = AttentionTransformer(normal(*shape), normal(*shape), form, activation)
    x, w = normal(batch, context + 1, dim), normal(batch, dim) / np.sqrt(dim).astype(dtype)
    y = jnp.einsum("bnd,bd->bn", x, w)
    return model, direction, Prompts(x[:, :-1], y[:, :-1], x[:, -1], y[:, -1])


def derivatives(model, direction, prompts, path):
    loss, gradient = objective.value_and_grad(model, prompts, path=path)
    return loss, gradient, objective.hvp(model, prompts, direction, path=path)


@needs_kernels
@settings(max_examples=8)
@given(case=cases)
def test_kernels_agree_with_the_token_form(case):
    dtype = case["dtype"]
    with jax.enable_x64(dtype == "float64"):
        made = make_case(**case)
        names = ("loss", "gradient", "hvp")
        compiled = quick_jit(derivatives, static_argnames="path")
        pairs = zip(compiled(*made, "native"), compiled(*made, "token"), strict=True)
        for name, (got, wanted) in zip(names, pairs, strict=True):
            assert relative(got, wanted) < TOLERANCE[dtype], name


@needs_torch
@pytest.mark.parametrize("form", ["block", "full"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("path", PATHS)
def test_loss_and_gradient_are_those_of_torch(x64, path, activation, form):
    import torch

    model, _, prompts = make_case(form, activation)
    n = prompts.y.shape[1]
    P, Q = (torch.tensor(np.array(a), requires_grad=True) for a in (model.P, model.Q))
    Z = torch.tensor(np.array(prompts.tokens()))
    for p, q in zip(P, Q, strict=True):
        if form == "block":
            p = torch.block_diag(p, torch.ones(1, 1, dtype=p.dtype))
            q = torch.block_diag(q, torch.zeros(1, 1, dtype=q.dtype))
        scores = Z.mT @ q @ Z
        match activation:
            case "softmax":
                weights = torch.softmax(scores, dim=1) / n  # over keys
            case "relu":
                weights = torch.relu(scores) / n
            case _:
                weights = scores / n
        Z = Z + p @ Z[:, :, :n] @ weights[:, :n]
    wanted = torch.mean((-Z[:, -1, -1] - torch.tensor(np.array(prompts.target))) ** 2)
    wanted.backward()
    loss, gradient = objective.value_and_grad(model, prompts, path=path)
    assert relative(loss, wanted.item()) < 1e-12
    assert P.grad is not None
    assert Q.grad is not None
    assert relative((gradient.P, gradient.Q), (P.grad.numpy(), Q.grad.numpy())) < 1e-12


@pytest.mark.parametrize("form", ["block", "full"])
def test_linear_activation_is_the_linear_transformer(x64, form):
    model, _, prompts = make_case(form, "linear")
    linear = LinearTransformer(model.P, model.Q, form)
    assert np.array_equal(model(prompts), linear(prompts))
    assert relative(objective.loss(model, prompts), objective.loss(linear, prompts)) < 1e-12


def test_initial_matrices_are_those_of_the_linear_transformer():
    key = jax.random.key(3)
    model = AttentionTransformer.init(key, layers=2, dim=4, form="full", activation="relu")
    linear = LinearTransformer.init(key, layers=2, dim=4, form="full")
    assert model.activation == "relu"
    assert np.array_equal(model.P, linear.P)
    assert np.array_equal(model.Q, linear.Q)


@pytest.mark.parametrize("path", PATHS)
def test_softmax_of_equal_scores_averages_over_all_tokens_but_leaves_out_the_query(x64, path):
    # Q = 0: every key has the weight 1 / (n (n + 1)), and the query's own is masked.
    model, _, prompts = make_case(layers=1, context=4)
    model = AttentionTransformer(model.P, jnp.zeros_like(model.Q), "block", "softmax")
    predictions = -jnp.sum(prompts.y, axis=1) / (4 * 5)
    wanted = jnp.mean((predictions - prompts.target) ** 2)
    assert relative(objective.loss(model, prompts, path=path), wanted) < 1e-12


def test_softmax_weights_of_a_query_sum_to_one_over_n_over_the_keys(x64):
    model, _, _ = make_case()
    # (key, query); n = 2
    scores = jnp.log(jnp.array([[[1.0, 3.0, 1.0], [2.0, 1.0, 1.0], [1.0, 4.0, 2.0]]]))
    weights = model.attention_weights(scores)
    wanted = [[[1 / 4, 3 / 8, 1 / 4], [2 / 4, 1 / 8, 1 / 4], [1 / 4, 4 / 8, 2 / 4]]]
    assert np.allclose(2 * weights, wanted, rtol=1e-15)


@pytest.mark.parametrize("path", PATHS)
def test_relu_of_positive_scores_is_linear_attention(x64, path):
    model, _, prompts = make_case("block", layers=1)
    prompts = jax.tree.map(jnp.abs, prompts)
    P, Q = jnp.abs(model.P), jnp.abs(model.Q)
    relu = objective.loss(AttentionTransformer(P, Q, "block", "relu"), prompts, path=path)
    assert relative(relu, objective.loss(LinearTransformer(P, Q, "block"), prompts)) < 1e-12


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("path", PATHS)
def test_large_scores_choose_one_key_and_do_not_overflow(path, dtype):
    # One layer, Q = 1e6: all weight, 1/n, is on the example with the largest score.
    with jax.enable_x64(dtype == "float64"):
        x = jnp.asarray([[[1.0], [3.0], [2.0]]], dtype)
        y = jnp.asarray([[10.0, 60.0, 40.0]], dtype)
        prompts = Prompts(x, y, jnp.asarray([[1.0]], dtype), jnp.asarray([0.0], dtype))
        Q = jnp.full((1, 1, 1), 1e6, dtype)
        model = AttentionTransformer(jnp.zeros_like(Q), Q, "block", "softmax")
        loss, gradient = objective.value_and_grad(model, prompts, path=path)
        assert loss == 400.0
        assert not np.any(gradient.Q)


@needs_kernels
def test_a_diverged_model_gives_nan_rather_than_a_number():
    for activation in ACTIVATIONS:
        model, _, prompts = make_case(activation=activation)
        model = AttentionTransformer(model.P, model.Q * jnp.nan, "block", activation)
        loss, gradient = objective.value_and_grad(model, prompts, path="native")
        assert np.isnan(loss)
        assert np.isnan(gradient.Q).any()


@needs_kernels
def test_vmap_over_models_and_prompts_is_one_by_one(x64):
    made = [make_case(layers=2, dim=3, context=6, seed=seed) for seed in range(2)]
    models, directions, prompts = (
        jax.tree.map(lambda *a: jnp.stack(a), *trees) for trees in zip(*made, strict=True)
    )
    one = partial(derivatives, path="native")
    for axes in ((0, 0, 0), (0, 0, None), (None, None, 0), (None, 0, None)):
        given_ = [
            many if axis == 0 else jax.tree.map(lambda a: a[1], many)
            for many, axis in zip((models, directions, prompts), axes, strict=True)
        ]
        got = jax.jit(jax.vmap(one, axes))(*given_)
        for i in range(2):
            single = [
                jax.tree.map(lambda a, i=i: a[i], many) if axis == 0 else many
                for many, axis in zip(given_, axes, strict=True)
            ]
            assert relative(jax.tree.map(lambda a, i=i: a[i], got), one(*single)) < 1e-14


@needs_kernels
@pytest.mark.parametrize("form", ["block", "full"])
def test_hessian_holds_the_hessian_vector_products(x64, form):
    model, direction, prompts = make_case(form, layers=2, dim=3, context=6)
    hessian = objective.hessian(model, prompts, path="native")
    product = objective.hvp(model, prompts, direction, path="native")
    flat = [jnp.concatenate([m.P.ravel(), m.Q.ravel()]) for m in (direction, product)]
    assert relative(hessian @ flat[0], flat[1]) < 1e-12
    assert relative(hessian, hessian.T) < 1e-12


@needs_kernels
def test_derivatives_beyond_the_kernels_go_through_xla(x64):
    model, direction, prompts = make_case(layers=1, dim=2, context=4)

    def curvature(query, path):
        moved = Prompts(prompts.x, prompts.y, query, prompts.target)
        product = objective.hvp(model, moved, direction, path=path)
        return jnp.vdot(direction.P, product.P) + jnp.vdot(direction.Q, product.Q)

    slope = quick_jit(jax.grad(curvature), static_argnums=1)
    got, wanted = (slope(prompts.query, path) for path in ("native", "token"))
    assert relative(got, wanted) < 1e-12


def test_it_trains():
    result = train(
        RegressionTask(dim=3, context=10),
        partial(AttentionTransformer.init, layers=2, dim=3),
        {"adam": adam},
        [0.05],
        [0],
        steps=300,
        batch=200,
        measures=(EvaluationLoss(at(0, 300)),),
    )
    loss = result.loss.squeeze()
    assert int(result.status.squeeze()) == 0
    assert float(loss[-1]) < 0.9 * float(loss[0])


def test_misuse_is_told_in_sentences(unchecked):
    model, _, prompts = make_case()
    with pytest.raises(UsageError, match="activation is 'tanh'; it must be one of"):
        AttentionTransformer(model.P, model.Q, "block", "tanh")  # pyright: ignore
    with pytest.raises(UsageError, match="P has shape"):
        AttentionTransformer(model.P[0], model.Q[0])
    with pytest.raises(UsageError, match="takes 5"):
        objective.loss(model, make_case(dim=4)[2])
    with pytest.raises(UsageError, match="needs prompts"):
        objective.loss(model, prompts.moments())
    with pytest.raises(UsageError, match="linear attention only"):
        objective.loss(model, prompts, path="reduced")


@needs_kernels
def test_normals_of_any_shape_are_the_reference_in_row_major_order():
    key = jax.random.key(5)
    reference = _normals.reference_normals(_normals.key_words(key), 19, 12)
    drawn = _normals.normals(key, 19, 3, 4)
    np.testing.assert_allclose(drawn, reference.reshape(19, 3, 4), rtol=2e-6, atol=2e-6)

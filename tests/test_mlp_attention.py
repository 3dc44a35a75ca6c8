"""An MLP in front of a model (App. B of the paper)."""

from functools import partial

import equinox as eqx
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings

from attnscape import LinearTransformer, Prompts, RegressionTask, native, objective, train
from attnscape.errors import UsageError
from attnscape.measures import EvaluationLoss, at
from attnscape.models import FactoredLinearTransformer, WithMLP
from attnscape.tasks import Linear, ReluNetwork
from attnscape.tasks.relu_network import ReluMLP
from support import (
    FAST_PATHS,
    PATHS,
    TOLERANCE,
    make_case,
    make_direction,
    needs_kernels,
    needs_torch,
    quick_jit,
    relative,
)


def make_mlp_attention(form, layers, dim, hidden, context, batch, *, dtype="float64", seed=0):
    """A model whose units are on and off about equally often, and prompts for it.

    A unit is exactly at its kink with probability zero; there, ReLU has no derivative to compare.
    """
    linear, prompts = make_case(form, layers, dim, context, batch, dtype=dtype, seed=seed)
    rng = np.random.default_rng(seed + 1)
    W1, b1, W2, b2 = (
        jnp.asarray((scale * rng.standard_normal(shape)).astype(dtype))
        for scale, shape in (
            (dim**-0.5, (hidden, dim)),
            (0.3, hidden),
            (1.4 * hidden**-0.5, (dim, hidden)),
            (0.3, dim),
        )
    )
    return WithMLP(ReluMLP(W1, b1, W2, b2), linear), prompts


SIZES = {
    "form": st.sampled_from(["block", "full"]),
    "layers": st.integers(1, 5),
    "dim": st.one_of(st.just(5), st.integers(1, 9)),  # 5 has a kernel of its own
    "hidden": st.integers(1, 20),
    "context": st.integers(1, 30),
    "batch": st.integers(1, 300),
    "dtype": st.sampled_from(["float32", "float64"]),
}


AVAILABLE = ["reduced"] if native.why_unavailable() else ["native", "reduced"]


def evaluate(model, prompts, direction, path):
    return (
        objective.value_and_grad(model, prompts, path=path),
        objective.hvp(model, prompts, direction, path=path),
    )


def assert_paths_agree(model, prompts, tolerance):
    direction = make_direction(model)
    found = jax.jit(lambda *a: {p: evaluate(*a, direction, p) for p in (*AVAILABLE, "token")})(
        model, prompts
    )
    for path in AVAILABLE:
        for got, wanted in zip(found[path], found["token"], strict=True):
            assert relative(got, wanted) < tolerance, path


# The token form is compiled for each example.
@pytest.mark.parametrize("examples", [4, pytest.param(120, marks=pytest.mark.slow)])
def test_loss_gradient_and_hvp_are_the_token_forms(examples, x64):
    @settings(max_examples=examples)
    @given(st.fixed_dictionaries(SIZES))
    def agree(sizes):
        assert_paths_agree(*make_mlp_attention(**sizes), TOLERANCE[sizes["dtype"]])

    agree()


@pytest.mark.parametrize(("form", "dtype"), [("block", "float64"), ("full", "float32")])
def test_the_model_of_the_paper_agrees_with_its_token_form(form, dtype, x64):
    model = WithMLP.init(jax.random.key(0), form=form, dtype=dtype)
    task = RegressionTask(response=ReluNetwork())
    prompts = jax.jit(lambda key: task.sample(key, 333, dtype))(jax.random.key(1))
    assert_paths_agree(model, prompts, TOLERANCE[dtype])


@pytest.mark.parametrize("path", FAST_PATHS)
@pytest.mark.parametrize("form", ["block", "full"])
def test_the_hessian_is_the_token_forms(form, path, x64):
    model, prompts = make_mlp_attention(form, 2, 2, 3, 4, 5)
    hessian, wanted = (
        jax.jit(partial(objective.hessian, path=p))(model, prompts) for p in (path, "token")
    )
    assert relative(hessian, wanted) < 1e-12
    assert relative(hessian, hessian.T) < 1e-12


@needs_kernels
@pytest.mark.parametrize("layers", [1, 2, 4])
@pytest.mark.parametrize("form", ["block", "full"])
def test_adjoints_of_the_moments_are_the_gradient_of_the_reduced_loss(form, layers, x64):
    # With W1 = (1, -1) and W2 = (1, -1)^T the MLP is the identity, so that its gradient is made of
    # the adjoints of the moments: f_bar_i = ((G_bar + G_bar^T) x_i + c_bar y_i) / n, q_bar.
    linear, prompts = make_case(form, layers, 5, 4, 1)
    one = jnp.eye(5)
    identity = ReluMLP(
        jnp.concatenate([one, -one]), jnp.zeros(10), jnp.concatenate([one, -one], 1), jnp.zeros(5)
    )
    value_and_grad = jax.jit(partial(objective.value_and_grad, path="native"))
    got = value_and_grad(WithMLP(identity, linear), prompts)[1].mlp
    reduced_loss = partial(objective.loss, path="reduced")
    bar = quick_jit(lambda p: jax.grad(reduced_loss, 1)(linear, p.moments()))(prompts)
    bar, prompts = jax.tree.map(np.asarray, (bar, prompts))
    x, y = prompts.x[0], prompts.y[0]
    f_bar = (x @ (bar.gram + bar.gram.mT)[0] + np.outer(y, bar.cross[0])) / len(y)
    f_bar = np.concatenate([f_bar, bar.query])
    tokens = np.concatenate([x, prompts.query])
    units = np.maximum(np.concatenate([tokens, -tokens], 1), 0)
    assert relative(got.b2, f_bar.sum(0)) < 1e-12
    assert relative(got.W2, f_bar.T @ units) < 1e-12
    assert relative(got.W1, ((f_bar @ identity.W2) * (units > 0)).T @ tokens) < 1e-12


@needs_torch
@pytest.mark.parametrize("form", ["block", "full"])
def test_torch_gives_the_same_loss_gradient_and_hvp(form, x64):
    import torch

    model, prompts = make_mlp_attention(form, 3, 5, 15, 20, 40)
    x, y, query, target = (torch.tensor(np.asarray(a)) for a in jax.tree.leaves(prompts))
    n = x.shape[1]
    network = torch.nn.Sequential(
        torch.nn.Linear(5, 15), torch.nn.ReLU(), torch.nn.Linear(15, 5)
    ).double()
    M = torch.diag(torch.tensor([1.0] * n + [0.0], dtype=torch.float64))

    def loss(W1, b1, W2, b2, P, Q):
        names = ("0.weight", "0.bias", "2.weight", "2.bias")
        parameters = dict(zip(names, (W1, b1, W2, b2), strict=True))
        features = torch.func.functional_call(
            network, parameters, torch.cat([x, query[:, None]], 1)
        )
        responses = torch.nn.functional.pad(y, (0, 1))[..., None]
        Z = torch.cat([features, responses], 2).mT
        if form == "block":
            P, Q = (torch.nn.functional.pad(a, (0, 1, 0, 1)) for a in (P, Q))
            P = P + torch.diag(torch.tensor([0.0] * 5 + [1.0], dtype=torch.float64))
        for p, q in zip(P, Q, strict=True):
            Z = Z + p @ Z @ M @ (Z.mT @ q @ Z) / n
        return ((-Z[:, -1, -1] - target) ** 2).mean()

    direction = make_direction(model)
    weights, along = (
        tuple(torch.tensor(np.asarray(a), requires_grad=True) for a in jax.tree.leaves(tree))
        for tree in (model, direction)
    )
    (got_loss, got_gradient), got_product = jax.jit(
        partial(evaluate, direction=direction, path="fastest")
    )(model, prompts)
    assert relative(got_loss, loss(*weights).detach()) < 1e-12
    gradient = torch.autograd.grad(loss(*weights), weights)
    assert relative(got_gradient, [g.numpy() for g in gradient]) < 1e-12
    product = torch.autograd.functional.hvp(loss, weights, along)[1]
    assert relative(got_product, [h.numpy() for h in product]) < 1e-12


@pytest.mark.parametrize("path", FAST_PATHS)
def test_mapping_over_models_and_prompts_equals_a_loop(path, x64):
    cases = [make_mlp_attention("full", 2, 5, 4, 6, 19, seed=seed) for seed in range(3)]
    models, prompts = (
        jax.tree.map(lambda *a: jnp.stack(a), *(case[i] for case in cases)) for i in (0, 1)
    )
    direction = make_direction(cases[0][0])
    once = partial(evaluate, direction=direction, path=path)
    over = jax.jit(jax.vmap(lambda p: jax.vmap(lambda m: once(m, p))(models)))(prompts)
    compiled = jax.jit(once)
    for i, j in np.ndindex(3, 3):
        one = compiled(cases[j][0], cases[i][1])
        assert relative(jax.tree.map(lambda a, at=(i, j): a[at], over), one) < 1e-12


# Derivatives that have no kernel of their own.
BEYOND = {
    "gradient in the prompts": lambda f: jax.grad(f, 1),
    "reverse over reverse": lambda f: jax.jacrev(jax.grad(f)),
    "gradient of the gradient norm": lambda f: jax.grad(
        lambda m, p: optax.tree.norm(jax.grad(f)(m, p))
    ),
    "gradient of a curvature": lambda f: jax.grad(
        lambda m, p: optax.tree.vdot(m, jax.jvp(lambda q: jax.grad(f)(q, p), (m,), (m,))[1])
    ),
}


@pytest.mark.parametrize("path", FAST_PATHS)
@pytest.mark.parametrize("beyond", BEYOND.values(), ids=BEYOND)
def test_derivatives_of_every_kind_are_the_token_forms(beyond, path, x64):
    model, prompts = make_mlp_attention("full", 2, 2, 3, 4, 5)
    got, wanted = (
        jax.jit(beyond(partial(objective.loss, path=p)))(model, prompts) for p in (path, "token")
    )
    assert relative(got, wanted) < 1e-12


@pytest.mark.parametrize("path", PATHS)
def test_a_step_outside_the_numbers_is_not_hidden_by_the_relu(path):
    model, prompts = make_mlp_attention("full", 2, 5, 15, 6, 20, dtype="float32")
    broken = eqx.tree_at(lambda m: m.mlp.W1, model, jnp.nan * model.mlp.W1)
    assert jnp.isnan(quick_jit(partial(objective.loss, path=path))(broken, prompts))


@pytest.mark.parametrize("path", ["fastest", "token"])
def test_any_model_may_stand_behind_the_mlp(path):
    model, prompts = make_mlp_attention("block", 2, 3, 4, 5, 6, dtype="float32")
    mapped = model.mapped(prompts)

    def mean_of_responses(prompts: Prompts):
        return jnp.mean(prompts.y, 1) * prompts.query[:, 0]

    for inner in (mean_of_responses, WithMLP(model.mlp, model.inner)):
        got, wanted = quick_jit(
            lambda mlp, inner=inner: (
                objective.loss(WithMLP(mlp, inner), prompts, path=path),
                objective.loss(inner, mapped, path="token"),
            )
        )(model.mlp)
        assert relative(got, wanted) < TOLERANCE["float32"]


def test_separate_queries_and_keys_may_stand_behind_it(x64):
    model, prompts = make_mlp_attention("full", 2, 3, 4, 5, 40)
    inner = FactoredLinearTransformer(model.inner.P, 0.7 * model.inner.P, model.inner.Q, "full")
    assert_paths_agree(WithMLP(model.mlp, inner), prompts, 1e-12)


@pytest.mark.parametrize("precision", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
def test_it_trains_on_nonlinear_regression(precision):
    records = train(
        RegressionTask(response=ReluNetwork()),
        WithMLP.init,
        {"adam": optax.adam},
        [0.01],
        [0, 1],
        steps=200,
        batch=100,
        precision=precision,
        measures=(EvaluationLoss(at(0, 200)),),
    )
    loss = records["loss"].squeeze(("optimizer", "learning_rate"))
    assert (loss.sel(step=200) < 0.8 * loss.sel(step=0)).all()


def test_the_mlp_starts_with_the_default_law_of_torch():
    mlp = ReluMLP.init(jax.random.key(0), dim=4, hidden=25_000)
    for array, inputs in ((mlp.W1, 4), (mlp.b1, 4), (mlp.W2, 25_000), (mlp.b2, 25_000)):
        bound = inputs**-0.5
        assert jnp.max(jnp.abs(array)) <= bound
    uniform = np.sort(np.concatenate([mlp.W1.ravel(), mlp.b1])) * 2  # on (-1, 1)
    assert np.max(np.abs(uniform - np.linspace(-1, 1, len(uniform)))) < 0.02


def test_the_response_of_the_task_is_its_network_by_matrix_products(x64):
    rng = np.random.default_rng(0)
    x, w = (jnp.asarray(rng.standard_normal(shape)) for shape in ((6, 9, 4), (6, 4)))
    response = ReluNetwork(hidden=7, seed=3)
    features = jax.tree.map(lambda a: jnp.asarray(a, "float64"), response.network(4))(x)
    assert relative(response(x, w), np.einsum("bnd,bd->bn", features, w)) < 1e-14
    assert relative(Linear()(x, w), np.einsum("bnd,bd->bn", x, w)) < 1e-14


def test_mistakes_are_told_in_a_sentence(unchecked):
    model, prompts = make_mlp_attention("block", 2, 3, 4, 5, 6, dtype="float32")
    W1, b1, W2, b2 = jax.tree.leaves(model.mlp)
    with pytest.raises(UsageError, match=r"W2 has shape .* asks for \(3, 4\)"):
        ReluMLP(W1, b1, W1, b2)
    with pytest.raises(UsageError, match="none of them 0"):
        ReluMLP(W1[:0], b1[:0], W2[:, :0], b2)
    with pytest.raises(UsageError, match="hidden 0"):
        WithMLP.init(jax.random.key(0), hidden=0)
    with pytest.raises(UsageError, match="needs prompts"):
        objective.loss(model, prompts.moments())
    other = make_case("block", 1, 2, 4, 5, dtype="float32")[1]
    for path in PATHS[1:]:
        with pytest.raises(UsageError, match="takes 3"):
            objective.loss(model, other, path=path)
    wrong = WithMLP(model.mlp, LinearTransformer.init(jax.random.key(0), dim=4))
    for path in PATHS[1:]:
        with pytest.raises(UsageError, match="takes 4"):
            objective.loss(wrong, prompts, path=path)

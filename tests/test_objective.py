"""Three paths to the objective give the same numbers, under every transformation of JAX."""

import functools
import itertools
from functools import partial

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import assume, given, settings
from jax.flatten_util import ravel_pytree

from attnscape import LinearTransformer, Moments, objective
from support import (
    FAST_PATHS,
    PATHS,
    TOLERANCE,
    TokenOracle,
    make_case,
    make_direction,
    needs_kernels,
    needs_torch,
    quick_jit,
    relative,
)

CASES = st.fixed_dictionaries(
    {
        "form": st.sampled_from(["block", "full"]),
        "layers": st.integers(1, 8),
        "dim": st.integers(1, 21),
        "context": st.integers(1, 60),
        "batch": st.integers(1, 1500),
        "strength": st.floats(0.05, 0.5),
        "seed": st.integers(0, 2**32 - 1),
        "dtype": st.sampled_from(["float32", "float64"]),
    }
)
# At most 150 parameters, so that their Hessians are cheap; batches that fill no SIMD lanes, and
# one, two or three of the kernels' chunks.
SIZES = [
    ("block", 1, 1, 1, 1, "float64"),
    ("block", 1, 8, 3, 9, "float32"),
    ("block", 3, 5, 6, 131, "float32"),
    ("block", 3, 5, 6, 131, "float64"),
    ("full", 1, 1, 2, 3, "float32"),
    ("full", 2, 4, 6, 130, "float32"),
    ("full", 2, 4, 6, 130, "float64"),
    ("full", 4, 3, 7, 261, "float64"),
]


@pytest.mark.parametrize(
    ("path", "examples"),
    [
        pytest.param("native", 16, marks=needs_kernels),
        ("reduced", 6),
        ("token", 4),
        pytest.param("native", 1000, marks=[needs_kernels, pytest.mark.slow]),
        pytest.param("reduced", 200, marks=pytest.mark.slow),
        pytest.param("token", 200, marks=pytest.mark.slow),
    ],
)
def test_loss_gradient_and_hvp_are_the_token_forms(path, examples, x64):
    @jax.jit
    def evaluate(model, prompts, direction):
        loss, gradient = objective.value_and_grad(model, prompts, path=path)
        return loss, gradient, objective.hvp(model, prompts, direction, path=path)

    @settings(max_examples=examples)
    @given(CASES)
    def agree(case):
        model, prompts = make_case(**case)
        direction = make_direction(model)
        loss, gradient, product = evaluate(model, prompts, direction)
        oracle, tolerance = TokenOracle(model, prompts), TOLERANCE[case["dtype"]]
        assume(oracle.loss() < 1e25)  # larger ones have derivatives beyond float32
        # Moments are rounded, and a deep model amplifies it: it is a polynomial of high degree.
        tolerance += np.finfo(case["dtype"]).eps / 2 * oracle.sensitivity()
        assert relative(loss, oracle.loss()) < tolerance
        assert relative(gradient, oracle.gradient()) < tolerance
        wanted = oracle.hvp(np.stack([direction.P, direction.Q], dtype=np.float64))
        assert relative(product, wanted) < tolerance

    agree()


@functools.cache
def small_case(*sizes):
    """A model, prompts and the Hessian by the oracle."""
    *sizes, dtype = sizes
    model, prompts = make_case(*sizes, dtype=dtype)
    return model, prompts, TokenOracle(model, prompts).hessian()


@pytest.mark.parametrize(
    ("path", "sizes"),
    [
        pytest.param(path, sizes, id=f"{path}-{sizes}", marks=marks)
        for path, several, marks in (
            ("native", SIZES, needs_kernels),
            ("reduced", SIZES[1::2], ()),  # both forms in both precisions
            ("token", SIZES[1::2], ()),
        )
        for sizes in several
    ],
)
def test_the_hessian_is_the_token_forms(path, sizes, x64):
    model, prompts, wanted = small_case(*sizes)
    hessian = jax.jit(lambda m, p: objective.hessian(m, p, path=path))(model, prompts)
    dtype = sizes[-1]
    assert hessian.dtype == dtype
    assert relative(hessian, wanted) < TOLERANCE[dtype]
    assert relative(hessian, hessian.T) < TOLERANCE[dtype]


@needs_kernels
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "sizes",
    [
        *[("block", 8, 5, 6, 131), ("block", 5, 7, 9, 1), ("block", 6, 1, 2, 7)],
        *[("full", 8, 5, 6, 131), ("full", 5, 7, 9, 1), ("full", 6, 1, 2, 1030)],
    ],
    ids=str,
)
def test_the_hessian_of_many_layers_has_the_token_forms_products(sizes, dtype, x64):
    model, prompts = make_case(*sizes, dtype=dtype)
    hessian = np.asarray(objective.hessian(model, prompts, path="native"))
    np.testing.assert_array_equal(hessian, hessian.T)
    directions = np.random.default_rng(0).standard_normal((3, 2, *model.P.shape))
    oracle = TokenOracle(model, prompts)
    for direction in directions:
        product = hessian.astype("float64") @ direction.ravel()
        assert relative(product, oracle.hvp(direction)) < TOLERANCE[dtype]


@needs_kernels
def test_hessians_of_many_runs_are_those_of_each(x64):
    """As many runs as are not worked on together, on a batch that is summed in several parts."""
    model, prompts = make_case("block", 4, 6, 7, 260)
    models = jax.tree.map(lambda a: jnp.stack([a * (1 + 0.1 * k) for k in range(40)]), model)
    moments = prompts.moments()
    got = jax.vmap(lambda m: objective.hessian(m, moments, path="native"))(models)
    for k in (0, 1, 17, 39):
        one = jax.tree.map(lambda a, k=k: a[k], models)
        np.testing.assert_array_equal(got[k], objective.hessian(one, moments, path="native"))


@needs_kernels
def test_the_hessian_of_an_empty_batch_is_nan_where_parameters_reach_the_loss(x64):
    model, prompts = make_case("full", 2, 2, 4, 5)
    nothing = jax.tree.map(lambda a: a[:0], prompts)
    reaches = np.any(np.asarray(objective.hessian(model, prompts, path="native")) != 0, axis=0)
    lost = np.asarray(objective.hessian(model, nothing, path="native"))
    np.testing.assert_array_equal(np.isnan(lost), reaches[:, None] & reaches[None, :])


@pytest.mark.slow
@pytest.mark.parametrize("path", FAST_PATHS)
def test_hessians_of_every_size_are_the_token_forms(path, x64):
    sizes = {"layers": st.integers(1, 4), "dim": st.integers(1, 9), "batch": st.integers(1, 300)}

    @settings(max_examples=100)
    @given(CASES, st.fixed_dictionaries(sizes))
    def agree(case, smaller):
        model, prompts = make_case(**(case | smaller))
        hessian = objective.hessian(model, prompts, path=path)
        tolerance = TOLERANCE[case["dtype"]]
        assert relative(hessian, TokenOracle(model, prompts).hessian()) < tolerance

    agree()


@needs_torch
@pytest.mark.parametrize("sizes", [("block", 2, 3, 4, 5), ("full", 3, 2, 5, 6)], ids=str)
def test_torch_autograd_of_equation_7_gives_the_same(sizes, x64):
    import torch

    model, prompts = make_case(*sizes)
    x, y, query, target = (torch.tensor(np.asarray(a)) for a in jax.tree.leaves(prompts))
    n = x.shape[1]
    Z0 = torch.cat(
        [torch.cat([x, y[..., None]], 2), torch.nn.functional.pad(query, (0, 1))[:, None]], 1
    )
    M = torch.diag(torch.tensor([1.0] * n + [0.0], dtype=torch.float64))

    def loss(P, Q):
        if model.form == "block":
            P, Q = (torch.nn.functional.pad(a, (0, 1, 0, 1)) for a in (P, Q))
            P = P + torch.diag(torch.tensor([0.0] * x.shape[2] + [1.0], dtype=torch.float64))
        Z = Z0.mT
        for p, q in zip(P, Q, strict=True):
            Z = Z + p @ Z @ M @ (Z.mT @ q @ Z) / n
        return ((-Z[:, -1, -1] - target) ** 2).mean()

    weights = [torch.tensor(np.asarray(a), requires_grad=True) for a in (model.P, model.Q)]
    got = objective.value_and_grad(model, prompts)
    assert relative(got[0], loss(*weights).detach()) < 1e-12
    assert (
        relative(got[1], [g.numpy() for g in torch.autograd.grad(loss(*weights), weights)]) < 1e-12
    )
    blocks = torch.autograd.functional.hessian(loss, tuple(weights))
    size = model.P.size
    hessian = torch.cat([torch.cat([b.reshape(size, size) for b in row], 1) for row in blocks])
    assert relative(objective.hessian(model, prompts), hessian) < 1e-12


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("form", ["block", "full"])
def test_parameters_that_never_reach_the_loss_have_exactly_zero_derivatives(path, form, x64):
    model, prompts = make_case(form, 3, 2, 4, 5)
    reaches = np.ones((2, *model.P.shape), bool)  # of P and Q
    reaches[0, -1, : None if form == "block" else -1] = False

    @jax.jit
    def derivatives(model):
        gradient = objective.value_and_grad(model, prompts, path=path)[1]
        return ravel_pytree(gradient)[0], objective.hessian(model, prompts, path=path)

    gradient, hessian = map(np.asarray, derivatives(model))
    np.testing.assert_array_equal(gradient != 0, reaches.ravel())
    np.testing.assert_array_equal(np.any(hessian != 0, axis=0), reaches.ravel())
    np.testing.assert_array_equal(np.any(hessian != 0, axis=1), reaches.ravel())


def test_the_hessian_has_all_of_P_before_Q_each_in_layer_row_column_order(x64):  # noqa: N802
    model, prompts = make_case("full", 2, 2, 4, 5)
    hessian = objective.hessian(model, prompts)
    for which, entry in enumerate([(0, 2, 1), (1, 2, 0)]):  # of P, of Q
        direction = np.zeros((2, *model.P.shape))
        direction[which][entry] = 1
        column = hessian[:, np.flatnonzero(direction)[0]]
        assert relative(column, TokenOracle(model, prompts).hvp(direction)) < 1e-12


# Names of the arrays with a mapped axis, at each level of jax.vmap from outside in.
MODEL, PROMPTS = ("P", "Q", "vP", "vQ"), ("gram", "cross", "square", "query", "target")
LEVELS = {
    "models": [MODEL],
    "prompts": [PROMPTS],
    "models and prompts together": [MODEL + PROMPTS],
    "models over prompts": [MODEL, PROMPTS],
    "prompts over models and prompts": [PROMPTS, MODEL + PROMPTS],
    "single arrays": [("Q", "target"), ("vP", "cross", "Q"), ("P", "gram")],
    "directions": [("vP", "vQ")],
}


def evaluate(arrays, form, path):
    model = LinearTransformer(arrays["P"], arrays["Q"], form)
    moments = Moments(*(arrays[name] for name in PROMPTS))
    direction = LinearTransformer(arrays["vP"], arrays["vQ"], form)
    return (
        objective.value_and_grad(model, moments, path=path),
        objective.hvp(model, moments, direction, path=path),
        objective.hessian(model, moments, path=path),
    )


evaluate_one = quick_jit(partial(evaluate, path="reduced"), static_argnames="form")


@needs_kernels
@pytest.mark.parametrize(
    ("levels", "form"),
    [
        pytest.param(levels, form, id=f"{form}-{name}", marks=[] if default else pytest.mark.slow)
        for number, (name, levels) in enumerate(LEVELS.items())
        for form, default in (("block", number % 2 == 0), ("full", number % 2 == 1))
    ],
)
def test_kernels_mapped_over_any_axes_equal_a_loop(levels, form, x64):
    model, prompts = make_case(form, 2, 2, 4, 5)
    leaves = jax.tree.leaves((model, make_direction(model), prompts.moments()))
    arrays = dict(zip(MODEL + PROMPTS, leaves, strict=True))
    sizes = range(2, 2 + len(levels))

    def at_levels(name, values):
        return tuple(v for v, names in zip(values, levels, strict=True) if name in names)

    rng = np.random.default_rng(0)
    mapped = {
        name: jnp.multiply.outer(1 + 0.3 * rng.standard_normal(at_levels(name, sizes)), array)
        for name, array in arrays.items()
    }
    function = partial(evaluate, form=form, path="native")
    for names in reversed(levels):
        function = jax.vmap(function, ({name: 0 if name in names else None for name in arrays},))
    got = quick_jit(function)(mapped)
    for index in np.ndindex(*sizes):
        one = {name: array[at_levels(name, index)] for name, array in mapped.items()}
        wanted = evaluate_one(one, form=form)
        assert relative(jax.tree.map(lambda a, i=index: a[i], got), wanted) < 1e-12


@pytest.mark.parametrize("path", PATHS)
def test_an_empty_mapped_axis_gives_empty_results_and_an_empty_batch_nan(path):
    model, prompts = make_case("block", 2, 3, 4, 5, dtype="float32")
    none = jax.tree.map(lambda a: jnp.zeros((0, *a.shape), a.dtype), model)
    losses, _ = jax.vmap(lambda m: objective.value_and_grad(m, prompts, path=path))(none)
    assert losses.shape == (0,)
    assert jnp.isnan(objective.loss(model, jax.tree.map(lambda a: a[:0], prompts), path=path))


@pytest.mark.parametrize("path", FAST_PATHS)
def test_gradient_descent_in_a_scan_equals_steps_of_the_token_form(path, x64):
    model, prompts = make_case("full", 2, 3, 4, 9)

    def step(model, _, path=path):
        loss, gradient = objective.value_and_grad(model, prompts, path=path)
        return jax.tree.map(lambda p, g: p - 0.1 * g, model, gradient), loss

    end, losses = jax.lax.scan(step, model, length=4)
    for scanned in losses:
        model, loss = step(model, None, "token")
        assert relative(scanned, loss) < 1e-12
    assert relative(end, model) < 1e-12


# Functions of a loss f(model, prompts), each with more derivatives than the one before it.
def norm_of_gradient(f):
    return lambda model, prompts: optax.tree.norm(jax.grad(f)(model, prompts))


def curvature(f):
    def along_itself(model, prompts):
        product = jax.jvp(lambda m: jax.grad(f)(m, prompts), (model,), (model,))[1]
        return optax.tree.vdot(model, product)

    return along_itself


BEYOND = {
    "gradient in model and prompts": lambda f: jax.grad(f, (0, 1)),
    "hessian by jax": jax.hessian,
    "reverse over reverse": lambda f: jax.jacrev(jax.grad(f)),
    "gradient of the gradient norm": lambda f: jax.grad(norm_of_gradient(f), (0, 1)),
    "gradient of a curvature": lambda f: jax.grad(curvature(f)),
    "third derivative": lambda f: jax.jacfwd(jax.jacfwd(jax.grad(f))),
}


@needs_kernels
@pytest.mark.parametrize(
    ("name", "form"), list(zip(BEYOND, itertools.cycle(["block", "full"]), strict=False))
)
def test_derivatives_beyond_the_kernels_are_the_token_forms_and_can_be_mapped(name, form, x64):
    beyond = BEYOND[name]
    model, prompts = make_case(form, 2, 2, 4, 5)
    stacked = jax.tree.map(lambda a: jnp.stack([a, 0.5 * a]), model)
    by_kernels, by_token = (
        beyond(partial(objective.loss, path=path)) for path in ("native", "token")
    )
    got = quick_jit(jax.vmap(by_kernels, (0, None)))(stacked, prompts)
    wanted = quick_jit(by_token)
    for index, factor in enumerate([1, 0.5]):
        one = jax.tree.map(lambda a, f=factor: f * a, model)
        assert relative(jax.tree.map(lambda a, i=index: a[i], got), wanted(one, prompts)) < 1e-12


@needs_kernels
@pytest.mark.parametrize("order", [lambda f: f, norm_of_gradient], ids=["first", "second"])
def test_derivatives_in_the_moments_are_the_reduced_forms(order, x64):
    model, prompts = make_case("full", 2, 2, 4, 5)
    got, wanted = (
        quick_jit(jax.grad(order(partial(objective.loss, path=path)), 1))(model, prompts.moments())
        for path in ("native", "reduced")
    )
    assert relative(got, wanted) < 1e-12


@needs_kernels
@pytest.mark.parametrize("form", ["block", "full"])
def test_the_hessian_of_a_diverged_run_is_nan_where_parameters_reach_the_loss(form, x64):
    model, prompts = make_case(form, 3, 5, 6, 50, dtype="float64")
    hessian = np.asarray(objective.hessian(model, prompts, path="native"))
    diverged = jax.tree.map(lambda a: a.at[0, 0, 0].set(jnp.nan), model)
    lost = np.asarray(objective.hessian(diverged, prompts, path="native"))
    reaches = np.any(hessian != 0, axis=0)
    np.testing.assert_array_equal(np.isnan(lost), reaches[:, None] & reaches[None, :])
    np.testing.assert_array_equal(lost[~reaches], 0)

"""Linear attention with separate query and key matrices."""

import functools

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings

from attnscape import LinearTransformer, RegressionTask, objective, train
from attnscape.errors import UsageError
from attnscape.measures import EvaluationLoss, at
from attnscape.models import FactoredLinearTransformer
from support import PATHS, TOLERANCE, TokenOracle, flat, make_case, make_direction, relative


def factored(form, layers, dim, head, dtype="float64"):
    """A model of head size k, and prompts for it."""
    linear, prompts = make_case(form, layers, dim, 6, 30, dtype=dtype)
    rng = np.random.default_rng(3)
    W_Q, W_K = 0.5 * rng.standard_normal((2, layers, head, linear.P.shape[-1]))
    return FactoredLinearTransformer(
        linear.P, jnp.asarray(W_Q, dtype), jnp.asarray(W_K, dtype), form
    ), prompts


class Oracle:
    """The chain rule through Q = W_Q^T W_K, on the token form's derivatives in P and Q."""

    def __init__(self, model, prompts):
        self.W_Q, self.W_K = (np.asarray(a, np.float64) for a in (model.W_Q, model.W_K))
        product = LinearTransformer(model.P, jnp.asarray(self.W_Q.mT @ self.W_K), model.form)
        self.of_product = TokenOracle(product, prompts)

    def loss(self):
        return self.of_product.loss()

    def gradient(self):
        """Of P, W_Q and W_K."""
        P_bar, Q_bar = self.of_product.gradient()
        return P_bar, self.W_K @ Q_bar.mT, self.W_Q @ Q_bar

    def hvp(self, P, W_Q, W_K):
        """The Hessian times a direction."""
        _, Q_bar = self.of_product.gradient()
        along = np.stack([P, W_Q.mT @ self.W_K + self.W_Q.mT @ W_K])
        P_bar, Q_bar_dot = self.of_product.hvp(along)
        return P_bar, W_K @ Q_bar.mT + self.W_K @ Q_bar_dot.mT, W_Q @ Q_bar + self.W_Q @ Q_bar_dot

    def hessian(self):
        shapes = [a.shape for a in (self.of_product.point[0], self.W_Q, self.W_K)]
        ends = np.cumsum([0, *map(np.prod, shapes)])
        units = (
            [u[i:j].reshape(s) for i, j, s in zip(ends, ends[1:], shapes, strict=False)]
            for u in np.eye(ends[-1])
        )
        return np.stack([flat(self.hvp(*unit)) for unit in units])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("sizes", [("block", 2, 3, 4), ("full", 2, 3, 2)], ids=str)
def test_loss_and_derivatives_are_those_of_the_product_by_the_chain_rule(sizes, path, dtype, x64):
    model, prompts = factored(*sizes, dtype=dtype)
    direction = make_direction(model)

    @jax.jit
    def evaluate(model, prompts):
        return (
            objective.value_and_grad(model, prompts, path=path),
            objective.hvp(model, prompts, direction, path=path),
            objective.hessian(model, prompts, path=path),
        )

    (loss, gradient), product, hessian = evaluate(model, prompts)
    oracle = Oracle(model, prompts)
    along = (np.asarray(a, np.float64) for a in jax.tree.leaves(direction))
    assert hessian.dtype == dtype
    assert relative(loss, oracle.loss()) < TOLERANCE[dtype]
    assert relative(gradient, oracle.gradient()) < TOLERANCE[dtype]
    assert relative(product, oracle.hvp(*along)) < TOLERANCE[dtype]
    assert relative(hessian, oracle.hessian()) < TOLERANCE[dtype]


def test_every_size_has_the_gradient_of_the_product(x64):
    sizes = [st.integers(1, most) for most in (4, 7, 9)]  # layers, dimension, head

    @settings(max_examples=6)
    @given(st.sampled_from(["block", "full"]), *sizes)
    def agree(form, layers, dim, head):
        model, prompts = factored(form, layers, dim, head)
        loss, gradient = jax.jit(objective.value_and_grad)(model, prompts)
        oracle = Oracle(model, prompts)
        assert relative(loss, oracle.loss()) < 1e-12
        assert relative(gradient, oracle.gradient()) < 1e-12

    agree()


@pytest.mark.parametrize("form", ["block", "full"])
def test_the_products_start_with_the_standard_deviation_of_a_single_matrix(form):
    # 4,000 layers: the deviation of a product entry is known to about 1 %.
    model = FactoredLinearTransformer.init(
        jax.random.key(0), layers=4000, dim=3, form=form, scale=0.07
    )
    Q = np.asarray(model.as_linear().Q)
    assert abs(Q.std() / 0.07 - 1) < 0.02
    assert abs(Q.mean()) < 0.002
    same = LinearTransformer.init(jax.random.key(0), layers=4000, dim=3, form=form, scale=0.07)
    np.testing.assert_array_equal(model.P, same.P)


def test_it_trains_on_moments_as_linear_attention_does():
    model = functools.partial(FactoredLinearTransformer.init, layers=2, dim=3)
    assert objective.sees_moments_only(model(jax.random.key(0)))
    records = train(
        RegressionTask(dim=3), model, {"adam": optax.adam}, [0.01], [0, 1], steps=200, batch=100,
        measures=(EvaluationLoss(at(0, 200)),),
    )  # fmt: skip
    loss = records["loss"].squeeze(("optimizer", "learning_rate"))
    assert (loss.sel(step=200) < 0.5 * loss.sel(step=0)).all()


@pytest.mark.parametrize(
    ("shapes", "form", "message"),
    [
        (((2, 3, 3), (2, 4, 3), (2, 3, 3)), "block", "both must be"),
        (((2, 3, 3), (2, 0, 3), (2, 0, 3)), "block", "none of them 0"),
        (((1, 3, 3), (2, 4, 3), (2, 4, 3)), "block", r"asks for \(2, 3, 3\)"),
        (((2, 3, 3), (2, 4, 3), (2, 4, 3)), "half", "must be one of block, full"),
    ],
)
def test_mistakes_are_told_in_a_sentence(shapes, form, message, unchecked):
    with pytest.raises(UsageError, match=message):
        FactoredLinearTransformer(*map(jnp.zeros, shapes), form)


def test_a_negative_scale_is_refused():
    with pytest.raises(UsageError, match="scale is -1"):
        FactoredLinearTransformer.init(jax.random.key(0), scale=-1.0)

"""Derivatives and measures under losses other than the squared error, against independent forms."""

import dataclasses
from functools import partial

import equinox as eqx
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from jax.flatten_util import ravel_pytree

from attnscape import AttentionTransformer, LinearTransformer, Prompts, RegressionTask, objective
from attnscape.experiments.reference_losses import reference_losses
from attnscape.measures import (
    Curvature,
    DirectionalSmoothness,
    GaussNewton,
    GradientNoise,
    Iterate,
    TrainingLoss,
)
from attnscape.models import WithMLP
from attnscape.steppers import Problem
from attnscape.tasks import AbsoluteError, Huber, Logistic, SquaredError, WithLoss
from attnscape.tasks.relu_network import ReluMLP
from support import make_case, make_direction, quick_jit

TASK = RegressionTask(dim=2, context=5, noise=0.3)


@dataclasses.dataclass(frozen=True)
class Weighted:
    """An own loss that is neither convex nor a function of the error alone."""

    def __call__(self, prediction, target):
        return jnp.sin(prediction * target) + 0.3 * (prediction - target) ** 4


class Restated(SquaredError):  # noqa: N818
    """The squared error as an own loss: computed as any loss, with known answers."""


OTHERS = [AbsoluteError(), Huber(0.3), Logistic(), Weighted()]
LINEAR = partial(LinearTransformer.init, layers=2, dim=2, scale=0.5)
SOFTMAX = partial(AttentionTransformer.init, layers=2, dim=2, scale=0.5)


def case(make, loss, batch=7):
    model = make(jax.random.key(0), dtype=jnp.float64)
    prompts = TASK.sample(jax.random.key(1), batch, dtype=jnp.float64)
    return model, dataclasses.replace(prompts, loss=loss)


# --- The Gauss-Newton part


@pytest.mark.parametrize("make", [LINEAR, SOFTMAX])
@pytest.mark.parametrize("loss", [*OTHERS, Restated()], ids=repr)
def test_the_gauss_newton_part_is_that_of_the_token_forms_jacobian(loss, make, x64):
    # So many prompts that some lie where Huber's loss is curved.
    model, prompts = case(make, loss, batch=64)
    flat, unravel = ravel_pytree(model)
    jacobian = np.asarray(quick_jit(jax.jacrev(lambda v: unravel(v)(prompts)))(flat))
    predictions = quick_jit(lambda v: unravel(v)(prompts))(flat)
    second = np.asarray(quick_jit(jax.vmap(jax.grad(jax.grad(loss))))(predictions, prompts.target))
    expected = np.mean(second[:, None, None] * jacobian[:, :, None] * jacobian[:, None, :], axis=0)
    found = np.asarray(quick_jit(objective.gauss_newton)(model, prompts))
    scale = np.mean(np.sum(jacobian**2, axis=1))
    np.testing.assert_allclose(found, expected, atol=1e-13 * scale * max(1, abs(second).max()))
    # Far above what is tolerated, though curvature lies where gradients are small.
    assert (np.abs(found).max() > 1e-9 * scale) == (loss != AbsoluteError())
    static = eqx.partition(model, eqx.is_inexact_array)[1]
    problem = Problem(model, static, lambda keys, step: prompts, None, jnp.dtype("float64"))
    np.testing.assert_array_equal(quick_jit(problem.gauss_newton)(model, prompts), found)
    if type(loss) is Restated:
        data = dataclasses.replace(prompts, loss=SquaredError())
        squared = quick_jit(objective.gauss_newton)(model, data)
        np.testing.assert_allclose(found, squared, atol=1e-13 * scale)


@pytest.mark.parametrize("loss", [AbsoluteError(), Huber(0.3), Weighted()], ids=repr)
def test_the_measured_parts_add_up_to_the_hessian(loss, x64):
    """R by the second derivatives of the token form's predictions, weighted by the slopes."""
    model, prompts = case(LINEAR, loss)
    flat, unravel = ravel_pytree(model)
    second = quick_jit(jax.hessian(lambda v: unravel(v)(prompts)))(flat)
    slopes = quick_jit(jax.vmap(jax.grad(loss)))(model(prompts), prompts.target)
    R = np.einsum("b,bij->ij", np.asarray(slopes), np.asarray(second)) / len(slopes)
    iterate = dataclasses.replace(Iterate.of(model, TASK, dtype="float64"), evaluation=prompts)
    norms = np.asarray(quick_jit(GaussNewton())(iterate)["curvature_frobenius_norm"])
    hessian = quick_jit(partial(objective.hessian, path="token"))
    H = np.asarray(hessian(model, prompts))
    expected = [np.linalg.norm(part) for part in (H, H - R, R)]
    np.testing.assert_allclose(norms, expected, atol=1e-12 * max(expected))
    assert expected[2] > 1e-3 * expected[0]


def test_reference_losses_are_those_of_the_squared_error_only():
    @dataclasses.dataclass(frozen=True)
    class Own(RegressionTask):
        def sample(self, key, batch, dtype="float32"):
            return WithLoss(RegressionTask(dim=2), Huber()).sample(key, batch, dtype)

    assert reference_losses(WithLoss(TASK, Huber()), 2, evaluation_batch=10) == ()
    assert reference_losses(Own(dim=2), 2, evaluation_batch=10) == ()


# --- Gradient and Hessian


def slope_along(function, point, direction, step):
    """The derivative along a direction by central differences, of errors step^4."""

    def away(distance):
        point_away = jax.tree.map(lambda p, e: p + distance * e, point, direction)
        return np.asarray(function(point_away))

    ahead, behind = (8 * away(s) - away(2 * s) for s in (step, -step))
    return (ahead - behind) / (12 * step)


def is_smooth_nearby(loss, model, prompts, direction, step):
    """Whether no prediction crosses a kink of the loss within the differences."""
    ends = (jax.tree.map(lambda p, e, k=k: p + k * step * e, model, direction) for k in (-2, 0, 2))
    errors = np.stack([objective.predictions(end, prompts) - prompts.target for end in ends])
    kinks = {AbsoluteError: (0,), Huber: (-0.3, 0.3)}.get(type(loss), ())
    return all((np.sign(errors - kink) == np.sign(errors[1] - kink)).all() for kink in kinks)


def make_mlp(dim):
    """Units that are always on, as ReLU's kink is not what is tested."""
    rng = np.random.default_rng(3)
    W1, W2 = (jnp.asarray(0.2 * rng.standard_normal(s)) for s in ((4, dim), (dim, 4)))
    return ReluMLP(W1, jnp.full(4, 5.0), W2, jnp.zeros(dim))


@settings(max_examples=3, deadline=None)
@given(
    kind=st.sampled_from(["block", "full", "mlp", "softmax"]),
    layers=st.integers(1, 2),
    dim=st.integers(1, 3),
    batch=st.integers(1, 6),
    seed=st.integers(0, 1000),
)
def test_derivatives_are_finite_differences(kind, layers, dim, batch, seed):
    with jax.enable_x64(True):
        form = kind if kind in ("block", "full") else "block"
        model, prompts = make_case(form, layers, dim, 5, batch, seed=seed)
        if kind == "softmax":
            model = AttentionTransformer.init(jax.random.key(seed), layers=layers, dim=dim,
                                              scale=0.5, dtype=jnp.float64)  # fmt: skip
        elif kind == "mlp":
            model = WithMLP(make_mlp(dim), model)
        direction, other, step = make_direction(model), make_direction(model, 2), 1e-4
        size = np.linalg.norm(ravel_pytree(direction)[0])
        direction = jax.tree.map(lambda a: a / size, direction)
        judged = [dataclasses.replace(prompts, loss=loss) for loss in OTHERS]

        def along(tree, towards):
            return ravel_pytree(tree)[0] @ ravel_pytree(towards)[0]

        @quick_jit
        def derivatives(point):
            """Of each loss: values by the token form; slopes and products by the fastest path."""
            found = []
            for data in judged:
                gradient = objective.value_and_grad(point, data)[1]
                product = objective.hvp(point, data, direction)
                found.append([
                    objective.loss(point, data, path="token"), along(gradient, other),
                    along(gradient, direction), along(product, other),
                ])  # fmt: skip
            return jnp.array(found)

        at = np.asarray(derivatives(model))
        wanted = slope_along(derivatives, model, direction, step)
        for index, loss in enumerate(OTHERS):
            if is_smooth_nearby(loss, model, prompts, direction, step):
                # Differences round to 1e-16 / step of the value, and are cut off at step^4.
                scale = 1 + np.abs(at[index]).max()
                np.testing.assert_allclose(at[index, 2:], wanted[index, :2], atol=1e-10 * scale)


# --- Measures


class Unreduced(eqx.Module):
    """The same predictions; what is not known to be linear attention is called on its tokens."""

    inner: LinearTransformer

    def __call__(self, prompts: Prompts):
        return self.inner(prompts)


@pytest.mark.parametrize("loss", [Huber(0.3), Logistic()], ids=repr)
def test_measures_of_the_reduced_form_are_those_of_the_token_form(loss, x64):
    model = LINEAR(jax.random.key(0), dtype=jnp.float64)
    measures = [TrainingLoss(), DirectionalSmoothness(), Curvature(),
                GradientNoise(samples=2, batch_sizes=(5,), reference=1000)]  # fmt: skip
    taken = []
    for each in (Unreduced(model), model):
        iterate = Iterate.of(each, WithLoss(TASK, loss), batch=20, dtype="float64")
        iterate = dataclasses.replace(iterate, update=make_direction(each))
        taken.append(quick_jit(lambda i: [dict(measure(i)) for measure in measures])(iterate))
    for expected, found in zip(*taken, strict=True):
        for name in expected:
            if name != "preconditioned_sharpness":  # without an optimizer, NaN
                assert np.isfinite(found[name]).all(), name
                # Eigenvalues are as exact as their matrix's norm.
                size = np.abs(expected[name]).max() + 1
                np.testing.assert_allclose(found[name], expected[name], atol=1e-11 * size)

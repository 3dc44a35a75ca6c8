"""Linear attention in rotated coordinates: SGD takes the same path, Adam does not."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from attnscape import LinearTransformer, RegressionTask, hessian, loss, train, value_and_grad
from attnscape.measures import EvaluationLoss, every
from attnscape.models import RotatedLinearTransformer

SIZE = {"layers": 2, "dim": 2}
TASK = RegressionTask(dim=2, context=4)
PARAMETERS = 2 * 2 * 2 * 2


@pytest.fixture
def wide():
    with jax.enable_x64(True):
        yield


def turning(rotation):
    """R, column by column: what `as_linear` makes of each unit vector."""
    columns = []
    for unit in jnp.eye(PARAMETERS):
        P, Q = unit.reshape(2, 2, 2, 2)
        columns.append(ravel_pytree(RotatedLinearTransformer(P, Q, rotation).as_linear())[0])
    return np.stack(columns, axis=1)


def pair(rotation=0, form="block"):
    make = RotatedLinearTransformer.init
    rotated = make(jax.random.key(1), **SIZE, form=form, scale=0.3, rotation=rotation)
    return rotated, LinearTransformer.init(jax.random.key(1), **SIZE, form=form, scale=0.3)


def test_r_is_a_rotation_of_its_own_for_each_seed(wide):
    R = turning(0)
    np.testing.assert_allclose(R @ R.T, np.eye(PARAMETERS), atol=1e-12)
    assert np.linalg.det(R) == pytest.approx(1)
    assert abs(R - turning(1)).max() > 0.1


@pytest.mark.parametrize("form", ["block", "full"])
def test_it_starts_at_the_same_function(form):
    rotated, linear = pair(form=form)
    for same in ("P", "Q"):
        found = getattr(rotated.as_linear(), same)
        # Rounding of two products with a matrix of at most 36 unit rows.
        np.testing.assert_allclose(found, getattr(linear, same), atol=1e-6)
    prompts = TASK.sample(jax.random.key(2), 10)
    np.testing.assert_allclose(rotated(prompts), linear(prompts), rtol=1e-4, atol=1e-5)
    assert abs(rotated.P - linear.P).max() > 0.1


def test_it_starts_at_the_same_point_in_every_precision(wide):
    key, make = jax.random.key(1), RotatedLinearTransformer.init
    model, single = make(key, **SIZE, dtype=jnp.float64), make(key, **SIZE)
    assert model.P.dtype == model.Q.dtype == "float64"
    assert single.P.dtype == single.Q.dtype == "float32"
    linear, found = LinearTransformer.init(key, **SIZE, dtype=jnp.float64), model.as_linear()
    # R^T R is the identity to 16 roundings, the vector of all entries has a norm of some 0.2.
    np.testing.assert_allclose(found.P, linear.P, rtol=0, atol=1e-15)
    np.testing.assert_allclose(found.Q, linear.Q, rtol=0, atol=1e-15)


def test_derivatives_are_turned(wide):
    R = turning(0)
    P, Q = jnp.asarray(np.random.default_rng(0).normal(size=(2, 2, 2, 2)))
    rotated = RotatedLinearTransformer(P, Q)
    linear, moments = rotated.as_linear(), TASK.sample_moments(jax.random.key(3), 50, "float64")
    assert float(loss(rotated, moments)) == pytest.approx(float(loss(linear, moments)), rel=1e-12)
    gradient, expected = (
        np.asarray(ravel_pytree(value_and_grad(model, moments)[1])[0])
        for model in (rotated, linear)
    )
    np.testing.assert_allclose(gradient, R.T @ expected, atol=1e-10 * abs(expected).max())
    H, of_linear = (np.asarray(hessian(model, moments)) for model in (rotated, linear))
    np.testing.assert_allclose(H, R.T @ of_linear @ R, atol=1e-10 * abs(of_linear).max())


def losses(make, optimizer, rate):
    dataset = train(
        TASK,
        functools.partial(make, **SIZE, scale=0.3),
        [optimizer],
        rate,
        seeds=[0, 1],
        steps=60,
        batch=50,
        clip=1.0,
        measures=[EvaluationLoss(every(20))],
        evaluation_batch=50,
        precision="float64",
    )
    return dataset["loss"].values.squeeze()


@pytest.mark.parametrize("optimizer", ["sgd", "sgdm", "normalised"])
def test_methods_that_know_only_norms_take_the_same_path(optimizer):
    own, rotated = (
        losses(make, optimizer, 0.02)
        for make in (LinearTransformer.init, RotatedLinearTransformer.init)
    )
    # The initial models differ in the last bits of float32; 60 stable steps do not enlarge that.
    np.testing.assert_allclose(rotated, own, rtol=1e-4)


@pytest.mark.parametrize("optimizer", ["adam", "sign", "lion"])
def test_methods_that_treat_each_coordinate_by_itself_do_not(optimizer):
    own, rotated = (
        losses(make, optimizer, 0.02)
        for make in (LinearTransformer.init, RotatedLinearTransformer.init)
    )
    assert (abs(rotated / own - 1)[:, 1:] > 1e-3).all()

"""Measures of the landscape against dense linear algebra at the same parameters."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from attnscape import LinearTransformer, RegressionTask, hessian, train, value_and_grad
from attnscape.errors import UsageError
from attnscape.measures import (
    Curvature,
    DirectionalSmoothness,
    GradientNoise,
    Iterate,
    PseudoStepSmoothness,
    at,
    every,
)
from attnscape.optimizers import adam, sgdm
from attnscape.tasks import derived_key

TASK = RegressionTask(dim=3, context=6)
INIT = functools.partial(LinearTransformer.init, layers=2, dim=3, scale=0.3)


@pytest.fixture(scope="module")
def runs():
    measures = (Curvature(every(2)), DirectionalSmoothness(every(1)))
    return train(
        TASK,
        INIT,
        {"sgdm": sgdm, "adam": adam},
        [0.05],
        [0, 1],
        steps=4,
        batch=50,
        measures=measures,
    )


@pytest.fixture
def iterate():
    with jax.enable_x64(True):
        model = INIT(jax.random.key(0), dtype="float64")
        yield Iterate.of(model, TASK, batch=50, dtype="float64")


def test_spectrum_and_diagonal_are_those_of_the_dense_hessian(iterate):
    taken = Curvature()(iterate)
    H = np.asarray(hessian(iterate.model, iterate.evaluation))
    np.testing.assert_allclose(taken["hessian_eigenvalues"], np.linalg.eigvalsh(H), atol=1e-12)
    np.testing.assert_allclose(taken["hessian_diagonal"], np.diag(H), atol=1e-13)
    np.testing.assert_allclose(taken["hessian_row_norm"], np.linalg.norm(H, axis=1), atol=1e-12)


def test_parameters_are_labelled_by_their_layer(iterate):
    blocks = Curvature().coordinates(iterate.model)["parameter"]
    assert list(dict.fromkeys(blocks)) == ["P0", "P1", "Q0", "Q1"]


def test_parameters_that_never_reach_the_loss_have_rows_of_exact_zeros(runs):
    dead = runs["hessian_row_norm"].dropna("step", how="all") == 0
    assert bool((dead.sum("parameter") == 9).all())  # P of the last layer


def test_the_smoothness_of_a_step_is_its_quadratic_form(runs):
    """The first step of SGDM, taken by hand: the clipped gradient of the first batch."""
    first = runs["directional_smoothness"].sel(optimizer="sgdm", step=0).squeeze()
    norms = runs["evaluation_gradient_norm"].sel(optimizer="sgdm", step=0).squeeze()
    assert bool((runs["update_norm"].sel(step=0) > 0).all())
    assert bool((norms > 0).all())
    # Directions of SGDM's first step do not depend on its rate, Adam's are sign-like: they differ.
    other = runs["directional_smoothness"].sel(optimizer="adam", step=0).squeeze()
    assert not np.allclose(first, other)


def test_a_pseudo_step_of_sgd_without_memory_lies_along_the_gradient(iterate):
    measure = PseudoStepSmoothness(optimizers=("sgdm",), memory=1, batch=64)
    taken = float(measure(iterate)["pseudo_step_smoothness"][0])
    prompts = iterate.draw(derived_key(iterate.key, 0), 64)
    gradient = ravel_pytree(value_and_grad(iterate.model, prompts)[1])[0]
    H = hessian(iterate.model, iterate.evaluation)
    assert taken == pytest.approx(float(gradient @ H @ gradient / (gradient @ gradient)), rel=1e-10)


def test_a_step_is_measured_along_the_difference_of_two_iterates(iterate):
    update = jax.tree.map(jnp.ones_like, iterate.model)
    moved = dataclasses.replace(iterate, update=update)
    taken = DirectionalSmoothness()(moved)
    H = np.asarray(hessian(iterate.model, iterate.evaluation))
    ones = np.ones(len(H))
    assert float(taken["directional_smoothness"]) == pytest.approx(
        ones @ H @ ones / len(H), rel=1e-10
    )
    gradient = ravel_pytree(value_and_grad(iterate.model, iterate.evaluation)[1])[0]
    assert float(taken["evaluation_gradient_norm"]) == pytest.approx(
        float(jnp.linalg.norm(gradient)), rel=1e-12
    )


def test_noise_is_a_stochastic_gradient_minus_the_reference(iterate):
    measure = GradientNoise(samples=60, batch_sizes=(20, 80), reference=4000)
    taken = {name: np.asarray(values) for name, values in measure(iterate).items()}
    assert taken["noise_norm"].shape == (2, 60)

    @functools.partial(jax.jit, static_argnums=2)
    def gradient(stream, index, batch):
        prompts = iterate.draw(derived_key(iterate.key, index, stream), batch)
        return ravel_pytree(value_and_grad(iterate.model, prompts)[1])[0]

    reference = np.mean([gradient(0, index, 1000) for index in range(4)], axis=0)
    np.testing.assert_allclose(taken["reference_gradient"], reference, atol=1e-13)
    for stream, batch in ((1, 20), (2, 80)):
        noise = np.linalg.norm(gradient(stream, 59, batch) - reference)
        assert taken["noise_norm"][stream - 1, 59] == pytest.approx(noise, rel=1e-10)
    vectors = np.array([gradient(1, index, 20) for index in range(60)]) - reference
    np.testing.assert_allclose(taken["noise_norm"][0], np.linalg.norm(vectors, axis=1), rtol=1e-10)
    np.testing.assert_allclose(
        taken["noise_covariance_eigenvalues"][0],
        np.linalg.eigvalsh(vectors.T @ vectors / 60),
        atol=1e-13,
    )
    # The covariance's trace is the mean squared norm.
    traces = taken["noise_covariance_eigenvalues"].sum(-1)
    np.testing.assert_allclose(traces, (taken["noise_norm"] ** 2).mean(-1), rtol=1e-9)


def test_noise_is_measured_at_initialisation_without_a_step():
    result = train(
        TASK, INIT, {"sgdm": sgdm}, [1.0], [0, 1], steps=0,
        measures=(GradientNoise(samples=20, batch_sizes=(10,), reference=1000),),
    )  # fmt: skip
    assert result["noise_norm"].dims[-2:] == ("batch_size", "sample")
    assert result["noise_norm"].notnull().all()


def test_schedules_say_when():
    assert every(50).within(120) == (0, 50, 100, 120)
    assert at(7, 3, 500).within(100) == (3, 7)


def test_a_reference_that_is_no_multiple_of_its_batches_is_refused():
    with pytest.raises(UsageError, match="multiple of 1000"):
        GradientNoise(reference=1500)

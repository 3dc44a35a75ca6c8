"""Newton and Gauss-Newton with the exact matrices of the step's batch."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.sparse.linalg
from jax.flatten_util import ravel_pytree

from attnscape import AttentionTransformer, LinearTransformer, RegressionTask, objective, train
from attnscape.errors import UsageError
from attnscape.measures import EvaluationLoss, Parameters, at
from attnscape.optimizers import gauss_newton, keywords_of_step, newton, newton_cg
from attnscape.steppers import Problem
from attnscape.tasks import derived_key
from attnscape.training import _threads
from support import quick_jit

TASK = RegressionTask(dim=2, context=5, noise=0.3)
LINEAR = functools.partial(LinearTransformer.init, dim=2, scale=0.3)


# Products with a Hessian reach the minimum of a quadratic if none is left out.
EXACT_CG = functools.partial(newton_cg, iterations=50, tolerance=1e-12)
METHODS = {"newton": newton, "gauss_newton": gauss_newton, "newton_cg": EXACT_CG}
KEYWORDS = {"newton": "hessian_fn", "gauss_newton": "gauss_newton_fn", "newton_cg": "value_fn"}


def features(moments):
    """What Q multiplies in the prediction of one layer."""
    products = -np.einsum("bi,bj->bij", moments.query, moments.cross)
    return products.reshape(len(products), -1)


def problem_of(make, layers, data):
    model = make(jax.random.key(0), layers=layers, dtype=jnp.float64)
    model, static = eqx.partition(model, eqx.is_inexact_array)
    return Problem(model, static, lambda keys, step: data, None, jnp.dtype("float64")), model


def test_steps_are_those_of_dense_solves(x64):
    rng = np.random.default_rng(0)
    symmetric = (matrix := rng.normal(size=(6, 6))) + matrix.T  # indefinite
    positive = matrix @ matrix.T
    gradient = rng.normal(size=6)
    assert (np.linalg.eigvalsh(symmetric) < 0).any()
    absolute = scipy.linalg.sqrtm(symmetric @ symmetric)
    for factory, given, solved in [
        (newton, {"hessian_fn": lambda _: jnp.asarray(symmetric)}, absolute),
        (gauss_newton, {"gauss_newton_fn": lambda _: jnp.asarray(positive)}, positive),
    ]:
        method = factory(0.5, damping=0.1)
        updates, _ = method.update(jnp.asarray(gradient), method.init(None), None, **given)
        expected = -0.5 * scipy.linalg.solve(solved + 0.1 * np.eye(6), gradient)
        # Errors of rounding are 1e-16 times the condition number, here at most some hundreds.
        np.testing.assert_allclose(updates, expected, rtol=1e-11)


@pytest.mark.parametrize("kind", [LinearTransformer, AttentionTransformer])
def test_the_gauss_newton_part_is_that_of_the_predictions_jacobian(kind, x64):
    prompts = TASK.sample(jax.random.key(1), 7, dtype=jnp.float64)
    problem, model = problem_of(functools.partial(kind.init, dim=2, scale=0.5), 2, prompts)
    flat, unravel = ravel_pytree(model)
    predictions = quick_jit(jax.jacrev(lambda v: eqx.combine(unravel(v), problem.static)(prompts)))
    jacobian = np.asarray(predictions(flat))
    expected = 2 / 7 * jacobian.T @ jacobian
    found = np.asarray(quick_jit(problem.gauss_newton)(model, prompts))
    np.testing.assert_allclose(found, expected, atol=1e-12 * np.abs(expected).max())
    hessian = np.asarray(quick_jit(problem.hessian)(model, prompts))
    np.testing.assert_array_equal(hessian, quick_jit(objective.hessian)(model, prompts))
    assert np.abs(hessian - expected).max() > 0.01 * np.abs(hessian).max()  # they are not the same


@pytest.mark.parametrize("name", METHODS)
def test_one_step_reaches_the_minimum_of_a_quadratic(name, x64):
    # With one layer the prediction is linear in Q, -c^T Q^T q, and P has no effect.
    data = TASK.sample_moments(jax.random.key(1), 50, jnp.float64)
    problem, model = problem_of(LINEAR, 1, data)
    loss, gradient = problem.value_and_grad(model, data)
    method, keyword = METHODS[name](1.0, damping=1e-12), KEYWORDS[name]
    given = {keyword: problem.keywords(model, data, loss, gradient)[keyword]}
    updates, _ = method.update(gradient, method.init(model), model, **given)
    reached = problem.loss(jax.tree.map(jnp.add, model, updates), data)
    residual = np.linalg.lstsq(features(data), data.target)[1].item() / 50
    assert loss > 1.01 * residual
    assert float(reached) == pytest.approx(residual, rel=1e-9)


def test_runs_are_stepped_to_the_minimum_of_each_batch():
    # As above, by the engine: where a step leads depends on its batch alone.
    factories = {name: functools.partial(each, damping=1e-6) for name, each in METHODS.items()}
    result = train(
        TASK, functools.partial(LINEAR, layers=1), factories, [1.0], (3,), steps=2, batch=256,
        clip=None, measures=(EvaluationLoss(at(1, 2)),), evaluation_batch=512,
    )  # fmt: skip
    data_key = jax.random.split(jax.random.key(3))[1]
    evaluation = TASK.sample_moments(jax.random.fold_in(jax.random.key(0), 1), 512)
    for step in (0, 1):
        batch = TASK.sample_moments(derived_key(data_key, step), 256)
        solution = np.linalg.lstsq(features(batch), batch.target)[0]
        expected = np.mean((features(evaluation) @ solution - evaluation.target) ** 2)
        # In float32 and with the damping, entries of Q are right to some 1e-5.
        np.testing.assert_allclose(result["loss"].sel(step=step + 1), expected, rtol=1e-4)


def test_the_number_of_threads_of_blas_changes_no_bit():
    # The paper's 150 parameters: OpenBLAS divides no matrix of 50 rows among its threads.
    task, model = RegressionTask(), functools.partial(LinearTransformer.init, layers=3, dim=5)

    def trained(seeds):
        methods = ["newton", "gauss-newton"]
        parts = {"steps": 2, "batch": 64, "measures": (Parameters(at(2)),), "evaluation_batch": 8}
        with _threads._pools().limit(limits=2, user_api="blas"):
            found = train(task, model, methods, [0.5], seeds, **parts)["parameters"]
        return found.sel(seed=0).values

    together, alone = trained((0, 1)), trained((0,))  # two seeds have one thread each
    assert np.isfinite(alone).all()
    np.testing.assert_array_equal(alone, together)


@pytest.mark.parametrize(
    ("factory", "name", "call"),
    [(newton, "hessian_fn", "eigh"), (gauss_newton, "gauss_newton_fn", "cholesky")],
)
def test_the_matrices_of_several_runs_are_solved_one_by_one(factory, name, call):
    # Within the engine's loop, LAPACK on a batch of 150 x 150 matrices waits for ever.
    method = factory(0.5)

    def update(gradient, matrix):
        return method.update(gradient, (), gradient, **{name: lambda _: matrix})[0]

    over_runs = jax.vmap(jax.vmap(update))
    lines = str(jax.make_jaxpr(over_runs)(jnp.ones((2, 3, 6)), jnp.ones((2, 3, 6, 6)))).split("\n")
    calls = [line for line in lines if call in line]
    assert calls
    assert not [line for line in calls if "3,6,6]" in line]


@pytest.mark.parametrize("iterations", [1, 3, 12])
def test_conjugate_gradients_are_those_of_scipy(iterations, x64):
    """The same iterates from zero, and after as many steps as parameters the solution."""
    rng = np.random.default_rng(1)
    matrix = (factor := rng.normal(size=(12, 12))) @ factor.T
    gradient = rng.normal(size=12)
    damped = matrix + 0.1 * np.eye(12)
    expected, _ = scipy.sparse.linalg.cg(damped, gradient, rtol=0, maxiter=iterations)
    method = newton_cg(0.5, damping=0.1, iterations=iterations, tolerance=0)
    updates, _ = method.update(
        jnp.asarray(gradient), (), jnp.ones(12), value_fn=lambda p: p @ matrix @ p / 2
    )
    # Rounding grows with the condition number, here some thousands, in each of the steps.
    np.testing.assert_allclose(updates, -0.5 * expected, rtol=1e-7)
    if iterations == 12:
        np.testing.assert_allclose(updates, -0.5 * np.linalg.solve(damped, gradient), rtol=1e-6)


def test_conjugate_gradients_end_at_the_tolerance_and_go_downhill_along_negative_curvature(x64):
    def step(eigenvalues, gradient, **options):
        eigenvalues = jnp.asarray(eigenvalues)
        method = newton_cg(1.0, damping=0.1, **options)
        return method.update(
            jnp.asarray(gradient), (), jnp.ones(2), value_fn=lambda p: eigenvalues @ p**2 / 2
        )[0]

    # From the first direction on, which is the gradient: as long as with |curvature| + damping.
    np.testing.assert_allclose(step([-3.0, 1.0], [1.0, 0.0]), [-1 / 3.1, 0.0])
    gradient, curvature = np.array([2.0, 1.0]), 4 * -3.0 + 1.0
    expected = -gradient * 5 / (abs(curvature) + 0.1 * 5)
    np.testing.assert_allclose(step([-3.0, 1.0], gradient), expected)
    # A loose tolerance ends after one iteration, a tight one with the solution.
    one = step([1.0, 1.2], gradient, iterations=1)
    np.testing.assert_array_equal(step([1.0, 1.2], gradient, tolerance=0.1), one)
    np.testing.assert_allclose(step([1.0, 1.2], gradient, tolerance=1e-9), -gradient / [1.1, 1.3])
    assert not step([1.0, 1.2], [0.0, 0.0]).any()  # where the gradient is zero it stays


def test_they_say_that_networks_have_no_dense_hessian():
    keywords = keywords_of_step("newton", jnp.zeros(()), {})
    with pytest.raises(UsageError, match="newton asks for the loss, gradient or Hessian"):
        newton(1.0).update(jnp.ones(2), (), jnp.ones(2), hessian_fn=keywords["hessian_fn"])

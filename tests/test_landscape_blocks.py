"""Measures of blocks, parts and eigenvectors of the Hessian against matrices that are known."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats
from jax.flatten_util import ravel_pytree

from attnscape import LinearTransformer, Prompts, RegressionTask, hessian, train, value_and_grad
from attnscape.errors import UsageError
from attnscape.experiments.paths import eigenvector_overlap
from attnscape.measures import (
    BlockHeterogeneity,
    BlockSmoothness,
    GaussNewton,
    Iterate,
    LossAlongStep,
    TopEigenvectors,
    every,
    loss_along_line,
)
from attnscape.models import FunctionModel
from attnscape.objective import parameter_blocks, predictions
from support import quick_jit

TASK = RegressionTask(dim=3, context=6)
INIT = functools.partial(LinearTransformer.init, layers=2, dim=3, scale=0.3)


@pytest.fixture(autouse=True)
def _in_double_precision(x64):
    pass


@pytest.fixture(scope="module")
def iterate():
    with jax.enable_x64(True):
        model = INIT(jax.random.key(0), dtype="float64")
        return Iterate.of(model, TASK, batch=50, dtype="float64")


def measured(measure, iterate):
    """The measure's numbers; one compiled program is faster than its operations one by one."""
    return eqx.filter_jit(measure)(iterate)


def linear(parameters, prompts):
    return prompts.query @ ravel_pytree(parameters)[0]


def quadratic(rows, parameters, target=None):
    """An iterate whose predictions are rows @ parameters: its Hessian is 2 rows^T rows / B.

    Args:
        rows: One row a prompt.
        parameters: A dict of vectors; each is a block.
        target: The targets; zeros if not given.
    """
    rows = jnp.asarray(rows, "float64")
    target = jnp.zeros(len(rows)) if target is None else jnp.asarray(target)
    prompts = Prompts(rows[:, None, :], jnp.zeros((len(rows), 1)), rows, target)
    model = FunctionModel(jax.tree.map(jnp.asarray, parameters), linear)
    return Iterate(model, None, prompts, jax.random.key(0), None)


def with_spectra(*spectra):
    """A quadratic of blocks a, b, ... with these eigenvalues, each in a random basis."""
    size = sum(map(len, spectra))
    rows, start = np.zeros((size, size)), 0
    for index, spectrum in enumerate(spectra):
        end = start + len(spectrum)
        basis = scipy.stats.ortho_group.rvs(len(spectrum), random_state=index)
        rows[start:end, start:end] = np.sqrt(np.array(spectrum) * size / 2)[:, None] * basis
        start = end
    parameters = {chr(97 + i): np.zeros(len(each)) for i, each in enumerate(spectra)}
    return quadratic(rows, parameters)


# --- block heterogeneity


def continuous_distance(first, second, bandwidth):
    """The Jensen-Shannon distance to base 2 of two mixtures of Gaussians, by quadrature."""

    def density(x, places):
        return np.exp(-(((x - np.asarray(places)) / bandwidth) ** 2) / 2).mean() / (
            bandwidth * np.sqrt(2 * np.pi)
        )

    def integrand(x):
        p, q = density(x, first), density(x, second)
        return sum(each * np.log2(2 * each / (p + q)) for each in (p, q) if each > 0) / 2

    ends = np.concatenate([first, second])
    low, high = ends.min() - 8 * bandwidth, ends.max() + 8 * bandwidth
    return np.sqrt(scipy.integrate.quad(integrand, low, high, points=np.unique(ends), limit=200)[0])


def test_the_distance_of_two_spectra_is_that_of_their_densities():
    spectra = [1.0, 0.1, 0.02], [0.3, 0.05], [1e-3, 2e-3]
    taken = measured(BlockHeterogeneity(bandwidth=0.3), with_spectra(*spectra))
    decades = [np.log10(values) for values in spectra]  # up to floor^2 / value^2
    distances = np.asarray(taken["block_distance"])
    pairs = [(0, 1), (0, 2), (1, 2)]
    for a, b in pairs:
        expected = continuous_distance(decades[a], decades[b], 0.3)
        assert distances[a, b] == pytest.approx(expected, abs=1e-5)
        assert distances[b, a] == pytest.approx(distances[a, b], abs=1e-12)
    np.testing.assert_allclose(np.diag(distances), 0, atol=1e-7)
    mean = np.mean([distances[pair] for pair in pairs])
    assert float(taken["block_heterogeneity"]) == pytest.approx(mean, rel=1e-12)
    np.testing.assert_allclose(
        taken["block_eigenvalues"], np.concatenate([np.sort(each) for each in spectra]), rtol=1e-9
    )


def test_equal_spectra_in_different_bases_are_alike_and_far_ones_are_one_apart():
    taken = measured(BlockHeterogeneity(), with_spectra([3.0, 1.0], [3.0, 1.0], [3e-5, 1e-5]))
    distances = np.asarray(taken["block_distance"])
    assert distances[0, 1] < 1e-5  # rounding errors of eigenvalues and of the root near 0
    np.testing.assert_allclose(distances[:2, 2], 1, atol=1e-6)


def test_a_multiple_of_the_loss_is_as_heterogeneous():
    spectra = np.array([1.0, 0.2]), np.array([0.01, 0.05])
    once, thousandfold = (
        measured(BlockHeterogeneity(), with_spectra(*(factor * each for each in spectra)))
        for factor in (1, 1000)
    )
    assert float(once["block_heterogeneity"]) == pytest.approx(
        float(thousandfold["block_heterogeneity"]), rel=1e-9
    )


@pytest.mark.parametrize(("factor", "distance"), [(1, 0.18), (3, 0.39), (10, 0.67)])
def test_distances_of_lognormal_spectra_are_those_that_the_docstring_gives(factor, distance):
    rng = np.random.default_rng(0)
    distances = []
    for _ in range(25):
        decades = rng.normal(0, 0.5, 50) + np.repeat([0, np.log10(factor)], 25)
        rows = np.diag(np.sqrt(10**decades))
        taken = measured(
            BlockHeterogeneity(), quadratic(rows, {"a": np.ones(25), "b": np.ones(25)})
        )
        distances.append(float(taken["block_heterogeneity"]))
    error = np.std(distances, ddof=1) / 5
    assert np.mean(distances) == pytest.approx(distance, abs=4 * error)


def test_dead_parameters_do_not_count():
    """A third block is dead; so is one parameter of the second, whose spectrum is the first's."""
    rows = np.diag(np.sqrt([2.0, 1.0, 2.0, 1.0, 0, 0]))
    parameters = {"a": np.zeros(2), "b": np.zeros(3), "c": np.zeros(1)}
    taken = measured(BlockHeterogeneity(), quadratic(rows, parameters))
    distances = np.asarray(taken["block_distance"])
    assert distances[0, 1] < 1e-5
    assert np.isnan(distances[2]).all()
    assert float(taken["block_heterogeneity"]) == pytest.approx(distances[0, 1], abs=1e-12)


def test_blocks_are_those_of_the_dense_hessian(iterate):
    taken = np.asarray(measured(BlockHeterogeneity(), iterate)["block_eigenvalues"])
    H = np.asarray(hessian(iterate.model, iterate.evaluation))
    labels = np.array(parameter_blocks(iterate.model))
    for block in ("P0", "P1", "Q0", "Q1"):
        of = labels == block
        np.testing.assert_allclose(taken[of], np.linalg.eigvalsh(H[np.ix_(of, of)]), atol=1e-12)


# --- Gauss-Newton and residual part


def test_the_gauss_newton_part_is_that_of_the_predictions_jacobian(iterate):
    """Jacobian and second derivatives of the token form's predictions, by JAX in float64."""
    flat, unravel = ravel_pytree(iterate.model)
    prompts = TASK.sample(jax.random.key(3), 40, "float64")

    def predict(vector):
        return unravel(vector)(prompts)

    J, second = quick_jit(lambda v: (jax.jacrev(predict)(v), jax.hessian(predict)(v)))(flat)
    residuals = predict(flat) - prompts.target
    G = np.asarray(2 * J.T @ J / 40)
    R = np.asarray(2 * jnp.einsum("b,bij->ij", residuals, second) / 40)
    taken = measured(GaussNewton(), dataclasses.replace(iterate, evaluation=prompts))
    parts = (G + R, G, R)
    spectra = [np.linalg.eigvalsh(part) for part in parts]
    sharpest = np.linalg.eigh(G + R)[1][:, -1]
    expected = {
        "curvature_largest_eigenvalue": [values[-1] for values in spectra],
        "curvature_smallest_eigenvalue": [values[0] for values in spectra],
        "curvature_frobenius_norm": [np.linalg.norm(part) for part in parts],
        "curvature_trace": [np.trace(part) for part in parts],
        "curvature_along_sharpest": [sharpest @ part @ sharpest for part in parts],
        "gauss_newton_cosine": np.sum((G + R) * G) / np.linalg.norm(G + R) / np.linalg.norm(G),
        "residual_cosine": np.sum(G * R) / np.linalg.norm(G) / np.linalg.norm(R),
    }
    scale = np.linalg.norm(G)
    assert np.linalg.norm(R) > 1e-3 * scale  # otherwise nothing is tested of R
    for name, value in expected.items():
        np.testing.assert_allclose(taken[name], value, atol=1e-10 * scale, err_msg=name)


def test_a_model_that_is_linear_in_its_parameters_has_no_residual_part():
    rows = np.random.default_rng(0).standard_normal((7, 3))
    taken = measured(GaussNewton(), quadratic(rows, {"w": np.ones(3)}, target=np.arange(7.0)))
    norms = np.asarray(taken["curvature_frobenius_norm"])
    assert norms[0] == pytest.approx(np.linalg.norm(2 * rows.T @ rows / 7), rel=1e-12)
    assert norms[1] == pytest.approx(norms[0], rel=1e-12)
    assert norms[2] < 1e-13 * norms[0]


def test_predictions_are_those_of_the_token_form(iterate):
    prompts = TASK.sample(jax.random.key(3), 10, "float64")
    tokens = np.asarray(iterate.model(prompts))
    for given in (prompts, prompts.moments()):
        np.testing.assert_allclose(predictions(iterate.model, given), tokens, atol=1e-13)
    constant = FunctionModel(1.0, lambda w, p: w * p.y.mean(axis=1))
    np.testing.assert_allclose(predictions(constant, prompts), prompts.y.mean(axis=1), rtol=1e-15)
    with pytest.raises(UsageError, match="Only moments were given"):
        predictions(constant, prompts.moments())


# --- eigenvectors


def test_eigenvectors_of_a_known_rotation_are_found():
    basis = scipy.stats.ortho_group.rvs(5, random_state=0)
    values = np.array([5.0, 4.0, 3.0, 2.0, 1.0])
    rows = np.sqrt(values * 5 / 2)[:, None] * basis  # eigenvectors are the rows of the basis
    taken = measured(
        TopEigenvectors(count=3), quadratic(rows, {"a": np.zeros(2), "b": np.zeros(3)})
    )
    np.testing.assert_allclose(taken["top_eigenvalues"], values[:3], rtol=1e-12)
    vectors = np.asarray(taken["top_eigenvectors"])
    np.testing.assert_allclose(np.abs(vectors @ basis[:3].T), np.eye(3), atol=1e-12)
    assert (np.take_along_axis(vectors, np.abs(vectors).argmax(1)[:, None], 1) > 0).all()
    np.testing.assert_allclose(
        taken["inverse_participation_ratio"], (basis[:3] ** 4).sum(axis=1), rtol=1e-11
    )
    first = (basis[:3, :2] ** 2).sum(axis=1)
    np.testing.assert_allclose(
        taken["eigenvector_share"], np.stack([first, 1 - first], axis=1), atol=1e-12
    )


def test_more_eigenvectors_than_parameters_are_refused(iterate):
    with pytest.raises(UsageError, match="37 and the model has 36 parameters"):
        TopEigenvectors(count=37)(iterate)


# --- smoothness of blocks


def steepest(gradient):
    """Dual norms and directions of unit norm of a matrix, by numpy."""
    U, values, Vt = np.linalg.svd(gradient)
    return {
        "l2": (np.linalg.norm(gradient), gradient / np.linalg.norm(gradient)),
        "l_inf": (np.abs(gradient).sum(), np.sign(gradient)),
        "spectral": (values.sum(), U @ Vt),
    }


NORMS = {
    "l2": lambda matrix: np.linalg.norm(matrix),
    "l_inf": lambda matrix: np.abs(matrix).max(),
    "spectral": lambda matrix: np.linalg.norm(matrix, 2),
}


def test_smoothness_and_dual_norms_are_those_of_each_blocks_gradient(iterate):
    taken = measured(BlockSmoothness(), iterate)
    H = np.asarray(hessian(iterate.model, iterate.evaluation))
    gradient = value_and_grad(iterate.model, iterate.evaluation)[1]
    matrices = dict(zip(("P0", "P1", "Q0", "Q1"), (*gradient.P, *gradient.Q), strict=True))
    labels, rng = np.array(parameter_blocks(iterate.model)), np.random.default_rng(0)
    for column, (name, given) in enumerate(matrices.items()):
        of, matrix = labels == name, np.asarray(given)
        block = H[np.ix_(of, of)]
        if name == "P1":  # P of the last layer is dead in the block form
            assert np.isnan(taken["block_smoothness"][:, column]).all()
            assert (np.asarray(taken["block_gradient_norm"][:, column]) == 0).all()
            continue
        for row, (geometry, (dual, u)) in enumerate(steepest(matrix).items()):
            assert NORMS[geometry](u) == pytest.approx(1, rel=1e-12)
            assert (u * matrix).sum() == pytest.approx(dual, rel=1e-10)
            smoothness = u.ravel() @ block @ u.ravel()
            bound = float(taken["block_smoothness_bound"][row, column])
            assert float(taken["block_gradient_norm"][row, column]) == pytest.approx(dual, rel=1e-9)
            assert float(taken["block_smoothness"][row, column]) == pytest.approx(
                smoothness, rel=1e-8
            )
            for _ in range(50):
                v = rng.standard_normal(matrix.shape)
                v = (v / NORMS[geometry](v)).ravel()
                assert abs(v @ block @ v) <= bound
        bounds = np.asarray(taken["block_smoothness_bound"][:, column])
        largest = np.linalg.norm(block, 2)
        np.testing.assert_allclose(bounds, [largest, np.abs(block).sum(), 3 * largest], rtol=1e-9)


def test_a_gradient_of_low_rank_gives_no_steps_along_its_kernel():
    """Its polar factor has as many singular values of 1 as the gradient has of above 0."""
    rows = np.random.default_rng(1).standard_normal((8, 4))
    given = quadratic(rows, {"w": np.zeros(4)}, target=np.arange(8.0))
    lowered = np.outer([1.0, 2.0], [3.0, -1.0]).ravel()
    slope = np.linalg.solve(2 * rows.T @ rows / 8, lowered)  # the gradient there is `lowered`
    best = np.linalg.lstsq(rows, np.arange(8.0), rcond=None)[0]
    model = FunctionModel(jnp.asarray((best + slope).reshape(2, 2)), linear)
    taken = measured(BlockSmoothness(), dataclasses.replace(given, model=model))
    u = lowered / np.linalg.norm(lowered)
    assert float(taken["block_gradient_norm"][2, 0]) == pytest.approx(np.linalg.norm(lowered))
    expected = u @ (2 * rows.T @ rows / 8) @ u
    assert float(taken["block_smoothness"][2, 0]) == pytest.approx(expected, rel=1e-8)


# --- lines


def test_the_loss_along_a_line_is_the_loss_of_the_token_form_there(iterate):
    prompts = TASK.sample(jax.random.key(3), 10, "float64")
    start, unravel = ravel_pytree(iterate.model)
    end = ravel_pytree(INIT(jax.random.key(1), dtype="float64"))[0]
    fractions = (-0.5, 0.0, 0.3, 1.0)
    expected = [
        np.mean((unravel(start + a * (end - start))(prompts) - prompts.target) ** 2)
        for a in fractions
    ]
    for given in (prompts, prompts.moments()):
        losses = loss_along_line(iterate.model, start, end, given, fractions)
        np.testing.assert_allclose(losses, expected, rtol=1e-11)
    step = dataclasses.replace(iterate, evaluation=prompts, update=unravel(end - start))
    taken = measured(LossAlongStep(fractions=fractions), step)
    np.testing.assert_allclose(taken["loss_along_step"], expected, rtol=1e-11)
    with pytest.raises(UsageError, match="vectors in the order of its Hessian"):
        loss_along_line(iterate.model, start[1:], end[1:], prompts)


# --- in a training


def test_a_training_records_them_with_labels_for_every_run():
    runs = train(
        TASK, INIT, ["sgdm", "adam"], [0.05, 0.1], [0, 1], steps=2, batch=20, evaluation_batch=20,
        measures=(
            BlockHeterogeneity(every(2)), BlockSmoothness(every(2)), GaussNewton(every(2)),
            LossAlongStep(every(2)), TopEigenvectors(every(2)),
        ),
    )  # fmt: skip
    assert runs["block_distance"].dims[-2:] == ("block", "other_block")
    assert runs["block"].values.tolist() == ["P0", "P1", "Q0", "Q1"]
    assert runs["top_eigenvectors"].dims[-2:] == ("eigenvector", "parameter")
    overlaps = eigenvector_overlap(runs["top_eigenvectors"])
    assert overlaps["step"].values.tolist() == [2]
    assert bool(((overlaps > 3 / 36) & (overlaps < 1)).all())  # two steps move them, but not far
    assert runs["curvature_trace"]["curvature_part"].values.tolist() == [
        "hessian", "gauss_newton", "residual",
    ]  # fmt: skip
    traces = runs["curvature_trace"]
    np.testing.assert_allclose(
        traces.sel(curvature_part="hessian"),
        runs["block_eigenvalues"].sum("parameter"),
        rtol=1e-9,
    )
    # P of the last layer is dead in the block form, so its three distances are not defined.
    assert bool(runs["block_distance"].sel(block="P1").isnull().all())
    assert bool(runs["block_heterogeneity"].notnull().all())
    smoothness = runs["block_smoothness"]
    assert smoothness.dims[-2:] == ("geometry", "block")
    assert bool(smoothness.drop_sel(block="P1").notnull().all())
    assert bool(runs["loss_along_step"].notnull().all())

"""The linear Transformer starts where it should and computes what equation 7 says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from attnscape import LinearTransformer, RegressionTask
from attnscape.errors import UsageError
from support import make_case

KEY = jax.random.key(3)


@pytest.mark.parametrize("form", ["block", "full"])
def test_initial_parameters_are_independent_normals_of_the_given_scale(form):
    model = LinearTransformer.init(KEY, layers=4, dim=30, form=form, scale=0.1)
    size = 31 if form == "full" else 30
    assert model.P.shape == model.Q.shape == (4, size, size)
    entries = np.concatenate([np.ravel(model.P), np.ravel(model.Q)]) / 0.1
    assert len(np.unique(entries)) > 0.99 * len(entries)
    assert scipy.stats.kstest(entries, "norm").pvalue > 1e-6


def test_a_key_starts_at_the_same_point_in_every_precision(x64):
    single, double = (LinearTransformer.init(KEY, dtype=dtype) for dtype in ("float32", "float64"))
    assert double.P.dtype == double.Q.dtype == "float64"
    np.testing.assert_array_equal(single.P, double.P)
    np.testing.assert_array_equal(single.Q, double.Q)


def test_the_block_form_fixes_the_last_row_and_column():
    model = LinearTransformer(2 * jnp.ones((1, 2, 2)), 3 * jnp.ones((1, 2, 2)))
    P, Q = model.token_matrices()
    np.testing.assert_array_equal(P, [[[2, 2, 0], [2, 2, 0], [0, 0, 1]]])
    np.testing.assert_array_equal(Q, [[[3, 3, 0], [3, 3, 0], [0, 0, 0]]])


def test_with_P_zero_layers_are_steps_of_gradient_descent(x64):  # noqa: N802
    """With P = 0 and Q = -rate I in the block form, s follows least squares from w = 0."""
    layers, rate = 5, 0.3
    _, prompts = make_case("block", 1, 3, 8, 6)
    Q = jnp.broadcast_to(-rate * jnp.eye(3), (layers, 3, 3))
    predictions = LinearTransformer(jnp.zeros_like(Q), Q)(prompts)
    for b in range(6):
        x, y, w = np.asarray(prompts.x[b]), np.asarray(prompts.y[b]), np.zeros(3)
        for _ in range(layers):
            w = w - rate * x.T @ (x @ w - y) / 8
        np.testing.assert_allclose(predictions[b], w @ prompts.query[b], rtol=1e-12)


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        (lambda: LinearTransformer.init(KEY, layers=0), "layers is 0 and dim 5; both must be at"),
        (lambda: LinearTransformer.init(KEY, dim=-1), "layers is 3 and dim -1; both must be at"),
        (
            lambda: LinearTransformer.init(KEY, form="dense"),
            "form is 'dense'; it must be one of block, full",
        ),
        (
            lambda: LinearTransformer(jnp.zeros((2, 3)), jnp.zeros((2, 3))),
            r"P has shape \(2, 3\); it must be \(layers, m, m\), none of them 0",
        ),
        (
            lambda: LinearTransformer(jnp.zeros((2, 3, 4)), jnp.zeros((2, 3, 4))),
            r"P has shape \(2, 3, 4\); it must be",
        ),
        (
            lambda: LinearTransformer(jnp.zeros((0, 3, 3)), jnp.zeros((0, 3, 3))),
            r"P has shape \(0, 3, 3\); it must be",
        ),
        (
            lambda: LinearTransformer(jnp.zeros((2, 3, 3)), jnp.zeros((1, 3, 3))),
            r"Q has shape \(1, 3, 3\), but P has \(2, 3, 3\): make them equal",
        ),
        (
            lambda: LinearTransformer.init(KEY, dim=4)(RegressionTask(dim=5).sample(KEY, 2)),
            r"have dimension 5, but the model \(block form, P of shape \(3, 4, 4\)\) takes 4",
        ),
    ],
)
def test_mistakes_are_answered_with_what_is_allowed(mistake, sentence, unchecked):
    with pytest.raises(UsageError, match=sentence):
        mistake()

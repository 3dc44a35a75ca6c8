"""Prompts, their moments and their tokens are what the paper's formulas say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attnscape import Moments, Prompts
from attnscape.errors import UsageError
from support import make_case

zeros = jnp.zeros


def test_moments_are_means_over_the_context(x64):
    _, prompts = make_case("block", 1, 3, 4, 5)
    moments = prompts.moments()
    for b in range(5):
        x, y = np.asarray(prompts.x[b]), np.asarray(prompts.y[b])
        np.testing.assert_allclose(moments.gram[b], x.T @ x / 4, rtol=1e-13)
        np.testing.assert_allclose(moments.cross[b], x.T @ y / 4, rtol=1e-13)
        np.testing.assert_allclose(moments.square[b], y @ y / 4, rtol=1e-13)
    np.testing.assert_array_equal(moments.query, prompts.query)
    np.testing.assert_array_equal(moments.target, prompts.target)


def test_tokens_hide_the_querys_response():
    prompts = Prompts(
        x=jnp.array([[[1.0, 2.0], [3.0, 4.0]]]),
        y=jnp.array([[5.0, 6.0]]),
        query=jnp.array([[7.0, 8.0]]),
        target=jnp.array([9.0]),
    )
    np.testing.assert_array_equal(prompts.tokens(), [[[1, 3, 7], [2, 4, 8], [5, 6, 0]]])


def test_prompts_and_moments_pass_through_transformations():
    _, prompts = make_case("block", 1, 2, 3, 4, dtype="float32")
    for batch in (prompts, prompts.moments()):
        doubled = jax.jit(lambda b: jax.tree.map(lambda a: 2 * a, b))(batch)
        assert type(doubled) is type(batch)
        stacked = jax.tree.map(lambda a: jnp.stack([a, a]), batch)
        jax.vmap(lambda b: b.target.sum())(stacked)


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        (
            lambda: Prompts(zeros((2, 3)), zeros((2, 3)), zeros((2, 3)), zeros(2)),
            r"x has shape \(2, 3\); it must be \(batch, n, d\) with n and d at least 1",
        ),
        (
            lambda: Prompts(zeros((2, 0, 3)), zeros((2, 0)), zeros((2, 3)), zeros(2)),
            r"x has shape \(2, 0, 3\); it must be",
        ),
        (
            lambda: Prompts(zeros((2, 4, 0)), zeros((2, 4)), zeros((2, 0)), zeros(2)),
            r"x has shape \(2, 4, 0\); it must be",
        ),
        (
            lambda: Prompts(zeros((2, 4, 3)), zeros((2, 3)), zeros((2, 3)), zeros(2)),
            r"y has shape \(2, 3\), but x of shape \(2, 4, 3\) asks for \(2, 4\)",
        ),
        (
            lambda: Prompts(zeros((2, 4, 3)), zeros((2, 4)), zeros((2, 4)), zeros(2)),
            r"query has shape \(2, 4\), but x of shape \(2, 4, 3\) asks for \(2, 3\)",
        ),
        (
            lambda: Prompts(zeros((2, 4, 3)), zeros((2, 4)), zeros((2, 3)), zeros((2, 1))),
            r"target has shape \(2, 1\), but x of shape \(2, 4, 3\) asks for \(2,\)",
        ),
        (
            lambda: Moments(zeros((2, 3, 4)), zeros((2, 3)), zeros(2), zeros((2, 3)), zeros(2)),
            r"gram has shape \(2, 3, 4\); it must be \(batch, d, d\)",
        ),
        (
            lambda: Moments(zeros((2, 3, 3)), zeros((2, 4)), zeros(2), zeros((2, 3)), zeros(2)),
            r"cross has shape \(2, 4\), but gram of shape \(2, 3, 3\) asks for \(2, 3\)",
        ),
        (
            lambda: Moments(zeros((2, 3, 3)), zeros((2, 3)), zeros(3), zeros((2, 3)), zeros(2)),
            r"square has shape \(3,\), but .* asks for \(2,\)",
        ),
        (
            lambda: Moments(zeros((2, 3, 3)), zeros((2, 3)), zeros(2), zeros((1, 3)), zeros(2)),
            r"query has shape \(1, 3\), but .* asks for \(2, 3\)",
        ),
        (
            lambda: Moments(zeros((2, 3, 3)), zeros((2, 3)), zeros(2), zeros((2, 3)), zeros(())),
            r"target has shape \(\), but .* asks for \(2,\)",
        ),
    ],
)
def test_mistakes_are_answered_with_what_is_allowed(mistake, sentence, unchecked):
    with pytest.raises(UsageError, match=sentence):
        mistake()

"""The contracts of a distribution of covariates or weights, and of a response."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from attnscape.tasks import Gaussian
from attnscape.validation._quick_distribution import require_distribution, require_response
from attnscape.validation._result import CheckResult, all_finite, is_same, require, run_checks
from attnscape.validation._tracing import STATE

_BATCH, _N, _D = 16, 8, 5


def check_distribution(distribution: Any) -> list[CheckResult]:
    """Checks a distribution of covariates or weights.

    Args:
        distribution: Function `(key, batch, n, d) -> x` with x of shape (batch, n, d).

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from attnscape.validation import check_distribution
        >>> def equal(key, batch, n, d):
        ...     return jnp.tile(jax.random.normal(key, (1, n, d)), (batch, 1, 1))
        >>> [result.sentence for result in check_distribution(equal) if not result.ok]
        ['Two prompts of a batch are equal; draw each anew.']
    """
    shape = _BATCH, _N, _D
    one, other = jax.random.key(0), jax.random.key(1)

    def finite() -> str:
        require(all_finite(distribution(one, *shape)), "Some of its numbers are not finite.")
        return "Its numbers are finite."

    def deterministic() -> str:
        first, second, third = (distribution(key, *shape) for key in (one, one, other))
        require(is_same(first, second), "The same key gives different numbers.")
        require(not is_same(first, third), "Different keys give the same numbers.")
        return "The same key gives the same numbers, another key others."

    def independent() -> str:
        longer = jax.jit(lambda key: distribution(key, 2 * _BATCH, _N, _D))(one)
        rows = np.asarray(longer).reshape(2 * _BATCH, -1)
        require(
            len(np.unique(rows, axis=0)) == len(rows),
            "Two prompts of a batch are equal; draw each anew.",
        )
        return "No two prompts of a batch are equal."

    return run_checks(
        lambda dtype: require_distribution(distribution, "covariates", shape),
        {STATE: f"For (batch, n, d) = {shape} it gives real numbers of shape {shape}."},
        [("finite", finite), ("deterministic", deterministic), ("prompts", independent)],
    )


def check_response(response: Any) -> list[CheckResult]:
    """Checks a response.

    Args:
        response: Function `(x, w) -> y` with shapes (batch, n, d), (batch, d) and (batch, n).

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape.validation import check_response
        >>> def centred(x, w):
        ...     return jnp.einsum("bnd,bd->bn", x - x.mean(axis=0, keepdims=True), w)
        >>> [result.sentence for result in check_response(centred) if not result.ok]
        ['The response of a prompt depends on the other prompts of its batch.']
    """
    shape = _BATCH, _N, _D
    x = Gaussian()(jax.random.key(0), *shape)
    w = Gaussian()(jax.random.key(1), _BATCH, 1, _D)[:, 0]

    def finite() -> str:
        require(all_finite(response(x, w)), "For normal x and w some responses are not finite.")
        return "For normal x and w all responses are finite."

    def apart() -> str:
        alone = response(x[:1], w[:1])
        require(
            np.allclose(alone, response(x, w)[:1], rtol=1e-4, atol=1e-6),
            "The response of a prompt depends on the other prompts of its batch.",
        )
        return "The response of a prompt does not depend on the others of its batch."

    return run_checks(
        lambda dtype: require_response(response, shape, dtype),
        {STATE: f"For x of shape {shape} it gives real numbers of shape {shape[:2]}."},
        [("finite", finite), ("each prompt for itself", apart)],
    )

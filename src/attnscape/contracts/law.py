"""The contracts of a law of covariates or weights, and of a response."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from attnscape.contracts._finding import Finding, all_finite, findings, is_same, require
from attnscape.contracts._usable import STATE, usable_law, usable_response
from attnscape.tasks import Gaussian

_BATCH, _N, _D = 16, 8, 5


def check_law(law: Any) -> list[Finding]:
    """Checks a law of covariates or weights: `(key, batch, n, d)` to an array (batch, n, d)."""
    shape = _BATCH, _N, _D
    one, other = jax.random.key(0), jax.random.key(1)

    def finite() -> str:
        require(all_finite(law(one, *shape)), "Some of its numbers are not finite.")
        return "Its numbers are finite."

    def deterministic() -> str:
        first, second, third = (law(key, *shape) for key in (one, one, other))
        require(is_same(first, second), "The same key gives different numbers.")
        require(not is_same(first, third), "Different keys give the same numbers.")
        return "The same key gives the same numbers, another key others."

    def independent() -> str:
        longer = jax.jit(lambda key: law(key, 2 * _BATCH, _N, _D))(one)
        rows = np.asarray(longer).reshape(2 * _BATCH, -1)
        require(
            len(np.unique(rows, axis=0)) == len(rows),
            "Two prompts of a batch are equal; draw each anew.",
        )
        return "No two prompts of a batch are equal."

    return findings(
        lambda dtype: usable_law(law, "covariates", shape),
        {STATE: f"For (batch, n, d) = {shape} it gives real numbers of shape {shape}."},
        [("finite", finite), ("deterministic", deterministic), ("prompts", independent)],
    )


def check_response(response: Any) -> list[Finding]:
    """Checks a response: `(x, w)`, (batch, n, d) and (batch, d), to an array (batch, n)."""
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

    return findings(
        lambda dtype: usable_response(response, shape, dtype),
        {STATE: f"For x of shape {shape} it gives real numbers of shape {shape[:2]}."},
        [("finite", finite), ("each prompt for itself", apart)],
    )

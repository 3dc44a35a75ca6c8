"""Responses: what y is, given the covariates and the weights of a prompt.

A response is any callable `(x, w) -> y` with x (batch, n, d), w (batch, d) and y (batch, n).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from attnscape.errors import UsageError

Response = Callable[[Float[Array, "batch n d"], Float[Array, "batch d"]], Float[Array, "batch n"]]


@dataclasses.dataclass(frozen=True)
class Linear:
    """y = <w, x>."""

    def __call__(
        self, x: Float[Array, "batch n d"], w: Float[Array, "batch d"]
    ) -> Float[Array, "batch n"]:
        return jnp.einsum("bnd,bd->bn", x, w, precision="highest")


@dataclasses.dataclass(frozen=True)
class ReluNetwork:
    """y = <w, MLP(x)> with one fixed random network: Linear(d, hidden), ReLU, Linear(hidden, d).

    Its weights and biases have PyTorch's default law, uniform within 1 / sqrt(inputs) (App. B of
    the paper).

    Attributes:
        hidden: Hidden units.
        seed: Which network.
    """

    hidden: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.hidden < 1:
            raise UsageError(f"hidden is {self.hidden}; it must be at least 1.")

    def __call__(
        self, x: Float[Array, "batch n d"], w: Float[Array, "batch d"]
    ) -> Float[Array, "batch n"]:
        d = x.shape[-1]
        keys = jax.random.split(jax.random.key(self.seed), 4)

        def uniform(key, shape, inputs):
            bound = inputs**-0.5
            return jax.random.uniform(key, shape, jnp.float32, -bound, bound).astype(x.dtype)

        W1, b1 = uniform(keys[0], (self.hidden, d), d), uniform(keys[1], (self.hidden,), d)
        W2 = uniform(keys[2], (d, self.hidden), self.hidden)
        b2 = uniform(keys[3], (d,), self.hidden)
        with jax.default_matmul_precision("highest"):
            features = jax.nn.relu(x @ W1.T + b1) @ W2.T + b2
        return Linear()(features, w)

"""Responses: functions that compute y from the covariates and weights of a prompt.

A response is any callable `(x, w) -> y` with x (batch, n, d), w (batch, d) and y (batch, n).
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Callable, Iterable, Sequence

import jax
import numpy as np
from jaxtyping import Array, Float

from attnscape.errors import UsageError
from attnscape.tasks.relu_network import ReluMLP

Response = Callable[[Float[Array, "batch n d"], Float[Array, "batch d"]], Float[Array, "batch n"]]


@dataclasses.dataclass(frozen=True)
class Linear:
    """The linear response y = <w, x>.

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape.tasks import Linear
        >>> x, w = jnp.array([[[1.0, 2.0], [3.0, 4.0]]]), jnp.array([[10.0, 1.0]])
        >>> Linear()(x, w).tolist()
        [[12.0, 34.0]]
    """

    def __call__(
        self, x: Float[Array, "batch n d"], w: Float[Array, "batch d"]
    ) -> Float[Array, "batch n"]:
        return _combination(w.T[:, None], x.transpose(2, 1, 0)).T


@dataclasses.dataclass(frozen=True)
class ReluNetwork:
    """The response y = <w, MLP(x)> of one fixed random network (App. B of the paper).

    Attributes:
        hidden: Hidden units, at least 1.
        seed: Seed of the network, which `ReluMLP.init` draws.

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape.tasks import ReluNetwork
        >>> response = ReluNetwork(hidden=3, seed=0)
        >>> response.network(2).W1.shape
        (3, 2)
        >>> x, w = jnp.ones((1, 4, 2)), jnp.ones((1, 2))
        >>> bool(jnp.allclose(response(x, 2 * w), 2 * response(x, w)))  # linear in w, not in x
        True
    """

    hidden: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.hidden < 1:
            raise UsageError(f"hidden is {self.hidden}; it must be at least 1.")

    def __call__(
        self, x: Float[Array, "batch n d"], w: Float[Array, "batch d"]
    ) -> Float[Array, "batch n"]:
        mlp = self.network(x.shape[-1])
        x, w = x.transpose(2, 1, 0), w.T[:, None]
        y = _combination(mlp.b2.tolist(), w)
        for W1, b1, W2 in zip(mlp.W1.tolist(), mlp.b1.tolist(), mlp.W2.T.tolist(), strict=True):
            y = y + _combination(W2, w) * jax.nn.relu(_combination(W1, x) + b1)
        return y.T

    def network(self, d: int) -> ReluMLP:
        """The network for covariates of dimension d, with numpy arrays in float32."""
        return _network(self.seed, d, self.hidden)


@functools.lru_cache(maxsize=16)
def _network(seed: int, d: int, hidden: int) -> ReluMLP:
    with jax.ensure_compile_time_eval():  # once, not in every step of a compiled loop
        mlp = ReluMLP.init(jax.random.key(seed), dim=d, hidden=hidden)
        return jax.tree.map(np.asarray, mlp)


def _combination(coefficients: Iterable[Array] | Sequence[float], terms: Iterable[Array]) -> Array:
    """The sum of coefficients times terms, term by term.

    With explicit sums over arrays whose last axis is the batch, as in memory, XLA compiles a whole
    response to one loop. Matrix products with so few columns would cost several times more, because
    of copies.
    """
    return functools.reduce(operator.add, (c * t for c, t in zip(coefficients, terms, strict=True)))

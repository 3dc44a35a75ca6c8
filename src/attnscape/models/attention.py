"""Transformers whose attention passes through an activation: Fig. 7 of the paper."""

from __future__ import annotations

from typing import Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from attnscape.errors import UsageError
from attnscape.models._transformer import Form, Transformer, initial_matrices

Activation = Literal["linear", "relu", "softmax"]
# In the order of `Activation` in kernels/activation.hpp.
ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)


class AttentionTransformer(Transformer):
    """L layers of attention that sees whole tokens, not only their moments.

    The weights that a query gives to the keys are, for scores s and n examples:

    - `linear`: s / n, the same model as `LinearTransformer`;
    - `relu`: max(s, 0) / n;
    - `softmax`: exp(s) over its sum over all n + 1 keys, the query's own included, / n; only then
      does the mask M take the query out of the sum over values. A softmax is an average already;
      the division by n is eq. 8's, and the public code of the paper keeps it.

    Attributes:
        P: Value matrices, (L, m, m).
        Q: Key-query matrices, (L, m, m).
        form: `block` (m = d) or `full` (m = d + 1), as of `LinearTransformer`.
        activation: One of the above.

    Raises:
        UsageError: If the shapes of P and Q differ or are not (L, m, m), or the form or the
            activation is unknown.
    """

    activation: Activation = eqx.field(static=True, default="softmax")

    def __check_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise UsageError(
                f"activation is {self.activation!r}; it must be one of {', '.join(ACTIVATIONS)}."
            )

    @classmethod
    def init(
        cls,
        key: Array,
        *,
        layers: int = 3,
        dim: int = 5,
        form: Form = "block",
        activation: Activation = "softmax",
        scale: float = 0.05,
        dtype: jax.typing.DTypeLike = jnp.float32,
    ) -> AttentionTransformer:
        """Draws P and Q with independent N(0, scale^2) entries, those of `LinearTransformer.init`.

        Args:
            key: A JAX random key.
            layers: L, at least 1.
            dim: d, at least 1.
            form: `block` or `full`.
            activation: `linear`, `relu` or `softmax`.
            scale: Standard deviation of the entries.
            dtype: Of P and Q.

        Raises:
            UsageError: If layers or dim is below 1, or the form or the activation is unknown.
        """
        P, Q = initial_matrices(key, layers, dim, form, scale, dtype)
        return cls(P, Q, form, activation)

    def attention_weights(
        self, scores: Float[Array, "batch tokens tokens"]
    ) -> Float[Array, "batch tokens tokens"]:
        """For each query a weight of every key, in the class's words."""
        n = scores.shape[-1] - 1
        match self.activation:
            case "softmax":
                weights = jax.nn.softmax(scores, axis=-2)
            case "relu":
                weights = jax.nn.relu(scores)
            case _:
                weights = scores
        return weights / n

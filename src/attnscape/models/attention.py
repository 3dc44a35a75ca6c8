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
    """L layers of attention with an activation. It needs whole tokens, not only their moments.

    With scores s and n examples, a query gives its keys these weights:

    - `linear`: s / n, the same model as `LinearTransformer`;
    - `relu`: max(s, 0) / n;
    - `softmax`: exp(s) divided by n and by its sum over all n + 1 keys, including the query itself;
      only then does the mask M remove the query from the sum over values. A softmax is already an
      average, but eq. 8 divides by n, and so does the public code of the paper.

    Attributes:
        P: Value matrices, (L, m, m).
        Q: Key-query matrices, (L, m, m).
        form: `block` (m = d) or `full` (m = d + 1), as in `LinearTransformer`.
        activation: `linear`, `relu` or `softmax`.

    Raises:
        UsageError: If the shapes of P and Q differ or are not (L, m, m), or the form or the
            activation is unknown.

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape import AttentionTransformer, Prompts
        >>> x, y = jnp.eye(2)[None], jnp.array([[4.0, 5.0]])  # one prompt of two examples
        >>> prompts = Prompts(x, y, query=jnp.ones((1, 2)), target=jnp.zeros(1))
        >>> model = AttentionTransformer(P=jnp.zeros((1, 2, 2)), Q=jnp.zeros((1, 2, 2)))
        >>> round(float(model(prompts)[0]), 3)  # -(4 + 5) / (n (n + 1)): all scores are equal
        -1.5
    """

    activation: Activation = eqx.field(static=True, default="softmax")

    def __check_init__(self) -> None:
        check_activation(self.activation)

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
        """Draws P and Q with independent N(0, scale^2) entries, as `LinearTransformer.init` does.

        Args:
            key: A JAX random key.
            layers: L, at least 1.
            dim: d, at least 1.
            form: `block` or `full`.
            activation: `linear`, `relu` or `softmax`.
            scale: Standard deviation of the entries.
            dtype: Type of P and Q.

        Raises:
            UsageError: If layers or dim is below 1, scale is negative, or the form or the
                activation is unknown.
        """
        P, Q = initial_matrices(key, layers, dim, form, scale, dtype)
        return cls(P, Q, form, activation)

    def attention_weights(
        self, scores: Float[Array, "batch tokens tokens"]
    ) -> Float[Array, "batch tokens tokens"]:
        """The weight of every key for each query; see the description of the class."""
        return attention_weights(self.activation, scores)


def attention_weights(
    activation: Activation, scores: Float[Array, "*batch keys queries"]
) -> Float[Array, "*batch keys queries"]:
    """The weight of every key, the last of which is the query token, for each query."""
    n = scores.shape[-2] - 1
    match activation:
        case "softmax":
            weights = jax.nn.softmax(scores, axis=-2)
        case "relu":
            weights = jax.nn.relu(scores)
        case _:
            weights = scores
    return weights / n


def check_activation(activation: str) -> None:
    """Raises UsageError if the activation is unknown."""
    if activation not in ACTIVATIONS:
        raise UsageError(
            f"activation is {activation!r}; it must be one of {', '.join(ACTIVATIONS)}."
        )

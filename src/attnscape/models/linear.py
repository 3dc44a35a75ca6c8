"""The linear Transformer, exactly as eq. 7 and 8 of the paper."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from attnscape.models._transformer import Form, Transformer, initial_matrices


@runtime_checkable
class ReducesToLinear(Protocol):
    """A model that computes the same function as a `LinearTransformer`.

    Such a model is computed from moments instead of tokens.

    Examples:
        >>> import equinox as eqx
        >>> import jax.numpy as jnp
        >>> from attnscape.models import LinearTransformer, ReducesToLinear
        >>> class Tied(eqx.Module):
        ...     P: jnp.ndarray
        ...     def as_linear(self):
        ...         return LinearTransformer(self.P, -self.P)
        ...     def __call__(self, prompts):
        ...         return self.as_linear()(prompts)
        >>> isinstance(Tied(jnp.zeros((1, 2, 2))), ReducesToLinear)
        True
    """

    def as_linear(self) -> LinearTransformer:
        """The linear Transformer with the same predictions; derivatives must flow through it."""
        ...


class LinearTransformer(Transformer):
    """L layers of linear attention: the attention weights are the scores divided by n.

    Attributes:
        P: Value matrices, (L, m, m).
        Q: Key-query matrices, (L, m, m).
        form: `block` (m = d) or `full` (m = d + 1).

    Raises:
        UsageError: If the shapes of P and Q differ or are not (L, m, m), or the form is unknown.

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape import LinearTransformer, Prompts
        >>> x, y = jnp.eye(2)[None], jnp.array([[3.0, 5.0]])  # one prompt of two examples
        >>> prompts = Prompts(x, y, query=jnp.ones((1, 2)), target=jnp.zeros(1))
        >>> model = LinearTransformer(P=jnp.zeros((1, 2, 2)), Q=-jnp.eye(2)[None])
        >>> model(prompts).tolist()  # one step of gradient descent: w = (3, 5) / n
        [4.0]
    """

    @classmethod
    def init(
        cls,
        key: Array,
        *,
        layers: int = 3,
        dim: int = 5,
        form: Form = "block",
        scale: float = 0.05,
        dtype: jax.typing.DTypeLike = jnp.float32,
    ) -> LinearTransformer:
        """Draws P and Q with independent N(0, scale^2) entries (the public code's initial values).

        Args:
            key: A JAX random key.
            layers: L, at least 1.
            dim: d, at least 1.
            form: `block` or `full`.
            scale: Standard deviation of the entries.
            dtype: Type of P and Q.

        Raises:
            UsageError: If layers or dim is below 1, scale is negative, or the form is unknown.

        Examples:
            >>> import jax
            >>> from attnscape import LinearTransformer
            >>> model = LinearTransformer.init(jax.random.key(0), layers=3, dim=5)
            >>> model.P.shape
            (3, 5, 5)
        """
        P, Q = initial_matrices(key, layers, dim, form, scale, dtype)
        return cls(P, Q, form)

    def as_linear(self) -> LinearTransformer:
        """The model itself (see `ReducesToLinear`)."""
        return self

    def attention_weights(
        self, scores: Float[Array, "batch tokens tokens"]
    ) -> Float[Array, "batch tokens tokens"]:
        """The scores divided by n."""
        return scores / (scores.shape[-1] - 1)

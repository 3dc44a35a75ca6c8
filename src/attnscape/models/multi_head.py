"""Attention with several heads, after von Oswald et al. (2023, App. A.9).

Softmax weights are positive and add up to one, so a head always averages values. Two heads with
opposite values and opposite scores cancel that average: exp(s) - exp(-s) is 2 s to second order.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from attnscape.errors import UsageError
from attnscape.models._transformer import initial_matrices
from attnscape.models.attention import Activation, attention_weights, check_activation
from attnscape.tasks import Prompts


class MultiHeadTransformer(eqx.Module):
    """L layers of attention, each with H heads, which are added up.

    Z_{l+1} = Z_l + sum over heads h of P_lh Z_l M W_lh, with the weights W_lh that
    `AttentionTransformer` computes from the scores Z_l^T Q_lh Z_l. All entries of P and Q are
    trained (the full form): the block form would fix the sign with which a head's responses enter,
    and heads of one sign cannot cancel.

    It has no kernel. XLA takes about 50 times as long for three layers as the kernels do for one
    head; for the last layer, of which only the query's prediction counts, the cost is small.

    Attributes:
        P: Value matrices, (L, H, m, m) with m = d + 1.
        Q: Key-query matrices, (L, H, m, m).
        activation: `linear`, `relu` or `softmax`.

    Raises:
        UsageError: If the shapes of P and Q differ or are not (L, H, m, m), or the activation is
            unknown.

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from attnscape import RegressionTask
        >>> from attnscape.models import MultiHeadTransformer
        >>> P = jnp.diag(jnp.array([0.0, 0.0, 1.0]))
        >>> P, Q = jnp.stack([P, -P])[None], jnp.zeros((1, 2, 3, 3))  # one layer, two heads
        >>> prompts = RegressionTask(dim=2).sample(jax.random.key(0), batch=3)
        >>> abs(MultiHeadTransformer(P, Q)(prompts)).tolist()  # equal scores: the heads cancel
        [0.0, 0.0, 0.0]
    """

    P: Float[Array, "L H m m"]
    Q: Float[Array, "L H m m"]
    activation: Activation = eqx.field(static=True, default="softmax")

    def __check_init__(self) -> None:
        check_activation(self.activation)
        shape = jnp.shape(self.P)
        if len(shape) != 4 or shape[2] != shape[3] or 0 in shape:
            raise UsageError(
                f"P has shape {shape}; it must be (layers, heads, m, m), none of them 0."
            )
        if jnp.shape(self.Q) != shape:
            raise UsageError(
                f"Q has shape {jnp.shape(self.Q)}, but P has {shape}: make them equal."
            )

    @classmethod
    def init(
        cls,
        key: Array,
        *,
        layers: int = 3,
        dim: int = 5,
        heads: int = 2,
        form: str = "full",
        activation: Activation = "softmax",
        scale: float = 0.05,
        dtype: jax.typing.DTypeLike = jnp.float32,
    ) -> MultiHeadTransformer:
        """Draws P and Q with independent N(0, scale^2) entries.

        Args:
            key: A JAX random key. With one head, it gives the matrices of
                `AttentionTransformer.init`.
            layers: L, at least 1.
            dim: d, at least 1.
            heads: H, at least 1.
            form: `full`, the only form.
            activation: `linear`, `relu` or `softmax`.
            scale: Standard deviation of the entries.
            dtype: Type of P and Q.

        Raises:
            UsageError: If layers, dim or heads is below 1, scale is negative, the form is not
                `full`, or the activation is unknown.
        """
        if form != "full":
            raise UsageError(
                f"form is {form!r}; several heads have the full form only, in which all entries of "
                "P and Q are trained."
            )
        if heads < 1:
            raise UsageError(f"heads is {heads}; it must be at least 1.")
        P, Q = initial_matrices(key, layers * heads, dim, "full", scale, dtype)
        shape = (layers, heads, dim + 1, dim + 1)
        return cls(P.reshape(shape), Q.reshape(shape), activation)

    def __call__(self, prompts: Prompts) -> Float[Array, " batch"]:
        """Predictions by the token form; of the last layer, only the query's response is computed.

        Raises:
            UsageError: If the prompts' dimension is not the model's.
        """
        dim = self.P.shape[-1] - 1
        if prompts.query.shape[-1] != dim:
            raise UsageError(
                f"The prompts have dimension {prompts.query.shape[-1]}, but the model (P of shape "
                f"{self.P.shape}) takes {dim}."
            )
        Z = prompts.tokens()
        for P, Q in zip(self.P[:-1], self.Q[:-1], strict=True):
            Z = Z + self._change(P, Q, Z, Z)
        return -(
            Z[:, -1, -1] + self._change(self.P[-1, :, -1:], self.Q[-1], Z, Z[:, :, -1:])[:, 0, 0]
        )

    def _change(
        self,
        P: Float[Array, "H rows m"],
        Q: Float[Array, "H m m"],
        Z: Float[Array, "batch m tokens"],
        queries: Float[Array, "batch m queries"],
    ) -> Float[Array, "batch rows queries"]:
        """The sum over heads of P Z M W, for these rows of P and these queries."""
        scores = jnp.einsum("bik,hij,bjl->bhkl", Z, Q, queries, precision="highest")
        weights = attention_weights(self.activation, scores)[:, :, :-1]  # M masks the query token
        return jnp.einsum("hij,bjk,bhkl->bil", P, Z[:, :, :-1], weights, precision="highest")

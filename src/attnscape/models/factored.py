"""Linear attention with separate query and key matrices (Fig. 8 left of the paper)."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from attnscape.errors import UsageError
from attnscape.models._transformer import Form, check_form
from attnscape.models.linear import LinearTransformer
from attnscape.tasks import Prompts


class FactoredLinearTransformer(eqx.Module):
    """A `LinearTransformer` whose key-query matrices are products, Q = W_Q^T W_K in every layer.

    Attributes:
        P: Value matrices.
        W_Q: Query matrices.
        W_K: Key matrices.
        form: `block` (m = d) or `full` (m = d + 1), as in `LinearTransformer`. The head size k may
            differ from m.

    Raises:
        UsageError: If the shapes do not fit together or the form is unknown.

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape.models import FactoredLinearTransformer
        >>> W_Q, W_K = jnp.array([[[1.0, 2.0]]]), jnp.array([[[3.0, 4.0]]])  # one head of size 1
        >>> model = FactoredLinearTransformer(jnp.zeros((1, 2, 2)), W_Q, W_K)
        >>> model.as_linear().Q.tolist()  # its rank is 1
        [[[3.0, 4.0], [6.0, 8.0]]]
    """

    P: Float[Array, "L m m"]
    W_Q: Float[Array, "L k m"]
    W_K: Float[Array, "L k m"]
    form: Form = eqx.field(static=True, default="block")

    def __check_init__(self) -> None:
        check_form(self.form)
        P, W_Q, W_K = (jnp.shape(a) for a in (self.P, self.W_Q, self.W_K))
        if len(W_Q) != 3 or W_Q != W_K or 0 in W_Q:
            raise UsageError(
                f"W_Q has shape {W_Q} and W_K {W_K}; both must be (layers, k, m), none of them 0."
            )
        layers, _, m = W_Q
        allowed = (layers, m, m)
        if allowed != P:
            raise UsageError(f"P has shape {P}, but W_Q of shape {W_Q} asks for {allowed}.")

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
    ) -> FactoredLinearTransformer:
        """Draws P and the square factors W_Q, W_K with independent normal entries.

        The entries of P are N(0, scale^2). The entries of the factors are N(0, scale / sqrt(m)).
        Then the entries of Q = W_Q^T W_K, sums of m products, have standard deviation `scale`, as
        in `LinearTransformer.init`. The paper does not say how the factors are drawn; factors as
        small as P would make the entries of Q about scale^2, close to a saddle.

        Args:
            key: A JAX random key. The same key gives the same P as `LinearTransformer.init`.
            layers: L, at least 1.
            dim: d, at least 1.
            form: `block` or `full`.
            scale: Standard deviation of the entries of P and of Q.
            dtype: Type of P, W_Q and W_K.

        Raises:
            UsageError: If layers or dim is below 1, scale is negative, or the form is unknown.
        """
        if scale < 0:
            raise UsageError(f"scale is {scale}; it must not be negative.")
        P = LinearTransformer.init(
            key, layers=layers, dim=dim, form=form, scale=scale, dtype=dtype
        ).P
        deviation = (scale / P.shape[-1] ** 0.5) ** 0.5
        key_Q, key_K = jax.random.split(jax.random.fold_in(key, 1))
        # Drawn in float32, so that a run starts at the same point in every precision.
        W_Q, W_K = (
            (deviation * jax.random.normal(k, P.shape, jnp.float32)).astype(dtype)
            for k in (key_Q, key_K)
        )
        return cls(P, W_Q, W_K, form)

    def as_linear(self) -> LinearTransformer:
        """The same function with Q computed as the product, which JAX differentiates."""
        Q = jnp.einsum("lki,lkj->lij", self.W_Q, self.W_K, precision="highest")
        return LinearTransformer(self.P, Q, self.form)

    def __call__(self, prompts: Prompts) -> Float[Array, " batch"]:
        """Predictions by the token form.

        Raises:
            UsageError: If the prompts' dimension is not the model's.
        """
        return self.as_linear()(prompts)

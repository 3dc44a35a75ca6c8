"""The linear Transformer in its token form, exactly as eq. 7 and 8 of the paper: the oracle.

Z_{l+1} = Z_l + (1/n) P_l Z_l M (Z_l^T Q_l Z_l), and the prediction is -[Z_L]_{d+1, n+1}.
"""

from __future__ import annotations

from typing import Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from attnscape.errors import UsageError
from attnscape.prompts import Prompts

Form = Literal["block", "full"]
FORMS: tuple[Form, ...] = get_args(Form)


class LinearTransformer(eqx.Module):
    """L layers of linear attention with one key-query matrix Q and one value matrix P each.

    Attributes:
        P: Value matrices.
        Q: Key-query matrices.
        form: `full` trains the whole (d+1, d+1) matrices of eq. 7. `block` trains their top left
            d x d blocks; P has a fixed 1 in its last corner and all else in the last rows and
            columns is 0. m is d in the block form and d + 1 in the full form.

    Raises:
        UsageError: If the shapes of P and Q differ or are not (L, m, m), or the form is unknown.
    """

    P: Float[Array, "L m m"]
    Q: Float[Array, "L m m"]
    form: Form = eqx.field(static=True, default="block")

    def __check_init__(self) -> None:
        if self.form not in FORMS:
            raise UsageError(f"form is {self.form!r}; it must be one of {', '.join(FORMS)}.")
        shape = jnp.shape(self.P)
        if len(shape) != 3 or shape[1] != shape[2] or 0 in shape:
            raise UsageError(f"P has shape {shape}; it must be (layers, m, m), none of them 0.")
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
            dtype: Of P and Q.

        Raises:
            ValueError: If layers or dim is below 1, or the form is unknown.
        """
        if layers < 1 or dim < 1:
            raise UsageError(f"layers is {layers} and dim {dim}; both must be at least 1.")
        size = dim + 1 if form == "full" else dim
        key_P, key_Q = jax.random.split(key)
        shape = (layers, size, size)
        # Drawn in single precision, so that a run starts at the same point in every precision.
        P = scale * jax.random.normal(key_P, shape, jnp.float32)
        Q = scale * jax.random.normal(key_Q, shape, jnp.float32)
        return cls(P.astype(dtype), Q.astype(dtype), form)

    def as_linear(self) -> LinearTransformer:
        """Itself: a model that has this method is evaluated through moments."""
        return self

    def token_matrices(self) -> tuple[Float[Array, "L d+1 d+1"], Float[Array, "L d+1 d+1"]]:
        """P and Q of eq. 7, with the entries that the block form keeps fixed."""
        if self.form == "full":
            return self.P, self.Q
        border = ((0, 0), (0, 1), (0, 1))
        return jnp.pad(self.P, border).at[:, -1, -1].set(1), jnp.pad(self.Q, border)

    def __call__(self, prompts: Prompts) -> Float[Array, " batch"]:
        """Predictions by the token form.

        Raises:
            ValueError: If the prompts' dimension is not the model's.
        """
        check_dim(self, prompts.query)
        Z = prompts.tokens()
        n = prompts.y.shape[-1]
        context = (jnp.arange(n + 1) < n).astype(Z.dtype)  # the diagonal of M
        for P, Q in zip(*self.token_matrices(), strict=True):
            scores = jnp.einsum("bik,ij,bjl->bkl", Z, Q, Z)
            Z = Z + jnp.einsum("ij,bjk,bkl->bil", P, Z * context, scores) / n
        return -Z[:, -1, -1]


def check_dim(model: LinearTransformer, query: Float[Array, "batch d"]) -> None:
    """Raises UsageError if prompts of this query do not fit the model."""
    dim = model.P.shape[-1] - (model.form == "full")
    if query.shape[-1] != dim:
        raise UsageError(
            f"The prompts have dimension {query.shape[-1]}, but the model ({model.form} form, "
            f"P of shape {model.P.shape}) takes {dim}."
        )

"""The base class of all Transformers here: their matrices and the layers of eq. 7 and 8.

Z_{l+1} = Z_l + P_l Z_l M W_l with weights W_l computed from the scores Z_l^T Q_l Z_l, and the
prediction is -[Z_L]_{d+1, n+1}. Every faster path is tested against this token form.
"""

from __future__ import annotations

import abc
import math
from typing import Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from attnscape.errors import UsageError
from attnscape.tasks import Prompts

Form = Literal["block", "full"]
FORMS: tuple[Form, ...] = get_args(Form)


class Transformer(eqx.Module):
    """L layers with one key-query matrix Q and one value matrix P each.

    Attributes:
        P: Value matrices.
        Q: Key-query matrices.
        form: `full` (m = d + 1) trains the whole matrices of eq. 7. `block` (m = d) trains their
            top left d x d blocks; P has a fixed 1 in its bottom right corner, and all other entries
            of the last rows and columns are 0.

    Raises:
        UsageError: If the shapes of P and Q differ or are not (L, m, m), or the form is unknown.
    """

    P: Float[Array, "L m m"]
    Q: Float[Array, "L m m"]
    form: Form = eqx.field(static=True, default="block")

    def __check_init__(self) -> None:
        check_form(self.form)
        shape = jnp.shape(self.P)
        if len(shape) != 3 or shape[1] != shape[2] or 0 in shape:
            raise UsageError(f"P has shape {shape}; it must be (layers, m, m), none of them 0.")
        if jnp.shape(self.Q) != shape:
            raise UsageError(
                f"Q has shape {jnp.shape(self.Q)}, but P has {shape}: make them equal."
            )

    def token_matrices(self) -> tuple[Float[Array, "L r r"], Float[Array, "L r r"]]:
        """P and Q of eq. 7 (r = d + 1), with the entries that the block form keeps fixed."""
        if self.form == "full":
            return self.P, self.Q
        border = ((0, 0), (0, 1), (0, 1))
        return jnp.pad(self.P, border).at[:, -1, -1].set(1), jnp.pad(self.Q, border)

    @abc.abstractmethod
    def attention_weights(
        self, scores: Float[Array, "batch tokens tokens"]
    ) -> Float[Array, "batch tokens tokens"]:
        """The weights W_l from the scores; both have entries (key, query) for n + 1 tokens."""

    def __call__(self, prompts: Prompts) -> Float[Array, " batch"]:
        """Predictions by the token form, against which every faster path is tested.

        Raises:
            UsageError: If the prompts' dimension is not the model's.
        """
        return -self._layers(prompts)[-1][1][:, -1, -1]

    def query_attention(self, prompts: Prompts) -> Float[Array, "L batch n"]:
        """The weights that the query token gives the n context tokens, in each layer.

        Raises:
            UsageError: If the prompts' dimension is not the model's.
        """
        return jnp.stack([weights[:, :-1, -1] for weights, _ in self._layers(prompts)])

    def _layers(
        self, prompts: Prompts
    ) -> list[tuple[Float[Array, "batch tokens tokens"], Float[Array, "batch r tokens"]]]:
        """The weights W_l and the tokens Z_{l+1} that follow from them, layer by layer."""
        check_dim(self, prompts.query)
        Z = prompts.tokens()
        n = prompts.y.shape[-1]
        context = (jnp.arange(n + 1) < n).astype(Z.dtype)[None, None]  # the diagonal of M
        layers = []
        for P, Q in zip(*self.token_matrices(), strict=True):
            scores = jnp.einsum("bik,ij,bjl->bkl", Z, Q, Z, precision="highest")
            values = Z * context
            weights = self.attention_weights(scores)
            Z = Z + jnp.einsum("ij,bjk,bkl->bil", P, values, weights, precision="highest")
            layers.append((weights, Z))
        return layers


def initial_matrices(
    key: Array, layers: int, dim: int, form: Form, scale: float, dtype: jax.typing.DTypeLike
) -> tuple[Float[Array, "L m m"], Float[Array, "L m m"]]:
    """P and Q with independent N(0, scale^2) entries (the public code's initial values).

    Raises:
        UsageError: If layers or dim is below 1, scale is negative, or the form is unknown.
    """
    check_form(form)
    if layers < 1 or dim < 1:
        raise UsageError(f"layers is {layers} and dim {dim}; both must be at least 1.")
    if not (math.isfinite(scale) and scale >= 0):
        raise UsageError(f"scale is {scale}; it must be finite and not negative.")
    size = dim + 1 if form == "full" else dim
    key_P, key_Q = jax.random.split(key)
    shape = (layers, size, size)
    # Drawn in float32, so that a run starts at the same point in every precision.
    P = scale * jax.random.normal(key_P, shape, jnp.float32)
    Q = scale * jax.random.normal(key_Q, shape, jnp.float32)
    return P.astype(dtype), Q.astype(dtype)


def check_form(form: str) -> None:
    """Raises UsageError if the form is unknown."""
    if form not in FORMS:
        raise UsageError(f"form is {form!r}; it must be one of {', '.join(FORMS)}.")


def check_dim(model: Transformer, query: Float[Array, "batch d"]) -> None:
    """Raises UsageError if the dimensions of query and model differ.

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape.models import LinearTransformer, check_dim
        >>> model = LinearTransformer(P=jnp.zeros((1, 2, 2)), Q=jnp.zeros((1, 2, 2)))
        >>> check_dim(model, jnp.ones((10, 3)))
        Traceback (most recent call last):
            ...
        attnscape.errors.UsageError: The prompts have dimension 3, but the model ... takes 2.
    """
    dim = model.P.shape[-1] - (model.form == "full")
    if query.shape[-1] != dim:
        raise UsageError(
            f"The prompts have dimension {query.shape[-1]}, but the model ({model.form} form, "
            f"P of shape {model.P.shape}) takes {dim}."
        )

"""A ReLU network with one hidden layer.

App. B of the paper has two: one fixed, in the response of the task (`attnscape.tasks.ReluNetwork`),
and one trained, in front of the model (`attnscape.models.WithMLP`).
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from attnscape.errors import UsageError


class ReluMLP(eqx.Module):
    """A network with one hidden layer: x -> W2 relu(W1 x + b1) + b2.

    Attributes:
        W1: Weights of the hidden layer.
        b1: Biases of the hidden layer.
        W2: Weights of the output.
        b2: Biases of the output.

    Raises:
        UsageError: If the shapes do not fit together.
    """

    W1: Float[Array, "hidden d"]
    b1: Float[Array, " hidden"]
    W2: Float[Array, "d hidden"]
    b2: Float[Array, " d"]

    def __check_init__(self) -> None:
        shape = jnp.shape(self.W1)
        if len(shape) != 2 or 0 in shape:
            raise UsageError(f"W1 has shape {shape}; it must be (hidden, d), none of them 0.")
        hidden, d = shape
        for name, allowed in (("b1", (hidden,)), ("W2", (d, hidden)), ("b2", (d,))):
            given = jnp.shape(getattr(self, name))
            if given != allowed:
                raise UsageError(
                    f"{name} has shape {given}, but W1 of shape {shape} asks for {allowed}."
                )

    @classmethod
    def init(
        cls,
        key: Array,
        *,
        dim: int = 5,
        hidden: int = 15,
        dtype: jax.typing.DTypeLike = jnp.float32,
    ) -> ReluMLP:
        """Draws weights and biases as PyTorch does by default: uniform within 1 / sqrt(inputs).

        Args:
            key: A JAX random key.
            dim: d, at least 1.
            hidden: Hidden units, at least 1 (15 in App. B of the paper).
            dtype: Type of weights and biases.

        Raises:
            UsageError: If dim or hidden is below 1.
        """
        if dim < 1 or hidden < 1:
            raise UsageError(f"dim is {dim} and hidden {hidden}; both must be at least 1.")

        def uniform(key: Array, shape: tuple[int, ...], inputs: int) -> Array:
            # Drawn in float32, so that the network is the same in every precision.
            bound = inputs**-0.5
            return jax.random.uniform(key, shape, jnp.float32, -bound, bound).astype(dtype)

        keys = jax.random.split(key, 4)
        return cls(
            W1=uniform(keys[0], (hidden, dim), dim),
            b1=uniform(keys[1], (hidden,), dim),
            W2=uniform(keys[2], (dim, hidden), hidden),
            b2=uniform(keys[3], (dim,), hidden),
        )

    def __call__(self, x: Float[Array, "batch n d"]) -> Float[Array, "batch n d"]:
        with jax.default_matmul_precision("highest"):
            units = jax.nn.relu(x @ self.W1.T + self.b1[None, None])
            return units @ self.W2.T + self.b2[None, None]

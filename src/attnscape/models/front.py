"""A trained MLP in front of a model: the model of App. B of the paper (nonlinear regression)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from attnscape.errors import UsageError
from attnscape.mlp import ReluMLP
from attnscape.models._transformer import Form
from attnscape.models.linear import LinearTransformer
from attnscape.prompts import Prompts


class WithMLP(eqx.Module):
    """An MLP maps every covariate, the query's included; `inner` sees the prompts that come out.

    Attributes:
        mlp: The network, trained with the model.
        inner: Any model that takes `Prompts`. Where it is linear attention, native kernels serve
            the whole.
    """

    mlp: ReluMLP
    inner: Callable[[Prompts], Any]

    @classmethod
    def init(
        cls,
        key: Array,
        *,
        hidden: int = 15,
        layers: int = 3,
        dim: int = 5,
        form: Form = "full",
        scale: float = 0.1,
        dtype: jax.typing.DTypeLike = jnp.float32,
    ) -> WithMLP:
        """The model of App. B: an MLP in front of linear attention, with the public code's values.

        Args:
            key: A JAX random key.
            hidden: Hidden units of the MLP, which `ReluMLP.init` draws.
            layers: As of `LinearTransformer.init`, as are all that follow.
            dim: d.
            form: `block` or `full`.
            scale: Standard deviation of the entries of P and Q.
            dtype: Of all parameters.

        Raises:
            UsageError: If hidden, layers or dim is below 1, or the form is unknown.
        """
        key_mlp, key_inner = jax.random.split(key)
        return cls(
            mlp=ReluMLP.init(key_mlp, dim=dim, hidden=hidden, dtype=dtype),
            inner=LinearTransformer.init(
                key_inner, layers=layers, dim=dim, form=form, scale=scale, dtype=dtype
            ),
        )

    def mapped(self, prompts: Prompts) -> Prompts:
        """The prompts that `inner` sees: covariates through the MLP, responses unchanged.

        Raises:
            UsageError: If the prompts' dimension is not the MLP's.
        """
        dim = self.mlp.W1.shape[1]
        if prompts.query.shape[-1] != dim:
            raise UsageError(
                f"The prompts have dimension {prompts.query.shape[-1]}, but the MLP (W1 of shape "
                f"{self.mlp.W1.shape}) takes {dim}."
            )
        return Prompts(
            x=self.mlp(prompts.x),
            y=prompts.y,
            query=self.mlp(prompts.query[:, None])[:, 0],
            target=prompts.target,
        )

    def __call__(self, prompts: Prompts) -> Float[Array, " batch"]:
        """Predictions of `inner` on the mapped prompts."""
        return self.inner(self.mapped(prompts))

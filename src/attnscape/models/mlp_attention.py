"""A trained MLP in front of a model, as in App. B of the paper (nonlinear regression)."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from attnscape.errors import UsageError
from attnscape.models._transformer import Form
from attnscape.models.linear import LinearTransformer
from attnscape.tasks import Prompts
from attnscape.tasks.relu_network import ReluMLP


class WithMLP(eqx.Module):
    """A model behind an MLP that maps every covariate, including the query.

    Attributes:
        mlp: The network, trained with the model.
        inner: Any model that takes `Prompts`; it is called with mapped covariates. If it is linear
            attention, native kernels compute MLP and attention.

    Examples:
        >>> import jax
        >>> from attnscape.models import WithMLP
        >>> model = WithMLP.init(jax.random.key(0), hidden=15, layers=1, dim=2)
        >>> model.mlp.W1.shape, model.inner.P.shape  # full form: P is (d + 1) x (d + 1)
        ((15, 2), (1, 3, 3))
    """

    mlp: ReluMLP
    inner: Callable[[Prompts], Array]

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
            layers: L, at least 1.
            dim: d, at least 1.
            form: `block` or `full`.
            scale: Standard deviation of the entries of P and Q.
            dtype: Type of all parameters.

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
        """The prompts that `inner` sees: covariates mapped by the MLP, responses unchanged.

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
            loss=prompts.loss,
        )

    def __call__(self, prompts: Prompts) -> Float[Array, " batch"]:
        """Predictions of `inner` on the mapped prompts."""
        return self.inner(self.mapped(prompts))

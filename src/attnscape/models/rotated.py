"""Linear attention in rotated coordinates: the same functions, other axes for the optimizer."""

from __future__ import annotations

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from attnscape.models._transformer import Form, check_form
from attnscape.models.linear import LinearTransformer
from attnscape.tasks import Prompts


class RotatedLinearTransformer(eqx.Module):
    """A `LinearTransformer` whose parameters, all in one vector, are R times the trained ones.

    R is a random rotation. Loss, gradient norm, curvature and steps of SGD are the same in all
    rotated coordinates, while an optimizer that treats each coordinate by itself, such as Adam,
    sees another problem (Maes et al., 2024, "Understanding Adam requires better rotation dependent
    assumptions").

    Attributes:
        P: The first half of the trained coordinates, in the shape of the value matrices.
        Q: The second half, in the shape of the key-query matrices.
        rotation: Seed of R, which is uniform over all rotations.
        form: `block` (m = d) or `full` (m = d + 1), as in `LinearTransformer`.

    Raises:
        UsageError: If `as_linear` finds matrices that are no linear Transformer.

    Examples:
        >>> import jax
        >>> import numpy as np
        >>> from attnscape.models import RotatedLinearTransformer
        >>> model = RotatedLinearTransformer.init(jax.random.key(0), dim=2, rotation=1)
        >>> norms = [float(abs(a.P**2).sum() + (a.Q**2).sum()) for a in (model, model.as_linear())]
        >>> bool(np.isclose(*norms))  # a rotation keeps the norm
        True
    """

    P: Float[Array, "L m m"]
    Q: Float[Array, "L m m"]
    rotation: int = eqx.field(static=True, default=0)
    form: Form = eqx.field(static=True, default="block")

    def __check_init__(self) -> None:
        check_form(self.form)

    @classmethod
    def init(
        cls,
        key: Array,
        *,
        layers: int = 3,
        dim: int = 5,
        form: Form = "block",
        scale: float = 0.05,
        rotation: int = 0,
        dtype: jax.typing.DTypeLike = jnp.float32,
    ) -> RotatedLinearTransformer:
        """The same function as `LinearTransformer.init(key, ...)`, in rotated coordinates.

        Args:
            key: A JAX random key.
            layers: L, at least 1.
            dim: d, at least 1.
            form: `block` or `full`.
            scale: Standard deviation of the entries of the linear Transformer.
            rotation: Seed of R.
            dtype: Type of the trained coordinates.

        Raises:
            UsageError: If layers or dim is below 1, scale is negative, or the form is unknown.
        """
        linear = LinearTransformer.init(
            key, layers=layers, dim=dim, form=form, scale=scale, dtype=dtype
        )
        P, Q = _turned(_rotation(2 * linear.P.size, rotation).T, linear.P, linear.Q)
        return cls(P, Q, rotation, form)

    def as_linear(self) -> LinearTransformer:
        """The linear Transformer with the parameters R times the trained ones."""
        R = _rotation(2 * self.P.size, self.rotation)
        return LinearTransformer(*_turned(R, self.P, self.Q), self.form)

    def __call__(self, prompts: Prompts) -> Float[Array, " batch"]:
        """Predictions by the token form.

        Raises:
            UsageError: If the prompts' dimension is not the model's.
        """
        return self.as_linear()(prompts)


@functools.lru_cache(maxsize=16)
def _rotation(size: int, seed: int) -> np.ndarray:
    """A rotation, uniform over all of them."""
    from scipy import stats  # imported here, as it takes half a second

    return stats.special_ortho_group.rvs(size, random_state=np.random.default_rng(seed))


def _turned(
    matrix: np.ndarray, P: Float[Array, "L m m"], Q: Float[Array, "L m m"]
) -> tuple[Float[Array, "L m m"], Float[Array, "L m m"]]:
    """The matrix times the vector of all entries of P and Q."""
    entries = jnp.concatenate([P.ravel(), Q.ravel()])
    turned = jnp.einsum("ij,j->i", matrix.astype(entries.dtype), entries, precision="highest")
    first, second = jnp.split(turned, 2)
    return first.reshape(P.shape), second.reshape(Q.shape)

"""Linear attention behind an MLP by the native kernels (kernels/front.hpp)."""

from jaxtyping import Array, Float

from attnscape.mlp import ReluMLP
from attnscape.models import LinearTransformer, WithMLP, check_dim
from attnscape.objective._derivatives import kernel_loss
from attnscape.objective._reduced import reduced_loss
from attnscape.prompts import Prompts


def front_loss(mlp: ReluMLP, linear: LinearTransformer, prompts: Prompts) -> Float[Array, ""]:
    """Mean squared error over the batch, by the kernels.

    Raises:
        UsageError: If the prompts' dimension is not the model's.
    """
    check_dim(linear, prompts.query)
    weights = (linear.P, linear.Q, mlp.W1, mlp.b1, mlp.W2, mlp.b2)
    return _loss(linear.form, weights, prompts)


def _arrays(prompts: Prompts):
    return prompts.x, prompts.y, prompts.query, prompts.target


def _reference(form, weights, prompts):
    P, Q, *mlp = weights
    linear = LinearTransformer(P, Q, form)
    return reduced_loss(linear, WithMLP(ReluMLP(*mlp), linear).mapped(prompts).moments())


_loss = kernel_loss("front_", _arrays, _reference)

"""Linear attention behind an MLP by the native kernels (kernels/mlp_attention.hpp)."""

from jaxtyping import Array, Float

from attnscape.models import Form, LinearTransformer, WithMLP, check_dim
from attnscape.objective._derivatives import Weights, kernel_loss
from attnscape.objective._reduced import reduced_loss
from attnscape.tasks import Prompts
from attnscape.tasks.relu_network import ReluMLP


def mlp_attention_loss(
    mlp: ReluMLP, linear: LinearTransformer, prompts: Prompts
) -> Float[Array, ""]:
    """Mean squared error over the batch, by the kernels.

    Raises:
        UsageError: If the prompts' dimension is not the model's.
    """
    check_dim(linear, prompts.query)
    weights = (linear.P, linear.Q, mlp.W1, mlp.b1, mlp.W2, mlp.b2)
    return _loss(linear.form, weights, prompts)


def _arrays(prompts: Prompts) -> tuple[Array, ...]:
    return prompts.x, prompts.y, prompts.query, prompts.target


def _reference(form: Form, weights: Weights, prompts: Prompts) -> Float[Array, ""]:
    P, Q, *mlp = weights
    linear = LinearTransformer(P, Q, form)
    return reduced_loss(linear, WithMLP(ReluMLP(*mlp), linear).mapped(prompts).moments())


_loss = kernel_loss("mlp_attention_", _arrays, _reference)

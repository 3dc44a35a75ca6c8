"""Gradients and Hessian-vector products of a loss, as flat vectors over its parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Num
from torch import Tensor

from attnscape.errors import UsageError

# Words in PyTorch's errors about operations without a second derivative.
_NO_SECOND_DERIVATIVE = ("not implemented", "double backward")


def flat_gradient(
    of: Float[Tensor, "*shape"],
    parameters: Sequence[Float[Tensor, ...]],
    along: Float[Tensor, "*shape"] | None = None,
    **graph: bool,
) -> Float[Tensor, " p"]:
    """The gradient as one vector, (p,).

    Args:
        of: The number, or the vector, to differentiate.
        parameters: The parameters to differentiate by.
        along: The vector that `of` is multiplied with, if `of` is a vector.
        graph: Options of `torch.autograd.grad`.

    Raises:
        UsageError: If an operation has no second derivative.
    """
    try:
        parts = torch.autograd.grad(of, parameters, along, materialize_grads=True, **graph)
    except RuntimeError as error:
        if not any(phrase in str(error) for phrase in _NO_SECOND_DERIVATIVE):
            raise
        raise _no_second_derivative(error) from error
    return torch.cat([part.reshape(-1) for part in parts])


def hessian_products(
    loss: Float[Tensor, ""] | Float[Tensor, 1], parameters: Sequence[Float[Tensor, ...]]
) -> tuple[Callable[[Tensor], Tensor], Float[Tensor, " p"]]:
    """A function that multiplies a vector by the Hessian, and the gradient.

    All products share one forward pass.

    Raises:
        UsageError: If an operation has no second derivative.
    """
    gradient = flat_gradient(loss, parameters, create_graph=True)
    if "torch::autograd::Error" in _operations(gradient):
        raise _no_second_derivative("a once_differentiable function")  # products would be 0

    def product(vector: Num[Tensor, " p"]) -> Float[Tensor, " p"]:
        if not gradient.requires_grad:  # the loss is linear in all parameters
            return torch.zeros_like(gradient)
        return flat_gradient(gradient, parameters, vector.to(gradient), retain_graph=True)

    return product, gradient.detach()


def _no_second_derivative(reason: object) -> UsageError:
    return UsageError(
        f"An operation of the module has no second derivative ({reason}); write it in plain "
        "PyTorch for measurements, without torch.compile and without choosing a fused attention "
        "kernel."
    )


def _operations(of: Tensor) -> set[str]:
    """Names of the nodes of a tensor's graph."""
    found, waiting = set(), [of.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in found:
            found.add(node)
            waiting += [below for below, _ in node.next_functions]
    return {node.name() for node in found}

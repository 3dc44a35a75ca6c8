"""Checks of a user's loss: it must be one number, depend on the parameters, and not be random."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from attnscape.errors import UsageError


def checked_loss(loss: object) -> Tensor:
    """Returns the loss if it is valid.

    Raises:
        UsageError: If it is not a tensor of one number, or depends on no trained parameter.
    """
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        given = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss)
        raise UsageError(
            f"loss_fn gave {given}; it must give a tensor of one number, such as the mean "
            "over the batch."
        )
    if torch.is_grad_enabled() and not loss.requires_grad:
        raise UsageError(
            "The loss depends on no parameter that requires a gradient; loss_fn must compute "
            "it from the module it is given, without torch.no_grad() or detach()."
        )
    return loss


def require_determinism(first: float, second: float, *, evaluating: bool) -> None:
    """Raises UsageError if two calls of the loss on one batch returned different numbers.

    Args:
        first: The loss of the first call.
        second: The loss of the second call.
        evaluating: Whether the module was in eval mode already.
    """
    # Parallel sums may round differently from call to call on a GPU.
    if math.isclose(first, second, rel_tol=1e-6) or math.isnan(first + second):
        return
    remedy = (
        "make loss_fn give the same number for the same batch"
        if evaluating
        else "call module.eval() before measurements, or give determinism='eval', which does "
        "so for their time"
    )
    raise UsageError(
        f"The loss of the first batch is random: {first:.9g}, and called again {second:.9g} "
        f"(dropout in train mode, or sampling); {remedy}, or take it as it is with "
        "determinism='ignore'."
    )

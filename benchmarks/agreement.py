"""Only equals are compared: PyTorch's loss and gradient must be attnscape's before it is timed."""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np

from attnscape import RegressionTask, value_and_grad

try:
    import torch

    from benchmarks import eager_torch
except ImportError:
    torch = eager_torch = None

_TOLERANCE = 1e-10  # relative, in float64: far above rounding, far below any other formula
_PROMPTS = 50


class DisagreementError(Exception):
    """What was to be compared does not compute the same."""


def require_agreement(
    name: str, predict: Callable, make: Callable[..., Callable], task: RegressionTask
) -> None:
    """Compares loss and gradient of `predict` with those of a model, in float64.

    Args:
        name: What `predict` is called in the error.
        predict: Predictions by PyTorch, from the model's arrays in their order, and tokens.
        make: Makes the model from a key and a dtype.
        task: Where prompts come from.

    Raises:
        DisagreementError: If they differ.
    """
    with jax.enable_x64(True):
        model = make(jax.random.key(0), dtype="float64")
        prompts = task.sample(jax.random.key(1), _PROMPTS, "float64")
        ours = jax.tree.leaves(value_and_grad(model, prompts))
    parameters = [
        torch.tensor(np.asarray(array), requires_grad=True) for array in jax.tree.leaves(model)
    ]
    loss = eager_torch.loss(predict, parameters, *eager_torch.from_prompts(prompts))
    theirs = [loss.detach(), *torch.autograd.grad(loss, parameters)]
    for quantity, part in (("loss", slice(1)), ("gradient", slice(1, None))):
        wanted, got = (np.concatenate([np.ravel(a) for a in all_[part]]) for all_ in (ours, theirs))
        error = np.linalg.norm(got - wanted) / np.linalg.norm(wanted)
        if not error < _TOLERANCE:
            raise DisagreementError(
                f"The {quantity} of PyTorch's loop '{name}' differs from attnscape's by {error:.1e}"
                f" (relative, float64; at most {_TOLERANCE:.0e} is rounding), so that their times "
                "cannot be compared: correct one of them first."
            )

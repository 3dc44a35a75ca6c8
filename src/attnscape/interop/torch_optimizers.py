"""Any `torch.optim.Optimizer` on the engine's runs, through arrays that both sides share.

Parameters are numpy arrays that PyTorch wraps and changes in place; gradients are JAX arrays that
it reads without a copy. Closures are supported: each call is a loss and gradient at the parameters
as they are, on the step's prompts.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from attnscape import loading
from attnscape.errors import UsageError
from attnscape.transformations import LossAndGradient, Outside

if importlib.util.find_spec("torch") is None:
    raise UsageError(
        "PyTorch is not installed, but an optimizer with torch: was asked for; install the extra "
        "with pip install 'attnscape[torch]'."
    )
import torch


@dataclasses.dataclass(frozen=True)
class TorchOptimizer(Outside):
    """A PyTorch optimizer as an optimizer of the engine.

    Attributes:
        make: `(parameters, lr=rate)` to a `torch.optim.Optimizer`: a class, a `functools.partial`
            of one, or a function.
    """

    make: Callable[..., Any]

    def start(self, learning_rate: float, leaves: Sequence[np.ndarray]) -> _Run:
        parameters = [torch.from_numpy(leaf).requires_grad_() for leaf in leaves]
        optimizer = self.make(parameters, lr=learning_rate)
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise UsageError(
                f"{_name(self.make)} gave {type(optimizer).__name__}; it must give a "
                f"torch.optim.Optimizer ({loading.source_of(self.make) or 'no Python source'})."
            )
        return _Run(optimizer, parameters)


class _Run:
    """Parameters and the optimizer that changes them."""

    def __init__(self, optimizer: torch.optim.Optimizer, parameters: list[torch.Tensor]) -> None:
        self._optimizer, self._parameters = optimizer, parameters
        self._takes_closure = _takes_closure(type(optimizer))

    def step(self, loss_and_gradient: LossAndGradient) -> None:
        def closure() -> Any:  # PyTorch's own types say float, its optimizers want a tensor
            loss, gradient = loss_and_gradient()
            for parameter, leaf in zip(self._parameters, gradient, strict=True):
                parameter.grad = torch.from_dlpack(leaf)
            return torch.tensor(loss)

        if self._takes_closure:
            self._optimizer.step(closure)
        else:
            closure()
            self._optimizer.step()

    def evaluation_point(self) -> Sequence[np.ndarray]:
        # Optimizers that are judged elsewhere than where they take gradients switch with `eval`.
        switches = hasattr(self._optimizer, "eval") and hasattr(self._optimizer, "train")
        if switches:
            self._optimizer.eval()  # pyright: ignore[reportAttributeAccessIssue]
        point = [parameter.detach().numpy().copy() for parameter in self._parameters]
        if switches:
            self._optimizer.train()  # pyright: ignore[reportAttributeAccessIssue]
        return point


def by_reference(reference: str) -> TorchOptimizer:
    """The optimizer that a reference names.

    Args:
        reference: `Adam` or any other class of `torch.optim`, `package.Class`, or
            `my_file.py:factory` with a class or a function `(parameters, lr)`.

    Raises:
        UsageError: If there is none.
    """
    if not loading.is_reference(reference):
        package, _, name = reference.rpartition(".")
        reference = f"{package or 'torch.optim'}:{name}"
    make: Any = loading.load_object(reference)
    if not callable(make):
        raise UsageError(
            f"{reference} is {make!r}; it must be a torch.optim.Optimizer class or a function "
            "(parameters, lr) that gives one."
        )
    return TorchOptimizer(make)


@functools.cache
def _takes_closure(kind: type[torch.optim.Optimizer]) -> bool:
    parameters = inspect.signature(kind.step).parameters
    return "closure" in parameters or any(
        p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters.values()
    )


def _name(make: Callable[..., Any]) -> str:
    return getattr(make, "__qualname__", repr(make))

"""Steps of a PyTorch module by an optimizer of PyTorch, which changes the module itself."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from attnscape.optimizers import _torch_saved, pytorch
from attnscape.trees import Plain

Parameters = Mapping[str, nn.Parameter]
# Computes the loss of the step's batch and fills `.grad` of every parameter.
Backward = Callable[[], Tensor]


class TorchSteps:
    """The steps (`attnscape.networks.steps.Steps`) of an optimizer and its scheduler, if any."""

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        scheduler: torch.optim.lr_scheduler.LRScheduler | None,
        parameters: Parameters,
        clip: float | None,
    ) -> None:
        self._optimizer, self._scheduler = optimizer, scheduler
        self._parameters, self._clip = list(parameters.values()), clip
        self._closure = pytorch.closure_of(type(optimizer))
        # Some optimizers with a separate evaluation point step only after `train`.
        self._switches = hasattr(optimizer, "eval") and hasattr(optimizer, "train")
        self._switch("train")

    def step(self, backward: Backward) -> float:
        loss = backward()
        factor = self._clipping()
        self._scale(factor)
        first = (loss.detach() * factor).clone()
        before, calls = self._tensors() if self._closure else [], 0

        def closure() -> Any:
            nonlocal calls
            calls += 1
            if calls == 1 and _equal(before, self._tensors()):
                return first  # its gradient is in `.grad` already
            with torch.enable_grad():
                again = backward()
            # The factor of the step's first point, so that all belong to one function.
            self._scale(factor)
            return again.detach() * factor

        pytorch.step(self._optimizer, self._closure, closure)
        return loss.item()

    @contextlib.contextmanager
    def at_eval_params(self) -> Generator[None]:
        self._switch("eval")
        try:
            yield
        finally:
            self._switch("train")

    def save(self) -> Plain:
        return _torch_saved.saved(self._optimizer, self._scheduler, self._parameters)

    def restore(self, saved: Plain) -> None:
        _torch_saved.restore(self._optimizer, self._scheduler, self._parameters, saved)

    def _switch(self, mode: str) -> None:
        if self._switches:
            getattr(self._optimizer, mode)()

    def _clipping(self) -> float:
        """The factor that clips the gradient to the norm `clip`."""
        norm = float(torch.stack([gradient_of(p).norm() for p in self._parameters]).norm())
        return 1.0 if self._clip is None or not norm > self._clip else self._clip / norm

    def _scale(self, factor: float) -> None:
        if factor != 1.0:
            for parameter in self._parameters:
                if parameter.grad is not None:
                    parameter.grad.mul_(factor)

    def _tensors(self) -> list[Tensor]:
        """Copies of all parameters and gradients."""
        both = [(p.detach(), gradient_of(p)) for p in self._parameters]
        return [tensor.clone() for pair in both for tensor in pair]


def _equal(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def gradient_of(parameter: nn.Parameter) -> Tensor:
    """The gradient in `.grad`; zeros if the loss does not depend on the parameter."""
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad

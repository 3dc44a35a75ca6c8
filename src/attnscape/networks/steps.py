"""Steps of a PyTorch module: by the engine's optimizers, and by PyTorch's own.

Optimizers in optax are the same functions that step linear Transformers; here they get the
module's parameters as a dict of arrays. PyTorch's optimizers step the module themselves.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from jaxtyping import Array, Float, PyTree
from torch import Tensor, nn

from attnscape.errors import UsageError
from attnscape.optimizers import (
    ExternalOptimizer,
    Factory,
    OptaxFactory,
    WithEvalParams,
    accepting,
    clipped,
    keywords_of_step,
    pytorch,
)

Parameters = Mapping[str, nn.Parameter]
# Computes the loss of the step's batch and fills `.grad` of every parameter.
Backward = Callable[[], Tensor]


@runtime_checkable
class Steps(Protocol):
    """The steps of one run."""

    def step(self, backward: Backward) -> float:
        """Makes one update; returns the loss of the batch before it."""
        ...

    def at_eval_params(self) -> contextlib.AbstractContextManager[None]:
        """Context manager: the module has the parameters that are measured."""
        ...


def steps_of(
    name: str, factory: Factory, learning_rate: float, parameters: Parameters, clip: float | None
) -> Steps:
    """The steps of an optimizer.

    Args:
        name: The optimizer's name, for messages.
        factory: A factory of the engine, or a PyTorch optimizer of `attnscape.optimizers.pytorch`.
        learning_rate: The learning rate.
        parameters: The module's parameters, which are changed in place.
        clip: Global norm that gradients are clipped to, or None.

    Raises:
        UsageError: If the optimizer cannot step a PyTorch module.
    """
    if not isinstance(factory, ExternalOptimizer):
        return _OptaxSteps(name, factory, learning_rate, parameters, clip)
    if not isinstance(factory, pytorch.TorchOptimizer):
        raise UsageError(
            f"{name} is an external optimizer of the engine and cannot step a network; give an "
            "optax factory, or a torch.optim.Optimizer as torch:package.Class."
        )
    optimizer = factory.of_parameters(learning_rate, list(parameters.values()))
    return _TorchSteps(optimizer, parameters, clip)


class _OptaxSteps:
    def __init__(
        self,
        name: str,
        factory: OptaxFactory,
        learning_rate: float,
        parameters: Parameters,
        clip: float | None,
    ) -> None:
        self._name, self._parameters = name, parameters
        others = {str(p.dtype) for p in parameters.values()} - {"torch.float32"}
        if others:
            raise UsageError(
                f"The network has parameters of {', '.join(sorted(others))}, but {name} steps "
                "float32; make it with .float(), or give an optimizer of PyTorch."
            )
        optimizer = clipped(lambda rate: accepting(factory(rate)), clip)(learning_rate)
        self._optimizer = optimizer
        self._values = {name: _as_jax(p) for name, p in parameters.items()}
        self._state = jax.jit(optimizer.init)(self._values)
        self._update = jax.jit(self._updated)
        self._eval_params = (
            jax.jit(optimizer.eval_params) if isinstance(optimizer, WithEvalParams) else None
        )

    def step(self, backward: Backward) -> float:
        loss = backward()
        gradient = {name: _as_jax(_gradient(p)) for name, p in self._parameters.items()}
        self._values, self._state = self._update(
            self._values, self._state, gradient, jnp.asarray(loss.item())
        )
        self._write(self._values)
        return loss.item()

    @contextlib.contextmanager
    def at_eval_params(self) -> Generator[None]:
        if self._eval_params is None:
            yield
            return
        self._write(self._eval_params(self._state, self._values))
        try:
            yield
        finally:
            self._write(self._values)

    def _updated(
        self,
        values: dict[str, Float[Array, ...]],
        state: PyTree,
        gradient: dict[str, Float[Array, ...]],
        loss: Float[Array, ""],
    ) -> tuple[PyTree, PyTree]:
        keywords = keywords_of_step(self._name, loss, gradient)
        updates, state = self._optimizer.update(gradient, state, values, **keywords)  # pyright: ignore[reportCallIssue]
        return optax.apply_updates(values, updates), state

    def _write(self, values: Mapping[str, Float[Array, ...]]) -> None:
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                # A copy: numpy's view of a JAX array cannot be written.
                parameter.copy_(torch.from_numpy(np.array(values[name])))


class _TorchSteps:
    def __init__(
        self, optimizer: torch.optim.Optimizer, parameters: Parameters, clip: float | None
    ) -> None:
        self._optimizer, self._parameters, self._clip = optimizer, list(parameters.values()), clip
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

        if self._closure is None:
            self._optimizer.step()
        elif self._closure.kind is inspect.Parameter.KEYWORD_ONLY:
            self._optimizer.step(closure=closure)
        else:
            self._optimizer.step(closure)
        return loss.item()

    @contextlib.contextmanager
    def at_eval_params(self) -> Generator[None]:
        self._switch("eval")
        try:
            yield
        finally:
            self._switch("train")

    def _switch(self, mode: str) -> None:
        if self._switches:
            getattr(self._optimizer, mode)()

    def _clipping(self) -> float:
        """The factor that clips the gradient to the norm `clip`."""
        norm = float(torch.stack([_gradient(p).norm() for p in self._parameters]).norm())
        return 1.0 if self._clip is None or not norm > self._clip else self._clip / norm

    def _scale(self, factor: float) -> None:
        if factor != 1.0:
            for parameter in self._parameters:
                if parameter.grad is not None:
                    parameter.grad.mul_(factor)

    def _tensors(self) -> list[Tensor]:
        """Copies of all parameters and gradients."""
        both = [(p.detach(), _gradient(p)) for p in self._parameters]
        return [tensor.clone() for pair in both for tensor in pair]


def _equal(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def _as_jax(tensor: Tensor) -> Float[Array, ...]:
    return jnp.array(tensor.detach().cpu().numpy())  # a copy: PyTorch writes into its tensors


def _gradient(parameter: nn.Parameter) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad

"""Steps of a PyTorch module: by the engine's optimizers, and by PyTorch's own.

Optimizers in optax are the same functions that step linear Transformers; here they get the
module's parameters as a dict of arrays. PyTorch's optimizers step the module themselves.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Generator, Mapping
from typing import Any, NoReturn, Protocol, runtime_checkable

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
    update_keywords,
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
    make = getattr(factory, "make", None)
    if make is None:
        raise UsageError(
            f"{name} is an external optimizer of the engine and cannot step a network; give an "
            "optax factory, or a torch.optim.Optimizer as torch:package.Class."
        )
    return _TorchSteps(make(list(parameters.values()), lr=learning_rate), parameters, clip)


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
        keywords = update_keywords(loss, gradient, self._refuse, self._refuse, self._refuse)
        updates, state = self._optimizer.update(gradient, state, values, **keywords)  # pyright: ignore[reportCallIssue]
        return optax.apply_updates(values, updates), state

    def _refuse(self, parameters: PyTree) -> NoReturn:
        raise UsageError(
            f"{self._name} asks for the loss, gradient or Hessian at further points, which are not "
            "computed for networks; choose an optimizer that needs the gradient of the step only."
        )

    def _write(self, values: Mapping[str, Float[Array, ...]]) -> None:
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                # A copy: numpy's view of a JAX array cannot be written.
                parameter.copy_(torch.from_numpy(np.array(values[name])))


class _TorchSteps:
    def __init__(
        self, optimizer: torch.optim.Optimizer, parameters: Parameters, clip: float | None
    ) -> None:
        self._optimizer, self._parameters, self._clip = optimizer, parameters, clip
        self._takes_closure = "closure" in inspect.signature(type(optimizer).step).parameters

    def step(self, backward: Backward) -> float:
        first, at, calls = self._clipped(backward), self._place(), 0

        def closure() -> Any:
            nonlocal calls
            calls += 1
            if calls == 1 and self._place() == at:
                return first  # its gradient is in `.grad` already
            with torch.enable_grad():
                return self._clipped(backward)

        loss = first.item()
        if self._takes_closure:
            self._optimizer.step(closure)
        else:
            self._optimizer.step()
        return loss

    @contextlib.contextmanager
    def at_eval_params(self) -> Generator[None]:
        # Optimizers with a separate evaluation point switch to it by `eval`.
        switches = hasattr(self._optimizer, "eval") and hasattr(self._optimizer, "train")
        if switches:
            self._optimizer.eval()  # pyright: ignore[reportAttributeAccessIssue]
        try:
            yield
        finally:
            if switches:
                self._optimizer.train()  # pyright: ignore[reportAttributeAccessIssue]

    def _clipped(self, backward: Backward) -> Tensor:
        loss = backward()
        if self._clip is not None:
            nn.utils.clip_grad_norm_(self._parameters.values(), self._clip)
        return loss.detach()

    def _place(self) -> list[tuple[int, int]]:
        """Changes whenever a parameter is changed in place or replaced."""
        return [(p._version, p.data_ptr()) for p in self._parameters.values()]


def _as_jax(tensor: Tensor) -> Float[Array, ...]:
    return jnp.array(tensor.detach().cpu().numpy())  # a copy: PyTorch writes into its tensors


def _gradient(parameter: nn.Parameter) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad

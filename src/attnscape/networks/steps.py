"""Steps of a PyTorch module: by the engine's optimizers, and by PyTorch's own.

Optimizers in optax are the same functions that step linear Transformers; here they get the
module's parameters as a dict of arrays, on the CPU, where the module is. PyTorch's optimizers step
the module themselves.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Generator, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
import optax
import torch
from jaxtyping import Array, Float, PyTree
from torch import Tensor

from attnscape import native
from attnscape.errors import UsageError
from attnscape.identity import is_built_in
from attnscape.networks.torch_steps import Backward, Parameters, TorchSteps, gradient_of
from attnscape.optimizers import (
    ExternalOptimizer,
    Factory,
    OptaxFactory,
    Transformation,
    WithEvalParams,
    accepting,
    clipped,
    keywords_of_step,
    pytorch,
)
from attnscape.trees import Plain, from_plain, to_plain


@runtime_checkable
class Steps(Protocol):
    """The steps of one run."""

    def step(self, backward: Backward) -> float:
        """Makes one update; returns the loss of the batch before it."""
        ...

    def at_eval_params(self) -> contextlib.AbstractContextManager[None]:
        """Context manager: the module has the parameters that are measured."""
        ...

    def save(self) -> Plain:
        """All that the next steps depend on, except for the module's parameters.

        Raises:
            NotSavableError: If it cannot be saved.
        """
        ...

    def restore(self, saved: Plain) -> None:
        """Sets the saved state of steps that were just made; the module has its parameters.

        Raises:
            ValueError: If it is that of another optimizer.
        """
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
    both = factory.with_scheduler(learning_rate, list(parameters.values()))
    return TorchSteps(*both, parameters, clip)


def optimizer_of(
    name: str,
    factory: OptaxFactory,
    learning_rate: float,
    parameters: Parameters,
    clip: float | None,
) -> Transformation:
    """The optimizer that steps a module's parameters as arrays of JAX.

    Args:
        name: The optimizer's name, for messages.
        factory: A factory of the engine.
        learning_rate: The learning rate.
        parameters: The module's parameters.
        clip: Global norm that gradients are clipped to, or None.

    Raises:
        UsageError: If the parameters are not of single precision.
    """
    others = {str(p.dtype) for p in parameters.values()} - {"torch.float32"}
    if others:
        raise UsageError(
            f"The network has parameters of {', '.join(sorted(others))}, but {name} steps "
            "float32; make it with .float(), or give optimizers of PyTorch alone."
        )
    return clipped(lambda rate: accepting(factory(rate)), clip)(learning_rate)


class _OptaxSteps:
    def __init__(
        self,
        name: str,
        factory: OptaxFactory,
        learning_rate: float,
        parameters: Parameters,
        clip: float | None,
    ) -> None:
        self._parameters = parameters
        optimizer = optimizer_of(name, factory, learning_rate, parameters, clip)
        self._rate = np.float32(learning_rate)
        self._programs = (
            _shared_programs(factory, clip)
            if is_built_in(factory)
            else _programs(name, lambda rate: optimizer)
        )
        self._has_eval_params = isinstance(optimizer, WithEvalParams)
        self._values = {name: as_jax(p) for name, p in parameters.items()}
        self._state = self._programs.init(self._rate, self._values)

    def step(self, backward: Backward) -> float:
        loss = backward()
        gradient = {name: as_jax(gradient_of(p)) for name, p in self._parameters.items()}
        self._values, self._state = self._programs.update(
            self._rate, self._values, self._state, gradient, loss.item()
        )
        self._write(self._values)
        return loss.item()

    @contextlib.contextmanager
    def at_eval_params(self) -> Generator[None]:
        if not self._has_eval_params:
            yield
            return
        self._write(self._programs.eval_params(self._rate, self._state, self._values))
        try:
            yield
        finally:
            self._write(self._values)

    def save(self) -> Plain:
        return to_plain(self._state)

    def restore(self, saved: Plain) -> None:
        self._values = {name: as_jax(p) for name, p in self._parameters.items()}
        self._state = from_plain(self._state, saved)

    def _write(self, values: Mapping[str, Float[Array, ...]]) -> None:
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                # A copy: numpy's view of a JAX array cannot be written.
                parameter.copy_(torch.from_numpy(np.array(values[name])))


class _Programs(NamedTuple):
    """The compiled functions of an optimizer; the first argument of each is the learning rate."""

    init: Callable[..., PyTree]
    update: Callable[..., tuple[Any, PyTree]]
    eval_params: Callable[..., Any]


def _programs(name: str, make: Callable[[Float[Array, ""]], Transformation]) -> _Programs:
    def updated(
        rate: Float[Array, ""],
        values: dict[str, Float[Array, ...]],
        state: PyTree,
        gradient: dict[str, Float[Array, ...]],
        loss: Float[Array, ""],
    ) -> tuple[PyTree, PyTree]:
        keywords = keywords_of_step(name, loss, gradient)
        updates, state = make(rate).update(gradient, state, values, **keywords)  # pyright: ignore[reportCallIssue]
        return optax.apply_updates(values, updates), state

    return _Programs(
        jax.jit(lambda rate, values: make(rate).init(values)),
        jax.jit(updated),
        jax.jit(lambda rate, state, values: make(rate).eval_params(state, values)),  # pyright: ignore[reportAttributeAccessIssue]
    )


@functools.lru_cache(maxsize=64)
def _shared_programs(factory: OptaxFactory, clip: float | None) -> _Programs:
    """The programs of a built-in optimizer, which serve all learning rates and seeds.

    Compiling takes as long as some hundred steps of a small network. A user's factory may need the
    rate as a number, or have a state, so each of its runs has programs of its own.
    """
    make = clipped(lambda rate: accepting(factory(rate)), clip)
    return _programs(getattr(factory, "__name__", repr(factory)), make)


def as_jax(tensor: Tensor) -> Float[Array, ...]:
    """The tensor as an array of JAX on the CPU, which all that is computed from it stays on.

    Numbers of a run do not depend on accelerators then, which would wait for copies at every step.

    Raises:
        UsageError: If JAX_PLATFORMS leaves out the CPU.
    """
    # A copy: PyTorch writes into its tensors.
    return jax.device_put(tensor.detach().cpu().numpy().copy(), _cpu())


@functools.cache
def _cpu() -> native.Device:
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError as error:
        raise UsageError(
            "Optimizers of the engine step networks on the CPU, which JAX_PLATFORMS "
            f"({jax.config.values['jax_platforms']!r}) leaves out; add cpu to it."
        ) from error

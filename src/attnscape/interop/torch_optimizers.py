"""Any `torch.optim.Optimizer` on the engine's runs.

The gradient stands in `.grad` before each step, clipped as the engine clips it, and is copied, so
that an optimizer may write into it. A closure gives one function: the step's loss and gradient at
the parameters as they are, both times the factor that clips the gradient at the step's first point,
in the run's precision. What an optimizer draws at random (from PyTorch, numpy or Python) comes from
generators that are seeded for each run by its initial parameters.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import importlib.util
import inspect
import random
import warnings
from collections.abc import Callable, Iterator, Sequence
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


class ClosureWarning(RuntimeWarning):
    """An optimizer that asks for a closure does not call it."""


@dataclasses.dataclass(frozen=True)
class TorchOptimizer(Outside):
    """A PyTorch optimizer as an optimizer of the engine.

    Attributes:
        make: `(parameters, lr=rate)` to a `torch.optim.Optimizer`: a class, a `functools.partial`
            of one, or a function.
    """

    make: Callable[..., Any]

    def start(self, learning_rate: float, leaves: Sequence[np.ndarray]) -> _Run:
        generators = _Generators(leaves)
        parameters = [torch.from_numpy(leaf.copy()).requires_grad_() for leaf in leaves]
        with generators.in_use():
            optimizer = _made(self.make, parameters, learning_rate)
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise UsageError(
                f"{_name(self.make)} gave {type(optimizer).__name__}; it must give a "
                f"torch.optim.Optimizer{_at(self.make)}."
            )
        _check_parameters(optimizer, parameters, self.make)
        return _Run(optimizer, parameters, leaves, generators)


class _Run:
    """Tensors and the optimizer that changes them, or puts others in their place."""

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        parameters: list[torch.Tensor],
        leaves: Sequence[np.ndarray],
        generators: _Generators,
    ) -> None:
        self._optimizer, self._parameters, self._leaves = optimizer, parameters, leaves
        self._generators = generators
        self._closure = _closure_of(type(optimizer))

    def step(self, loss_and_gradient: LossAndGradient) -> None:
        first, calls = loss_and_gradient(), 0

        def closure() -> Any:  # PyTorch's own types say float, its optimizers want a tensor
            nonlocal calls
            calls += 1
            moved = self._read()
            now = loss_and_gradient() if moved or calls > 1 else first
            self._fill(now[1])
            return torch.tensor(now[0], dtype=self._parameters[0].dtype)

        self._fill(first[1])
        with self._generators.in_use():
            if self._closure is None:
                self._optimizer.step()
            elif self._closure.kind is inspect.Parameter.KEYWORD_ONLY:
                self._optimizer.step(closure=closure)
            else:
                self._optimizer.step(closure)
        self._read()
        if self._closure is not None and self._closure.default is self._closure.empty and not calls:
            _mention_closure(type(self._optimizer))

    def _fill(self, gradient: Sequence[Any]) -> None:
        for parameter, leaf in zip(self._parameters, gradient, strict=True):
            parameter.grad = torch.from_numpy(np.array(leaf))  # a copy: JAX's buffers stay

    def _read(self) -> bool:
        """Takes over what the tensors hold, and says whether that is new."""
        changed = False
        for parameter, leaf in zip(self._parameters, self._leaves, strict=True):
            now = parameter.detach().numpy()
            if now.shape != leaf.shape or now.dtype != leaf.dtype:
                raise UsageError(
                    f"{type(self._optimizer).__name__} turned a parameter of {leaf.dtype} and "
                    f"shape {leaf.shape} into {now.dtype} and {now.shape}; keep type and shape"
                    f"{_at(type(self._optimizer))}."
                )
            if not np.array_equal(now, leaf, equal_nan=True):
                np.copyto(leaf, now)
                changed = True
        return changed

    def evaluation_point(self) -> Sequence[np.ndarray]:
        # Optimizers that are judged elsewhere than where they take gradients switch with `eval`.
        switches = hasattr(self._optimizer, "eval") and hasattr(self._optimizer, "train")
        with self._generators.in_use():
            if switches:
                self._optimizer.eval()  # pyright: ignore[reportAttributeAccessIssue]
            point = [parameter.detach().numpy().copy() for parameter in self._parameters]
            if switches:
                self._optimizer.train()  # pyright: ignore[reportAttributeAccessIssue]
                self._read()
        return point


class _Generators:
    """The states of the global random generators that belong to one run."""

    def __init__(self, leaves: Sequence[np.ndarray]) -> None:
        content = hashlib.sha256(b"".join(leaf.tobytes() for leaf in leaves)).digest()
        self._seed: int | None = int.from_bytes(content[:4])
        self._states: tuple[Any, ...] = ()

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Within, random numbers are the run's; afterwards the generators are as before."""
        before = self._now()
        if self._seed is not None:
            torch.manual_seed(self._seed)
            np.random.seed(self._seed)  # noqa: NPY002 - what users' code draws from
            random.seed(self._seed)
            self._seed = None
        else:
            self._set(self._states)
        try:
            yield
        finally:
            self._states = self._now()
            self._set(before)

    def _now(self) -> tuple[Any, ...]:
        return torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002

    def _set(self, states: tuple[Any, ...]) -> None:
        of_torch, of_numpy, of_python = states
        torch.set_rng_state(of_torch)
        np.random.set_state(of_numpy)  # noqa: NPY002
        random.setstate(of_python)


def _made(make: Callable[..., Any], parameters: list[torch.Tensor], rate: float) -> Any:
    """What a class or function gives for these parameters and this learning rate."""
    try:
        inspect.signature(make).bind(parameters, lr=rate)
    except TypeError as error:
        raise UsageError(
            f"{_name(make)} cannot be called with (parameters, lr=rate), {error}; write a function "
            f"(parameters, lr) that gives the optimizer{_at(make)}."
        ) from None
    except ValueError:  # it does not say what it takes
        pass
    return make(parameters, lr=rate)


def _check_parameters(
    optimizer: torch.optim.Optimizer, parameters: list[torch.Tensor], make: Callable[..., Any]
) -> None:
    """Raises UsageError unless the optimizer's groups hold all parameters and no other."""
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    left_out = [index for index, p in enumerate(parameters) if id(p) not in held]
    others = len(held) + len(left_out) - len(parameters)
    if left_out or others:
        given = f"leave out parameters number {left_out}" if left_out else "hold other tensors"
        raise UsageError(
            f"The param groups of {_name(make)} {given}; give it each of the {len(parameters)} "
            f"parameters, in one group or several, and no other{_at(make)}."
        )


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
def _closure_of(kind: type[torch.optim.Optimizer]) -> inspect.Parameter | None:
    """The parameter of `step` that takes a closure, if there is one."""
    parameters = inspect.signature(kind.step).parameters
    if "closure" in parameters:
        return parameters["closure"]
    rest = [p for p in parameters.values() if p.kind is inspect.Parameter.VAR_POSITIONAL]
    # A decorator may hide the names: what is one positional argument is a closure.
    return rest[0].replace(kind=inspect.Parameter.POSITIONAL_ONLY, default=None) if rest else None


@functools.cache
def _mention_closure(kind: type[torch.optim.Optimizer]) -> None:
    warnings.warn(
        f"{kind.__name__} asks for a closure and did not call it; its steps are made of the "
        "gradient in .grad alone.",
        ClosureWarning,
        stacklevel=2,
    )


def _name(make: Callable[..., Any]) -> str:
    return getattr(make, "__qualname__", repr(make))


def _at(make: Callable[..., Any]) -> str:
    """Where it is defined, in brackets, if that is known."""
    place = loading.source_of(make)
    return f" ({place})" if place else ""

"""Runs any `torch.optim.Optimizer` in the engine.

It gets one matrix at a time, as from a PyTorch network of L layers: a leaf of shape (L, d, d) is L
parameters, so that optimizers for matrices (Muon, SOAP, Shampoo) can be used. So is every leaf with
more than two axes split into the matrices of its last two; other leaves are a parameter each.

Before each step, `.grad` holds a copy of the gradient, clipped as in the engine; an optimizer may
write into it. A closure computes the step's loss and gradient at the present parameters, in the
run's precision. Both are multiplied by the factor that clips the gradient at the step's first
point, so that they belong to one function. Random numbers of an optimizer (from PyTorch, numpy or
Python) come from generators that are seeded by the initial parameters of each run.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import inspect
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from attnscape import loading
from attnscape.errors import UsageError
from attnscape.optimizers.binding import bound_call
from attnscape.optimizers.external import ExternalOptimizer, LossAndGradient
from attnscape.optimizers.schedules import Shape

if importlib.util.find_spec("torch") is None:
    raise UsageError(
        "PyTorch is not installed, but an optimizer with torch: was asked for; install the extra "
        "with pip install 'attnscape[torch]'."
    )
import torch

from attnscape.optimizers import _torch_saved
from attnscape.optimizers._random_states import RandomStates
from attnscape.optimizers._torch_making import (
    check_parameters,
    checked_scheduler,
    made,
    name_of,
    place_of,
)
from attnscape.optimizers.pytorch_schedule import WithSchedule
from attnscape.trees import Plain

_TRUE = b"\1"


class ClosureWarning(RuntimeWarning):
    """An optimizer takes a closure and does not call it."""


@dataclasses.dataclass(frozen=True)
class TorchOptimizer(ExternalOptimizer):
    """A PyTorch optimizer for the engine.

    Attributes:
        make: A class, a `functools.partial` of one, or a function that makes a
            `torch.optim.Optimizer` when called with `(parameters, lr=rate)`, or a pair of one and a
            scheduler of `torch.optim.lr_scheduler`, which makes a step after each of its steps. It
            may ask for `steps` and `batch` (`attnscape.optimizers.bound`).
    """

    numbers = 2  # from 2 on, a parameter is one matrix

    make: Callable[..., object]

    def bound(self, *, steps: int, batch: int) -> TorchOptimizer:
        make = bound_call(self.make, steps=steps, batch=batch)
        return self if make is self.make else TorchOptimizer(make)

    def scheduled(self, shape: Shape) -> TorchOptimizer:
        return TorchOptimizer(WithSchedule(self.make, shape))

    def start(self, learning_rate: float, leaves: Sequence[np.ndarray]) -> _Run:
        """A run that owns these arrays and changes them in place.

        Raises:
            UsageError: If `make` does not return an optimizer of exactly these parameters.
        """
        generators = RandomStates(leaves)
        parameters = [torch.from_numpy(m.copy()).requires_grad_() for m in _matrices(leaves)]
        with generators.in_use():
            optimizer, scheduler = self.with_scheduler(learning_rate, parameters)
        return _Run(optimizer, scheduler, parameters, leaves, generators)

    def with_scheduler(
        self, learning_rate: float, parameters: Sequence[torch.Tensor]
    ) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler | None]:
        """The optimizer of these parameters, and the scheduler that makes a step after it, if any.

        Raises:
            UsageError: If `make` does not return an optimizer of exactly these parameters, or
                returns something else than a scheduler beside it.
        """
        parts = made(self.make, list(parameters), learning_rate)
        optimizer, scheduler = (
            parts if isinstance(parts, tuple) and len(parts) == 2 else (parts, None)
        )
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise UsageError(
                f"{name_of(self.make)} gave {type(optimizer).__name__}; it must give a "
                f"torch.optim.Optimizer{place_of(self.make)}."
            )
        check_parameters(optimizer, parameters, self.make)
        if scheduler is not None:
            scheduler = checked_scheduler(scheduler, optimizer, self.make)
            optimizer.register_step_post_hook(lambda *_: scheduler.step())
        return optimizer, scheduler


class _Run:
    """The tensors of one run, and the optimizer that changes or replaces their values."""

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        scheduler: torch.optim.lr_scheduler.LRScheduler | None,
        parameters: list[torch.Tensor],
        leaves: Sequence[np.ndarray],
        generators: RandomStates,
    ) -> None:
        self._optimizer, self._scheduler, self._parameters = optimizer, scheduler, parameters
        self._leaves, self._matrices = leaves, _matrices(leaves)
        self._generators = generators
        self._closure = closure_of(type(optimizer))

    def step(self, loss_and_gradient: LossAndGradient) -> None:
        first, calls = loss_and_gradient(), 0

        def closure() -> Any:  # PyTorch's types say float, but its optimizers need a tensor
            nonlocal calls
            calls += 1
            moved = self._read()
            now = loss_and_gradient() if moved or calls > 1 else first
            self._fill(now[1])
            return torch.tensor(now[0], dtype=self._parameters[0].dtype)

        self._fill(first[1])
        with self._generators.in_use():
            step(self._optimizer, self._closure, closure)
        self._read()
        if self._closure is not None and self._closure.default is self._closure.empty and not calls:
            _mention_closure(type(self._optimizer))

    def save(self) -> Plain:
        return {
            # Apart from the run's arrays, which keep 0 where a parameter has become -0.
            "parameters": [parameter.detach().numpy().copy() for parameter in self._parameters],
            "generators": self._generators.save(),
            **_torch_saved.saved(self._optimizer, self._scheduler, self._parameters),
        }

    def restore(self, saved: Plain) -> None:
        for parameter, value in zip(self._parameters, saved["parameters"], strict=True):
            np.copyto(self._value(parameter, value), value, casting="no")
        self._generators.restore(saved["generators"])
        _torch_saved.restore(self._optimizer, self._scheduler, self._parameters, saved)

    def _fill(self, gradient: Sequence[jax.Array]) -> None:
        """Puts a gradient into `.grad`."""
        copies = [np.array(leaf) for leaf in gradient]  # JAX's buffers must not change
        for parameter, matrix in zip(self._parameters, _matrices(copies), strict=True):
            parameter.grad = torch.from_numpy(matrix)

    def _read(self) -> bool:
        """Copies the tensors into the run's arrays; returns whether the arrays changed."""
        changed = False
        for parameter, matrix in zip(self._parameters, self._matrices, strict=True):
            now = self._value(parameter, matrix)
            if _differ(now, matrix):
                np.copyto(matrix, now)
                changed = True
        return changed

    def _value(self, parameter: torch.Tensor, matrix: np.ndarray) -> np.ndarray:
        """The parameter's present value, which must have the matrix's type and shape."""
        now = parameter.detach().numpy()
        if now.shape != matrix.shape or now.dtype != matrix.dtype:
            raise UsageError(
                f"{type(self._optimizer).__name__} turned a parameter of {matrix.dtype} and "
                f"shape {matrix.shape} into {now.dtype} and {now.shape}; keep type and shape"
                f"{place_of(type(self._optimizer))}."
            )
        return now

    def eval_params(self) -> Sequence[np.ndarray]:
        # Optimizers with a separate evaluation point switch to it by `eval`.
        switches = hasattr(self._optimizer, "eval") and hasattr(self._optimizer, "train")
        with self._generators.in_use():
            if not switches:
                return self._point()
            before = [parameter.detach().clone() for parameter in self._parameters]
            self._optimizer.eval()  # pyright: ignore[reportAttributeAccessIssue]
            point = self._point()
            self._optimizer.train()  # pyright: ignore[reportAttributeAccessIssue]
            # There and back again rounds: a run's bits would depend on how often it is looked at,
            # which depends on the time that steps take.
            with torch.no_grad():
                for parameter, value in zip(self._parameters, before, strict=True):
                    parameter.copy_(value)
        return point

    def _point(self) -> list[np.ndarray]:
        """The parameters' present values, as new arrays."""
        point = [np.empty_like(leaf) for leaf in self._leaves]
        for parameter, matrix in zip(self._parameters, _matrices(point), strict=True):
            np.copyto(matrix, self._value(parameter, matrix))
        return point


def _differ(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two arrays of a type and shape have different numbers; NaN is NaN and -0 is 0.

    For small arrays several times as fast as `np.array_equal`.
    """
    if one.tobytes() == other.tobytes():
        return False
    if _TRUE not in (one != other).tobytes():
        return False
    return _TRUE not in (one != one).tobytes() or not np.array_equal(one, other, equal_nan=True)


def _matrices(leaves: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Views of the matrices of all leaves; an empty leaf, or one of at most two axes, is one."""
    return [
        leaf[(*index, ...)]
        for leaf in leaves
        for index in np.ndindex(leaf.shape[:-2] if leaf.size else ())
    ]


def get_torch_optimizer(reference: str) -> TorchOptimizer:
    """The optimizer that a reference names.

    Args:
        reference: `Adam` or any other class of `torch.optim`, `package.Class`, or
            `my_file.py:factory` with a class or a function `(parameters, lr)`.

    Raises:
        UsageError: If there is no such optimizer.
    """
    if not loading.is_reference(reference):
        package, _, name = reference.rpartition(".")
        reference = f"{package or 'torch.optim'}:{name}"
    make: object = loading.load_object(reference)
    if not callable(make):
        raise UsageError(
            f"{reference} is {make!r}; it must be a torch.optim.Optimizer class or a function "
            "(parameters, lr) that gives one."
        )
    return TorchOptimizer(make)


@functools.cache
def closure_of(kind: type[torch.optim.Optimizer]) -> inspect.Parameter | None:
    """The parameter of `step` that takes a closure, if there is one."""
    parameters = inspect.signature(kind.step).parameters
    if "closure" in parameters:
        return parameters["closure"]
    rest = [p for p in parameters.values() if p.kind is inspect.Parameter.VAR_POSITIONAL]
    # A decorator may hide the names; then a single positional argument is the closure.
    return rest[0].replace(kind=inspect.Parameter.POSITIONAL_ONLY, default=None) if rest else None


def step(
    optimizer: torch.optim.Optimizer,
    parameter: inspect.Parameter | None,
    closure: Callable[[], Any],
) -> None:
    """Makes a step, with the closure if `parameter` (`closure_of`) takes it."""
    if parameter is None:
        optimizer.step()
    elif parameter.kind is inspect.Parameter.KEYWORD_ONLY:
        optimizer.step(closure=closure)
    else:
        optimizer.step(closure)


@functools.cache
def _mention_closure(kind: type[torch.optim.Optimizer]) -> None:
    """Warns once that an optimizer does not call its closure."""
    warnings.warn(
        f"{kind.__name__} asks for a closure and did not call it; its steps are made of the "
        "gradient in .grad alone.",
        ClosureWarning,
        stacklevel=2,
    )

"""The objective of a PyTorch module: its loss on fixed batches, with derivatives of two orders.

The same quantities as of `attnscape.objective`, as flat vectors over the module's parameters.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from attnscape.errors import UsageError
from attnscape.interop._torch_diagonal import HessianDiagonal, estimated, of_hessian
from attnscape.interop._torch_state import load, mention_attention, undisturbed

Determinism = Literal["check", "eval", "ignore"]
_PROBES = 100
_NO_SECOND_DERIVATIVE = ("not implemented", "double backward")


class ChangedParametersWarning(UserWarning):
    """A module has other parameters to train than when its objective was made."""


class Objective:
    """A module's loss on fixed batches, with gradient, Hessian-vector product and Hessian.

    Vectors are flat, (p,), over the parameters that require a gradient when the objective is made,
    in the order of `module.parameters()`; shared ones count once. Numbers carry the precision of
    the module: `module.double()` gives more. A measurement leaves parameters, their `.grad`,
    buffers, train and eval modes and PyTorch's random states as they were. It takes attention on
    PyTorch's `MATH` path, as the fused kernels have no second derivative. Other operations without
    one are errors, but a custom `torch.autograd.Function` that calls a kernel in its backward
    counts as linear there, unless it is marked `once_differentiable`: PyTorch does not tell.

    A loss that gives another number at every call (dropout, sampling) has no Hessian. It is called
    twice to find out, once for each combination of train and eval modes that it is measured in.

    Modules that `torch.compile` made are measured without compilation, which has no second
    derivative. Parameters that are unfrozen or frozen later are not followed; a warning says so.

    Args:
        module: The network. It may be trained between measurements.
        loss_fn: `loss_fn(module, batch)` gives the mean loss, a tensor of one number.
        batches: Fixed batches of any kind, kept in a list (one pass of a `DataLoader` is fine). The
            first is the evaluation batch; all serve for gradient noise.
        determinism: `check` measures in the module's present modes and refuses a random loss;
            `eval` does so in eval mode; `ignore` takes the loss with the random numbers that would
            come next.
        dense_limit: Up to so many parameters the Hessian is formed, by p products.

    Raises:
        UsageError: If an argument is not of that kind, the loss is not one number that depends on
            a parameter, or it is random; later also for operations without a second derivative.
    """

    def __init__(
        self,
        module: nn.Module,
        loss_fn: Callable[[Any, Any], Tensor],
        batches: Iterable[Any],
        *,
        determinism: Determinism = "check",
        dense_limit: int = 2000,
    ) -> None:
        if determinism not in get_args(Determinism):
            raise UsageError(
                f"determinism is {determinism!r}; it must be one of "
                f"{', '.join(get_args(Determinism))}."
            )
        if isinstance(batches, Tensor):
            raise UsageError("batches is a tensor; give a list of batches, even of one.")
        module = getattr(module, "_orig_mod", module)  # what torch.compile wraps
        self.module: nn.Module = module
        self.loss_fn: Callable[[Any, Any], Tensor] = loss_fn
        self.determinism: Determinism = determinism
        self.dense_limit: int = dense_limit
        self.parameters: dict[str, Tensor] = {
            n: p for n, p in module.named_parameters() if p.requires_grad
        }
        self.size: int = sum(p.numel() for p in self.parameters.values())
        with undisturbed(module):  # a DataLoader draws random numbers
            self.batches: Sequence[Any] = list(batches)
        if not (self.size and self.batches):
            raise UsageError(
                f"There are {len(self.batches)} batches and {self.size} parameters that require a "
                "gradient; there must be at least one of each."
            )
        self._checked: set[tuple[bool, ...]] = set()
        self._mentioned: tuple[list[str], list[str]] = [], []
        mention_attention(module)
        self.gradient()  # what is wrong with the loss is said here, not amid a training

    def loss(self, batch: int = 0) -> float:
        """The loss on the batch of that index."""
        with self._measuring(), torch.no_grad():
            return self._evaluate(batch).item()

    def gradient(self, batch: int = 0) -> Tensor:
        """The gradient on the batch of that index, (p,)."""
        with self._measuring():
            return self._gradient(self._evaluate(batch))

    def batch_gradients(self) -> Tensor:
        """The gradient on each batch, (batches, p)."""
        return torch.stack([self.gradient(batch) for batch in range(len(self.batches))])

    def hvp(self, vector: Tensor) -> Tensor:
        """The Hessian on the evaluation batch times a vector, (p,) to (p,).

        Raises:
            UsageError: If the vector is not of that shape.
        """
        if vector.shape != (self.size,):
            raise UsageError(
                f"The vector has shape {tuple(vector.shape)}; it must be ({self.size},), a number "
                "for each parameter."
            )
        with self._products() as (product, _):
            return product(vector)

    def hessian(self) -> Tensor:
        """The Hessian on the evaluation batch, (p, p), one product a row.

        Raises:
            UsageError: If there are more than `dense_limit` parameters.
        """
        if self.size > self.dense_limit:
            raise UsageError(
                f"The module has {self.size:,} parameters, more than dense_limit = "
                f"{self.dense_limit:,} for a dense Hessian; use hvp or hessian_diagonal, or give "
                "the Objective a higher dense_limit."
            )
        with self._products() as (product, like):
            units = torch.eye(self.size, dtype=like.dtype, device=like.device)
            return torch.stack([product(unit) for unit in units])

    def hessian_diagonal(self, probes: int | None = None, *, seed: int = 0) -> HessianDiagonal:
        """The diagonal of the Hessian on the evaluation batch, with its error.

        Args:
            probes: Hutchinson's estimate from so many products, at least 2, and as many more for
                exact entries at random places. By default the diagonal is exact up to
                `dense_limit` parameters, and estimated with 100 beyond.
            seed: Of the estimate's random signs and places.

        Raises:
            UsageError: If probes is below 2.
        """
        if self.is_exact(probes):
            return of_hessian(self.hessian())
        with self._products() as (product, like):
            return estimated(product, like, probes or _PROBES, seed)

    def is_exact(self, probes: int | None = None) -> bool:
        """Whether `hessian_diagonal` is exact for that many probes. Raises as it does."""
        if probes is not None and probes < 2:
            raise UsageError(
                f"probes is {probes}; give at least 2, as one has no error, or None for an exact "
                f"diagonal up to dense_limit = {self.dense_limit:,} parameters."
            )
        return probes is None and self.size <= self.dense_limit

    def snapshot(self) -> list[Tensor]:
        """Copies of all parameters, then of the buffers, as they are now."""
        return [tensor.detach().clone() for tensor in self._tensors()]

    @contextlib.contextmanager
    def at(self, snapshot: Sequence[Tensor]) -> Iterator[None]:
        """Within, the module is as it was at the snapshot; afterwards, bit for bit as before."""
        now = self.snapshot()
        load(self._tensors(), snapshot)
        try:
            yield
        finally:
            load(self._tensors(), now)

    def _tensors(self) -> list[Tensor]:
        return [*self.parameters.values(), *self.module.buffers()]

    @contextlib.contextmanager
    def _measuring(self) -> Iterator[None]:
        self._mention_changes()
        frozen = [p for p in self.parameters.values() if not p.requires_grad]
        for parameter in frozen:
            parameter.requires_grad_(True)
        try:
            with undisturbed(self.module, evaluating=self.determinism == "eval"):
                modes = tuple(part.training for part in self.module.modules())
                if self.determinism != "ignore" and modes not in self._checked:
                    self._check()
                    self._checked.add(modes)
                yield
        finally:
            for parameter in frozen:
                parameter.requires_grad_(False)

    def _mention_changes(self) -> None:
        """Says once what became trainable, or no longer is, since the objective was made."""
        now = {name: p for name, p in self.module.named_parameters() if p.requires_grad}
        before, after = ({id(p) for p in each.values()} for each in (self.parameters, now))
        added = [name for name, p in now.items() if id(p) not in before]
        gone = [name for name, p in self.parameters.items() if id(p) not in after]
        if (added or gone) and (added, gone) != self._mentioned:
            self._mentioned = added, gone
            said = [
                f"{', '.join(names)} {what}"
                for names, what in (
                    (added, "require a gradient now and are not measured"),
                    (gone, "require none any more and are measured still"),
                )
                if names
            ]
            warnings.warn(
                f"The module's parameters changed since the objective was made: "
                f"{' and '.join(said)}; make a new Objective and Probe to follow.",
                ChangedParametersWarning,
                stacklevel=4,
            )

    def _check(self) -> None:
        with torch.no_grad():
            first, second = self._evaluate(0).item(), self._evaluate(0).item()
        # Parallel sums may round differently from call to call on a GPU.
        if math.isclose(first, second, rel_tol=1e-6) or math.isnan(first + second):
            return
        remedy = (
            "make loss_fn give the same number for the same batch"
            if self.determinism == "eval"
            else "call module.eval() before measurements, or give determinism='eval', which does "
            "so for their time"
        )
        raise UsageError(
            f"The loss of the first batch is random: {first:.9g}, and called again {second:.9g} "
            f"(dropout in train mode, or sampling); {remedy}, or take it as it is with "
            "determinism='ignore'."
        )

    def _evaluate(self, batch: int) -> Tensor:
        loss = self.loss_fn(self.module, self.batches[batch])
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

    @contextlib.contextmanager
    def _products(self) -> Iterator[tuple[Callable[[Tensor], Tensor], Tensor]]:
        """The Hessian as a function, and the gradient: one forward pass for all products."""
        with self._measuring():
            gradient = self._gradient(self._evaluate(0), create_graph=True)
            if "torch::autograd::Error" in _operations(gradient):
                raise _no_second_derivative("a once_differentiable function")  # else 0 in silence

            def product(vector: Tensor) -> Tensor:
                if not gradient.requires_grad:  # of a loss that is linear in all parameters
                    return torch.zeros_like(gradient)
                return self._gradient(gradient, vector.to(gradient), retain_graph=True)

            yield product, gradient.detach()

    def _gradient(self, of: Tensor, along: Tensor | None = None, **graph: bool) -> Tensor:
        parameters = tuple(self.parameters.values())
        try:
            parts = torch.autograd.grad(of, parameters, along, materialize_grads=True, **graph)
        except RuntimeError as error:
            if not any(phrase in str(error) for phrase in _NO_SECOND_DERIVATIVE):
                raise
            raise _no_second_derivative(error) from error
        return torch.cat([part.reshape(-1) for part in parts])


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

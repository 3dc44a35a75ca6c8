"""The objective of a PyTorch module: its loss on fixed batches, with first and second derivatives.

They are the quantities of `attnscape.objective`, as flat vectors over the module's parameters.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attnscape.errors import UsageError
from attnscape.torch._derivatives import flat_gradient, hessian_products
from attnscape.torch._diagonal import HessianDiagonal, estimated, of_hessian
from attnscape.torch._eigenpairs import Eigenpairs, Which, block_of, eigenpairs
from attnscape.torch._loss import checked_loss, require_determinism
from attnscape.torch._state import load, mention_attention, undisturbed

Determinism = Literal["check", "eval", "ignore"]
_PROBES = 100


class ChangedParametersWarning(UserWarning):
    """A module's trainable parameters have changed since its objective was made."""


class Objective:
    """A module's loss on fixed batches, with gradient, Hessian-vector product and Hessian.

    Vectors are flat, (p,), over the parameters that require a gradient when the objective is made,
    in the order of `module.parameters()`; shared ones count once. Numbers have the precision of the
    module; use `module.double()` for more. A measurement does not change parameters, their `.grad`,
    buffers, train and eval modes, or PyTorch's random states.

    Attention is measured on PyTorch's `MATH` path, because the fused kernels have no second
    derivative. Modules from `torch.compile` are measured without compilation for the same reason.
    Any other operation without a second derivative is an error, with one exception: PyTorch cannot
    detect that a custom `torch.autograd.Function` calls a kernel in its backward pass. Such a
    function is treated as linear there, unless it is marked `once_differentiable`.

    A loss that returns another number at every call (dropout, sampling) has no Hessian. To detect
    this, the loss is called twice for each combination of train and eval modes in which it is
    measured. If parameters are frozen or unfrozen later, a warning says that the objective still
    uses the original ones.

    Args:
        module: The network. It may be trained between measurements.
        loss_fn: `loss_fn(module, batch)` returns the mean loss, a tensor of one number.
        batches: Fixed batches of any kind, kept in a list (one pass of a `DataLoader` is fine). The
            first is the evaluation batch; gradient noise is measured on all.
        determinism: `check` measures in the module's present modes and refuses a random loss;
            `eval` does so in eval mode; `ignore` uses the loss with the next random numbers.
        dense_limit: The largest number of parameters for which the Hessian is formed.

    Raises:
        UsageError: If an argument has a wrong type, or the loss is random or is not one number that
            depends on a parameter; in later calls, if an operation has no second derivative.

    Examples:
        >>> import torch
        >>> from attnscape.torch import Objective
        >>> def mean_square(module, x):
        ...     return (module(x) ** 2).mean()
        >>> batch = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> objective = Objective(torch.nn.Linear(2, 1, bias=False), mean_square, [batch])
        >>> objective.hvp(torch.ones(2)).tolist()  # the Hessian is 2 x^T x / n, diagonal here
        [1.0, 4.0]
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
        module = getattr(module, "_orig_mod", module)  # the module inside torch.compile's wrapper
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
        self.gradient()  # raises errors of the loss here, not during training

    def loss(self, batch: int = 0) -> float:
        """The loss on the batch with the given index."""
        with self._measuring(), torch.no_grad():
            return self._evaluate(batch).item()

    def gradient(self, batch: int = 0) -> Float[Tensor, " p"]:
        """The gradient on the batch with the given index, (p,)."""
        with self._measuring():
            return flat_gradient(self._evaluate(batch), tuple(self.parameters.values()))

    def batch_gradients(self) -> Float[Tensor, "batches p"]:
        """The gradient on each batch, (batches, p)."""
        return torch.stack([self.gradient(batch) for batch in range(len(self.batches))])

    def hvp(self, vector: Tensor) -> Float[Tensor, " p"]:
        """The Hessian on the evaluation batch times a vector, both (p,).

        Raises:
            UsageError: If the vector has another shape.
        """
        if vector.shape != (self.size,):
            raise UsageError(
                f"The vector has shape {tuple(vector.shape)}; it must be ({self.size},), a number "
                "for each parameter."
            )
        with self._products() as (product, _):
            return product(vector)

    def hessian(self) -> Float[Tensor, "p p"]:
        """The Hessian on the evaluation batch, (p, p), by one product for each row.

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
            probes: Number of products for Hutchinson's estimate, at least 2; the same number of
                further products computes exact entries at random places. By default the diagonal is
                exact for up to `dense_limit` parameters, otherwise estimated with 100 probes.
            seed: Seed of the estimate's random signs and places.

        Raises:
            UsageError: If probes is below 2.
        """
        if self.is_exact(probes):
            return of_hessian(self.hessian())
        with self._products() as (product, like):
            return estimated(product, like, probes or _PROBES, seed)

    def eigenpairs(
        self,
        count: int = 1,
        *,
        which: Which = "largest",
        layer: str | None = None,
        tolerance: float = 1e-3,
        seed: int = 0,
    ) -> Eigenpairs:
        """Extreme eigenvalues of the Hessian on the evaluation batch, with vectors and errors.

        It takes some tens of products for each, and keeps 20 vectors or more.

        Args:
            count: Number of eigenvalues.
            which: `largest`, `smallest`, or largest in `magnitude`.
            layer: The name of a parameter, for its diagonal block alone; None for the whole.
            tolerance: Residual over |eigenvalue| at which a pair has converged.
            seed: Seed of the first vector.

        Raises:
            UsageError: If count or `which` is not allowed, or the layer does not exist.

        Examples:
            >>> import torch
            >>> from attnscape.torch import Objective
            >>> def mean_square(module, x):
            ...     return (module(x) ** 2).mean()
            >>> x = torch.tensor([[1.0, 0.0], [0.0, 2.0]])  # the Hessian has 1 and 4
            >>> objective = Objective(torch.nn.Linear(2, 1, bias=False), mean_square, [x])
            >>> objective.eigenpairs(2).values.tolist()
            [4.0, 1.0]
        """
        block = block_of(self.parameters, layer)
        with self._products() as (product, like):

            def of_block(vector: Tensor) -> Tensor:
                whole = torch.zeros_like(like)
                whole[block] = vector
                return product(whole)[block]

            return eigenpairs(of_block, like[block], count, which, tolerance, seed)

    def is_exact(self, probes: int | None = None) -> bool:
        """Whether `hessian_diagonal(probes)` is exact.

        Raises:
            UsageError: If probes is below 2.
        """
        if probes is not None and probes < 2:
            raise UsageError(
                f"probes is {probes}; give at least 2, as one has no error, or None for an exact "
                f"diagonal up to dense_limit = {self.dense_limit:,} parameters."
            )
        return probes is None and self.size <= self.dense_limit

    def snapshot(self) -> list[Tensor]:
        """Copies of the present parameters, then of the present buffers."""
        return [tensor.detach().clone() for tensor in self._tensors()]

    @contextlib.contextmanager
    def at(self, snapshot: Sequence[Tensor]) -> Generator[None]:
        """Context manager: the module has the snapshot's values; restores it bit for bit after."""
        now = self.snapshot()
        load(self._tensors(), snapshot)
        try:
            yield
        finally:
            load(self._tensors(), now)

    def _tensors(self) -> list[Tensor]:
        """All parameters, then all buffers."""
        return [*self.parameters.values(), *self.module.buffers()]

    @contextlib.contextmanager
    def _measuring(self) -> Generator[None]:
        """Context manager: the module can be measured; restores its state afterwards."""
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
        """Warns once if parameters were frozen or unfrozen since the objective was made."""
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
        require_determinism(first, second, evaluating=self.determinism == "eval")

    def _evaluate(self, batch: int) -> Tensor:
        return checked_loss(self.loss_fn(self.module, self.batches[batch]))

    @contextlib.contextmanager
    def _products(self) -> Generator[tuple[Callable[[Tensor], Tensor], Float[Tensor, " p"]]]:
        """The Hessian as a function of a vector, and the gradient."""
        with self._measuring():
            yield hessian_products(self._evaluate(0), tuple(self.parameters.values()))

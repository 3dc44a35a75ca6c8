"""Stochastic gradients of a network at its initial weights, as they would be in training."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from jaxtyping import Float
from torch import Tensor

from attnscape.networks.training import initial_module, order_of_pass, seed_dropout
from attnscape.networks.workload import Batch, Data, Size, Workload
from attnscape.torch._derivatives import flat_gradient
from attnscape.torch._state import undisturbed


class InitialGradients:
    """Stochastic gradients in train mode at the initial weights of a seed.

    All of them belong to the initial state: buffers, such as the running averages of batch norm,
    are restored after each. Attention is computed on PyTorch's `MATH` path.

    Args:
        workload: The workload.
        data: Its data.
        size: Its size.
        seed: Determines weights, batches and dropout.
        count: Called after each gradient.
    """

    def __init__(
        self, workload: Workload, data: Data, size: Size, seed: int, count: Callable[[], None]
    ) -> None:
        self._workload, self._data, self._batch, self._seed = workload, data, size.batch, seed
        self._module = initial_module(workload, data, size, seed)
        self._parameters = tuple(p for p in self._module.parameters() if p.requires_grad)
        self._count = count

    def of_pass(self) -> Iterator[Float[Tensor, " p"]]:
        """Those of the first pass of training, each with the dropout of its update."""
        batches = self._data.batches(self._batch, order_of_pass(self._seed, 0))
        for number, batch in enumerate(batches):
            yield self._of(batch, number)

    def fresh(self, first: int, samples: int) -> Iterator[Float[Tensor, " p"]]:
        """Those of independent batches, each the first of another pass.

        Args:
            first: The step whose dropout the first one has, so that it is that of no other.
            samples: How many.
        """
        for number in range(samples):
            batches = self._data.batches(self._batch, order_of_pass(self._seed, 1 + number))
            yield self._of(next(iter(batches)), first + number)

    def _of(self, batch: Batch, number: int) -> Float[Tensor, " p"]:
        with undisturbed(self._module):
            seed_dropout(self._seed, number)
            self._module.train()
            gradient = flat_gradient(self._workload.loss(self._module, batch), self._parameters)
        self._count()
        return gradient

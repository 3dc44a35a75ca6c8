"""Stochastic gradients of a network: those of its updates, and at its initial weights."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attnscape.networks.module_state import ModuleState
from attnscape.networks.streams import initial_module, one_pass, order_of_pass, seed_dropout
from attnscape.networks.workload import Batch, Data, Size, Workload, loss_of
from attnscape.torch._derivatives import flat_gradient
from attnscape.torch._state import undisturbed


class UpdateGradients:
    """Gradients of a run's updates, in train mode, in `.grad` of the parameters.

    Args:
        workload: The workload.
        data: Its data.
        size: Its size.
        seed: Determines batches and dropout.
        module: The network.
    """

    def __init__(
        self, workload: Workload, data: Data, size: Size, seed: int, module: nn.Module
    ) -> None:
        self._workload, self._data, self._batch, self._seed = workload, data, size.batch, seed
        self._module = module

    def fill(self, batch: Batch | None, step: int) -> Tensor:
        """Fills `.grad` from a batch, or from all batches of a pass for None; returns the loss."""
        self._module.zero_grad()
        return self._of(batch, step) if batch is not None else self._of_all(step)

    def _of_all(self, step: int) -> Tensor:
        # The same order for all seeds: the batches, and the examples left over, define the loss.
        batches = one_pass(self._data, self._batch, order_of_pass(0, 0))
        losses = [self._of(batch, step, number).detach() for number, batch in enumerate(batches)]
        for parameter in self._module.parameters():
            if parameter.grad is not None:
                parameter.grad.div_(len(losses))
        return torch.stack(losses).mean()

    def _of(self, batch: Batch, step: int, *number: int) -> Tensor:
        """Adds the gradient of a batch to `.grad`."""
        seed_dropout(self._seed, step, *number)
        self._module.train()
        loss = loss_of(self._workload, self._module, batch)
        loss.backward()
        return loss


class InitialGradients:
    """Stochastic gradients in train mode at the initial weights of a seed.

    All of them belong to the initial state: buffers, such as the running averages of batch norm,
    are restored after each. Attention is computed on PyTorch's `MATH` path.

    Args:
        workload: The workload.
        data: Its data.
        size: Its size.
        seed: Determines weights, batches and dropout.
        batches: The first batches of the pass that are used, or None for all.

    Attributes:
        state: What the network remembers between two gradients.
        size: Numbers of a gradient.
    """

    def __init__(
        self, workload: Workload, data: Data, size: Size, seed: int, *, batches: int | None = None
    ) -> None:
        self._workload, self._data, self._batch, self._seed = workload, data, size.batch, seed
        self._most = batches
        self._module = initial_module(workload, data, size, seed)
        self._parameters = tuple(p for p in self._module.parameters() if p.requires_grad)
        self.state: ModuleState = ModuleState(self._module)
        self.size: int = sum(p.numel() for p in self._parameters)

    def of_pass(self, made: int) -> Iterator[Float[Tensor, " p"]]:
        """Those of the first pass of training that are used, each with the dropout of its update.

        Args:
            made: How many were made before.
        """
        batches = self._data.batches(self._batch, order_of_pass(self._seed, 0))
        for number, batch in enumerate(itertools.islice(batches, self._most)):
            if number >= made:
                yield self._of(batch, number)

    def fresh(self, first: int, samples: int, made: int) -> Iterator[Float[Tensor, " p"]]:
        """Those of independent batches, each the first of another pass.

        Args:
            first: The step whose dropout the first one has, so that it is that of no other.
            samples: How many.
            made: How many were made before.
        """
        for number in range(made, samples):
            batches = self._data.batches(self._batch, order_of_pass(self._seed, 1 + number))
            yield self._of(next(iter(batches)), first + number)

    def _of(self, batch: Batch, number: int) -> Float[Tensor, " p"]:
        with undisturbed(self._module):
            seed_dropout(self._seed, number)
            self._module.train()
            return flat_gradient(loss_of(self._workload, self._module, batch), self._parameters)

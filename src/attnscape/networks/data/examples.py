"""Data in memory: tensors of training and of test examples, and batches of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from attnscape.errors import UsageError
from attnscape.networks.workload import Batch

_HASHED_AT_ONCE = 2**22  # numbers; a broadcast tensor is never copied whole


class Examples:
    """Training and test examples as tensors whose first axis is the example.

    It has all that the protocol `attnscape.networks.workload.Data` asks for.

    Args:
        name: What the data are, as figures and tables say it.
        facts: Numbers that a model needs, by name.
        train: Tensors of the training examples: inputs and targets.
        test: The same tensors of the test examples.

    Attributes:
        name: As given.
        digest: SHA-256 of all tensors, with their types and shapes.
        facts: As given.
        examples: Number of training examples.
        train: As given.
        test: As given.

    Raises:
        UsageError: If the tensors have different numbers of examples, or none.
    """

    def __init__(
        self,
        name: str,
        facts: Mapping[str, int],
        *,
        train: Sequence[Tensor],
        test: Sequence[Tensor],
    ) -> None:
        self.name: str = name
        self.facts: Mapping[str, int] = dict(facts)
        self.train: Batch = tuple(train)
        self.test: Batch = tuple(test)
        for kind, tensors in (("training", self.train), ("test", self.test)):
            counts = [len(tensor) for tensor in tensors]
            if len(set(counts)) != 1 or not counts[0]:
                raise UsageError(
                    f"The tensors of the {kind} examples of {name} have the lengths {counts}; "
                    "give at least one tensor, all with the same number of examples, at least one."
                )
        self.examples: int = len(self.train[0])
        self.digest: str = digest_of((*self.train, *self.test))

    def batches(self, batch: int, seed: int) -> Iterator[Batch]:
        """One pass over the training examples, in an order that the seed determines.

        The last batch is dropped if it is incomplete.

        Raises:
            UsageError: If there are fewer training examples than a batch has.
        """
        if not 1 <= batch <= self.examples:
            raise UsageError(
                f"The batch is {batch:,}, but {self.name} has {self.examples:,} training "
                f"examples; choose a batch from 1 to {self.examples:,}."
            )
        order = torch.randperm(self.examples, generator=torch.Generator().manual_seed(seed))
        return (pick(self.train, places) for places in order.split(batch) if len(places) == batch)

    def fixed(self, batch: int, count: int, *, test: bool = False) -> Sequence[Batch]:
        """Batches of training (or test) examples that are the same for every seed; at most `count`.

        They share no example and are spread evenly over the whole set, as it may be sorted. If
        there are fewer examples than a batch has, the only batch has all of them.

        Raises:
            UsageError: If batch or count is below 1.
        """
        if batch < 1 or count < 1:
            raise UsageError(f"batch is {batch} and count is {count}; both must be at least 1.")
        tensors = self.test if test else self.train
        total = len(tensors[0])
        batch = min(batch, total)
        count = min(count, total // batch)
        places = spread(total, batch * count)
        return [pick(tensors, places[first::count]) for first in range(count)]


def pick(tensors: Iterable[Tensor], places: Int[Tensor, " chosen"]) -> Batch:
    """The examples at the given places."""
    return tuple(tensor[places] for tensor in tensors)


def spread(total: int, count: int) -> Int[Tensor, " chosen"]:
    """`count` different places from 0 to `total` - 1, as evenly as integers can be."""
    return torch.arange(count) * total // count


def some(tensors: Sequence[Tensor], count: int | None, what: str) -> Batch:
    """`count` examples spread evenly over the tensors, or all for None.

    Args:
        tensors: Tensors whose first axis is the example.
        count: How many examples.
        what: What the examples are, for the error, such as "training images of MNIST".

    Raises:
        UsageError: If there are not as many.
    """
    if count is None:
        return tuple(tensors)
    total = len(tensors[0])
    if not 1 <= count <= total:
        raise UsageError(
            f"examples is {count:,}, but there are {total:,} {what}; give a number from 1 to "
            f"{total:,}, or None for all."
        )
    return pick(tensors, spread(total, count))


def digest_of(tensors: Sequence[Tensor]) -> str:
    """SHA-256 of the tensors' types, shapes and numbers, in hexadecimal."""
    different = {id(tensor): tensor for tensor in tensors}  # the test examples may be the others
    digests = {name: _digest(tensor) for name, tensor in different.items()}
    return hashlib.sha256("".join(digests[id(tensor)] for tensor in tensors).encode()).hexdigest()


def _digest(tensor: Tensor) -> str:
    sha = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)};".encode())
    rows = max(1, _HASHED_AT_ONCE // max(1, tensor[0].numel()))
    for part in tensor.split(rows):
        sha.update(part.contiguous().numpy().data)
    return sha.hexdigest()

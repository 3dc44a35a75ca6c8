"""What a seed determines: the initial weights, the order of the batches, and dropout."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
from torch import nn

from attnscape.errors import UsageError
from attnscape.networks.generators import seed_all
from attnscape.networks.workload import Batch, Data, Size, Workload
from attnscape.trees import Plain

_INIT, _BATCHES, _DROPOUT = range(3)  # streams of random numbers of a seed


def _stream(seed: int, *path: int) -> int:
    """The seed of a stream of random numbers; different paths give independent streams."""
    return int(np.random.SeedSequence((seed, *path)).generate_state(1, np.uint64)[0] >> 1)


def order_of_pass(seed: int, number: int) -> int:
    """The seed of the order of a run's pass with the given number over the training data."""
    return _stream(seed, _BATCHES, number)


def seed_dropout(seed: int, step: int, *number: int) -> None:
    """Seeds all generators as for the update of a step, or for one of its batches."""
    seed_all(_stream(seed, _DROPOUT, step, *number))


def initial_module(workload: Workload, data: Data, size: Size, seed: int) -> nn.Module:
    """The network of a seed at step 0; to be called inside `own_random_numbers`."""
    seed_all(_stream(seed, _INIT))
    return workload.model(data.facts, **size.model)


def one_pass(data: Data, batch: int, order: int) -> Iterator[Batch]:
    """The batches of one pass; raises UsageError if there are none."""
    empty = True
    for each in data.batches(batch, order):
        empty = False
        yield each
    if empty:
        raise UsageError(
            f"{data.name} gives no batch of {batch} examples; give more data or a smaller batch."
        )


class Batches(Iterator[Batch]):
    """The batches of one pass after the other, in the orders of a seed.

    Args:
        data: The data.
        batch: Examples of a batch.
        seed: The seed.
    """

    def __init__(self, data: Data, batch: int, seed: int) -> None:
        self._data, self._batch, self._seed = data, batch, seed
        self._pass, self._given = 0, 0
        self._last: Batch | None = None
        self._rest = self._begin()

    def _begin(self) -> Iterator[Batch]:
        return one_pass(self._data, self._batch, order_of_pass(self._seed, self._pass))

    def __next__(self) -> Batch:
        found = next(self._rest, None)
        if found is None:
            self._pass, self._given = self._pass + 1, 0
            self._rest = self._begin()
            found = next(self._rest)
        self._given += 1
        self._last = found
        return found

    def save(self) -> Plain:
        """The place in the data, and a digest of the last batch that was given."""
        return {"pass": self._pass, "given": self._given, "last": _digest(self._last)}

    def restore(self, saved: Plain) -> None:
        """Goes to a place that was saved.

        Raises:
            ValueError: If the data have other batches there than they had: a user's may draw them
                from generators that training has seeded in between.
        """
        self._pass, self._given = saved["pass"], 0
        self._rest = self._begin()
        while self._given < saved["given"]:
            if next(self, None) is None or self._pass != saved["pass"]:
                break
        if _digest(self._last) != saved["last"]:
            raise ValueError("the data give other batches than before")


def _digest(batch: Batch | None) -> str:
    sha = hashlib.sha256()
    for tensor in batch or ():
        sha.update(f"{tensor.dtype} {tuple(tensor.shape)};".encode())
        sha.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()

"""The global generators of random numbers that a network's code may draw from."""

from __future__ import annotations

import contextlib
import functools
import random
from collections.abc import Generator

import numpy as np
import torch

from attnscape.optimizers import _random_states


def seed_all(seed: int) -> None:
    """Seeds the generators that users' code may draw from: PyTorch's, numpy's and Python's."""
    if _has_accelerator():
        torch.manual_seed(seed)
    else:  # `torch.manual_seed` would also record the whole stack for each kind of device
        torch.default_generator.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    random.seed(seed)


@functools.cache
def _has_accelerator() -> bool:
    return torch.accelerator.is_available()


@contextlib.contextmanager
def own_random_numbers() -> Generator[None]:
    """Context manager: afterwards the global generators are in the states of before."""
    before = _random_states.now()
    try:
        yield
    finally:
        _random_states.set_to(before)

"""The states of the global random generators: those of a run of a PyTorch optimizer, and of now."""

from __future__ import annotations

import contextlib
import hashlib
import random
from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import torch

from attnscape.trees import Plain

States = tuple[Any, ...]
"""Those of PyTorch's, numpy's and Python's generators."""


class RandomStates:
    """The states of the global random generators in one run.

    Args:
        leaves: The run's initial parameters, which seed the generators.
    """

    def __init__(self, leaves: Sequence[np.ndarray]) -> None:
        content = hashlib.sha256(b"".join(leaf.tobytes() for leaf in leaves)).digest()
        self._seed: int | None = int.from_bytes(content[:4])
        self._states: States = ()

    @contextlib.contextmanager
    def in_use(self) -> Generator[None]:
        """Context manager: sets the run's states; restores the old states afterwards."""
        before = now()
        if self._seed is not None:
            torch.manual_seed(self._seed)
            np.random.seed(self._seed)  # noqa: NPY002 - what users' code draws from
            random.seed(self._seed)
            self._seed = None
        else:
            set_to(self._states)
        try:
            yield
        finally:
            self._states = now()
            set_to(before)

    def save(self) -> Plain:
        """The run's states; None before the first use."""
        return None if self._seed is not None else plain(self._states)

    def restore(self, saved: Plain) -> None:
        """Sets the states that `save` has returned."""
        if saved is not None:
            self._seed, self._states = None, read(saved)


def now() -> States:
    """The present states of the global generators."""
    return torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002


def set_to(states: States) -> None:
    """Sets the states of the global generators."""
    of_torch, of_numpy, of_python = states
    torch.set_rng_state(of_torch)
    np.random.set_state(of_numpy)  # noqa: NPY002
    random.setstate(of_python)


def plain(states: States) -> Plain:
    """States as plain values, which `read` reads."""
    of_torch, (_, keys, *numbers), (version, words, gauss) = states
    return {
        "torch": of_torch.numpy().copy(),
        "numpy": {"keys": keys.copy(), "numbers": numbers},
        "python": {"version": version, "words": np.array(words), "gauss": gauss},
    }


def read(saved: Plain) -> States:
    """The states that `plain` was given."""
    of_numpy, of_python = saved["numpy"], saved["python"]
    return (
        torch.from_numpy(saved["torch"].copy()),
        ("MT19937", of_numpy["keys"], *of_numpy["numbers"]),
        (of_python["version"], tuple(of_python["words"].tolist()), of_python["gauss"]),
    )

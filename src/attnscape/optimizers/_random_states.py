"""The states of the global random generators: those of a run of a PyTorch optimizer, and of now."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import random
import sys
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
    return torch.get_rng_state(), _numpy.now(), random.getstate()


def set_to(states: States) -> None:
    """Sets the states of the global generators."""
    of_torch, of_numpy, of_python = states
    torch.set_rng_state(of_torch)
    _numpy.set_to(of_numpy)
    random.setstate(of_python)


class _Numpy:
    """The state of numpy's global generator; where it is known already, its memory is compared.

    numpy takes 25 microseconds to read or to set it, word by word. A state that holds half of a
    pair of normal numbers is always read and set by numpy, as that is not part of the memory. So a
    state that others set between two steps is noticed, unless it differs in such a half alone.
    """

    def __init__(self) -> None:
        self._known: tuple[bytes, Any] | None = None  # memory and state, without half a pair

    def now(self) -> Any:
        """The present state, as `np.random.get_state` gives it."""
        words = _words()
        if words is not None and self._known is not None and self._known[0] == words.raw:
            return self._known[1]
        state = np.random.get_state()  # noqa: NPY002
        self._remember(state)
        return state

    def set_to(self, state: Any) -> None:
        """Sets a state that `now` has given."""
        words, known = _words(), self._known
        if not state[3] and words is not None and known is not None and known[0] == words.raw:
            words.raw = _memory(state)
            self._known = words.raw, state
        else:
            np.random.set_state(state)  # noqa: NPY002
            self._remember(state)

    def _remember(self, state: Any) -> None:
        words = _words()
        self._known = None if words is None or state[3] else (words.raw, state)


_numpy = _Numpy()


def _memory(state: Any) -> bytes:
    """The memory of the Mersenne Twister in a state: its 624 words, and the place in them."""
    return state[1].astype("=u4", copy=False).tobytes() + int(state[2]).to_bytes(4, sys.byteorder)


def _words() -> Any:
    """The memory of numpy's global generator; None if it is not laid out as `_memory` says."""
    return _words_of(np.random.get_bit_generator())  # pyright: ignore[reportAttributeAccessIssue]


@functools.lru_cache(maxsize=1)
def _words_of(generator: Any) -> Any:
    if type(generator) is not np.random.MT19937:
        return None
    state = np.random.get_state()  # noqa: NPY002
    memory = _memory(state)
    words = (ctypes.c_char * len(memory)).from_address(generator.ctypes.state_address)
    return words if words.raw == memory else None


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

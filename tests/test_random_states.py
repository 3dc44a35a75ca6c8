# ruff: noqa: NPY002 - users draw from the global generator
"""Each run of a PyTorch optimizer has random generators of its own, and the global ones go on."""

import itertools
import random

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from attnscape.optimizers import _random_states  # noqa: E402
from attnscape.optimizers._random_states import RandomStates  # noqa: E402

# A single normal number leaves half of a pair behind, which is no part of the generator's memory.
DRAWS = (
    lambda: None,
    np.random.normal,
    np.random.random,
    lambda: np.random.normal(size=700).sum(),
    random.random,
    lambda: torch.rand(()).item(),
    lambda: np.random.seed(3),
)

PAIRS = tuple(itertools.product([0.0, -0.0, 1.0, np.nan, np.inf], repeat=2))


def _seed(seed):
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


def _of(generators, numbers, draws):
    """What the draws give in turns: `generators` has a function for each of the `numbers`."""
    return [generators[number](draw) for number, draw in zip(numbers, draws, strict=True)]


class _Apart:
    """The oracle: all draws of one owner, made one after the other from its own seed."""

    def __init__(self, seed):
        self._seed, self._made = seed, []

    def __call__(self, draw):
        self._made.append(draw)
        _seed(self._seed)
        return [each() for each in self._made][-1]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("trial", range(10))
def test_draws_in_turns_are_those_of_each_alone(known, trial, monkeypatch):
    if not known:  # as with another layout of numpy's memory
        monkeypatch.setattr(_random_states, "_words", lambda: None)
    choose = np.random.default_rng(trial)
    numbers = choose.integers(3, size=50)
    draws = [DRAWS[index] for index in choose.integers(len(DRAWS), size=50)]
    runs = [RandomStates([np.full(3, index)]) for index in range(2)]
    seeds = [run._seed for run in runs]

    def inside(run):
        def drawn(draw):
            with run.in_use():
                return draw()

        return drawn

    _seed(trial)
    found = _of([inside(runs[0]), inside(runs[1]), lambda draw: draw()], numbers, draws)
    apart = [_Apart(seed) for seed in (*seeds, trial)]
    assert found == _of(apart, numbers, draws)


def test_numpys_memory_is_laid_out_as_expected():
    """Otherwise each step of an optimizer takes a tenth of a millisecond more."""
    np.random.seed(5)
    assert _random_states._words() is not None
    for many in (1, 3, 700):
        np.random.random(many)
        state = np.random.get_state()
        assert _random_states._words().raw == _random_states._memory(state)


def test_a_generator_of_another_kind_is_left_to_numpy():
    before = np.random.get_bit_generator()
    try:
        np.random.set_bit_generator(np.random.PCG64(1))
        assert _random_states._words() is None
    finally:
        np.random.set_bit_generator(before)


@pytest.mark.parametrize("pair", PAIRS)
def test_arrays_differ_as_numpy_says(pair):
    from attnscape.optimizers.pytorch import _differ

    one, other = (np.array([2.0, each], np.float32) for each in pair)
    assert _differ(one, other) != np.array_equal(one, other, equal_nan=True)

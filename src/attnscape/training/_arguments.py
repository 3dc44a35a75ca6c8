"""Arguments of `train`: their ranges, and single numbers as sequences."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from attnscape.errors import UsageError

Precision = Literal["float32", "float64"]


def is_sequence(value: object) -> bool:
    """Whether several values were given."""
    return isinstance(value, Sequence | np.ndarray)


def check_precision(precision: str) -> None:
    """Raises UsageError unless it is float32 or float64."""
    if precision not in get_args(Precision):
        raise UsageError(f"precision is {precision!r}; it must be float32 or float64.")


def evaluation_batches(seeds: int | Sequence[int]) -> tuple[int, ...]:
    """The seeds of the fixed batches as a tuple, also if a single number was given."""
    if isinstance(seeds, int | np.integer):
        seeds = (int(seeds),)
    if not is_sequence(seeds):
        raise UsageError(f"evaluation_seeds is {seeds!r}; give a seed, or a sequence of seeds.")
    check_seeds("evaluation_seeds", seeds := tuple(seeds))
    return seeds


def check_clip(clip: float | None, precision: Precision) -> None:
    """Raises UsageError unless it is a norm that gradients can be clipped to, or None.

    Examples:
        >>> from attnscape.training import check_clip
        >>> check_clip(1.0, "float32")
        >>> check_clip(-1.0, "float32")
        Traceback (most recent call last):
            ...
        attnscape.errors.UsageError: clip is -1.0; it must be positive, or None for no clipping.
    """
    if clip is None:
        return
    if not clip > 0:
        raise UsageError(f"clip is {clip}; it must be positive, or None for no clipping.")
    check_representable("clip", clip, precision)


def check_representable(what: str, number: float, precision: Precision) -> None:
    """Refuses numbers below the smallest normal one: compiled programs replace them by zero."""
    limits = np.finfo(precision)
    if not limits.tiny <= number <= limits.max:
        raise UsageError(
            f"{what} {number:g} is beyond {precision}, which holds {limits.tiny:.2g} to "
            f"{limits.max:.2g}; give a number in between."
        )


def check_counts(**counts: int) -> None:
    """Raises UsageError unless they are whole numbers of at least 1, or 0 for steps."""
    for name, count in counts.items():
        least = 0 if name == "steps" else 1
        if not isinstance(count, numbers.Integral) or count < least:
            raise UsageError(f"{name} is {count}; it must be a whole number of at least {least}.")


def check_seeds(name: str, seeds: Sequence[int]) -> None:
    """Raises UsageError unless they are different whole numbers of 32 bits, at least one.

    Examples:
        >>> from attnscape.training import check_seeds
        >>> check_seeds("seeds", (0, 1))
        >>> check_seeds("seeds", (1, 1))
        Traceback (most recent call last):
            ...
        attnscape.errors.UsageError: seeds are [1, 1]; give at least one, and none twice.
    """
    if not seeds or len(set(seeds)) != len(seeds):
        raise UsageError(f"{name} are {list(seeds)}; give at least one, and none twice.")
    for seed in seeds:
        if not isinstance(seed, numbers.Integral) or not 0 <= seed < 2**32:
            raise UsageError(f"The seed {seed} is not usable; give whole numbers from 0 to 2^32-1.")


def batches_of(batch: int | Sequence[int]) -> tuple[int, ...]:
    """The batch sizes as a tuple, also if a single number was given."""
    batches = tuple(batch) if isinstance(batch, Sequence | np.ndarray) else (batch,)
    if not batches or len(set(batches)) != len(batches):
        raise UsageError(f"batch is {list(batches)}; give at least one size, and none twice.")
    for size in batches:
        check_counts(batch=size)
    return tuple(map(int, batches))


def check_sequence(seeds: object) -> None:
    """Raises UsageError unless the seeds are a sequence."""
    if not is_sequence(seeds):
        raise UsageError(f"seeds is {seeds!r}; give a sequence of seeds, for example range(3).")

"""The radius of a covariate as a table of quantiles, for `attnscape.tasks.Radial`."""

from __future__ import annotations

import functools
import threading
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

from attnscape.errors import UsageError
from attnscape.tasks._normals import tail_probability

# The smallest tail probability of a word, and how many bits of the mantissa the table has steps
# for. kernels/radial_points.hpp has the same numbers.
_LOWEST, _BITS = np.float32(2**-33), 9
_OCTAVES = 32  # from _LOWEST to 1/2
_PATIENCE = 60.0  # seconds; the distributions of the paper take milliseconds


@functools.lru_cache(maxsize=16)
def radius_table(distribution: Any) -> Float[np.ndarray, "2 entries"]:
    """The radius at tail probabilities from 2^-33 to 1/2, the upper tail and the lower, in float32.

    The probabilities are the float32 numbers whose mantissas have 9 bits, so that both tails are
    resolved. For the distributions of the paper, linear interpolation is within 1e-5 of the
    quantile, relative to the radius or to a tenth of the median radius (the larger one). Jumps of a
    discrete distribution are smoothed over one step of the table, at most 5e-4 of the probability.

    Args:
        distribution: A frozen `scipy.stats` distribution of the squared radius.

    Raises:
        UsageError: If the distribution has no quantiles, or takes too long to find them.
    """
    squared = _in_time(distribution)
    if np.isnan(squared).any():
        raise UsageError(
            f"scipy.stats has no quantiles of {_words(distribution)}; choose another distribution."
        )
    with np.errstate(over="ignore"):  # too large for float32 means infinite; such runs diverge
        return np.sqrt(squared).astype(np.float32)


def _in_time(distribution: Any) -> np.ndarray:
    """The squared radius at the tail probabilities of the table, with a time limit.

    Some distributions search or integrate for hours.
    """
    found: list[np.ndarray | Exception] = []
    stop = threading.Event()

    def work() -> None:
        try:
            found.append(_quantiles(distribution, stop))
        except Exception as error:
            found.append(error)

    # A thread that is left behind in one search ends with the process.
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    result = found[0] if found else None
    stop.set()
    if result is None:
        raise UsageError(
            f"The distribution {_words(distribution)} is too slow to tabulate: its quantiles take "
            f"more than {_PATIENCE:g} s; choose another, or draw from it in a function of your own."
        )
    if isinstance(result, Exception):
        reason = (str(result).strip().splitlines() or [type(result).__name__])[0]
        raise UsageError(
            f"scipy.stats cannot find quantiles of {_words(distribution)} ({reason}); choose "
            "another distribution."
        ) from result
    return result


def _quantiles(distribution: Any, stop: threading.Event) -> np.ndarray:
    """The squared radius at the tail probabilities of the table, the last of them above 1/2.

    From the middle outwards, as some distributions end with an error far out, but slowly.
    """
    steps = np.arange((_OCTAVES << _BITS) + 2, dtype=np.int32) << (23 - _BITS)
    probability = (steps + _LOWEST.view(np.int32)).view(np.float32).astype(float)
    parts = np.array_split(probability[::-1], len(probability) // 64)
    tails: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    with np.errstate(all="ignore"):
        for part in parts:
            for tail, quantiles in zip(tails, (distribution.isf, distribution.ppf), strict=True):
                if stop.is_set():
                    raise TimeoutError
                tail.append(quantiles(part))
    return np.stack([np.concatenate(tail)[::-1] for tail in tails])


def _words(distribution: Any) -> str:
    """Name and arguments of a distribution, as in Python code."""
    arguments = [f"{value:g}" for value in distribution.args]
    arguments += [f"{name}={value:g}" for name, value in distribution.kwds.items()]
    return f"{distribution.dist.name}({', '.join(arguments)})"


def tabulated_radius(
    table: Float[Array, "2 entries"], word: UInt32[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """The radius of a word, whose lowest bit says of which tail it is, by linear interpolation."""
    bits = jax.lax.bitcast_convert_type(tail_probability(word), jnp.int32) - _LOWEST.view(np.int32)
    rest = 23 - _BITS
    tail, index = (word & 1).astype(jnp.int32), bits >> rest
    below = table[tail, index]
    part = (bits & (2**rest - 1)).astype(jnp.float32) * np.float32(2**-rest)
    return below + part * (table[tail, index + 1] - below)

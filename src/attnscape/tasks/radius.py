"""The radius of a covariate as a table of quantiles, for `attnscape.tasks.Radial`."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from attnscape.errors import UsageError

# The ends of the table: 32-bit words give no normal scores beyond them. The kernel
# (kernels/sampler.cpp) has the same number.
REACH = 6.5
_ENTRIES = 2**14 + 1
_PATIENCE = 30.0  # seconds; the distributions of the paper take milliseconds


@functools.lru_cache(maxsize=16)
def radius_table(distribution: Any) -> np.ndarray:
    """The radius at even steps of the normal score between -REACH and REACH, in float32.

    Steps in the score, not in the probability, resolve both tails. For the distributions of the
    paper, linear interpolation is within 1e-5 of the quantile, relative to the radius or to a tenth
    of the median radius (the larger one). Jumps of a discrete distribution are smoothed over one
    step of the table, at most 4e-4 of the probability.

    Args:
        distribution: A frozen `scipy.stats` distribution of the squared radius.

    Raises:
        UsageError: If the distribution has no quantiles, or takes too long to find them.
    """
    squared = _in_time(distribution, lambda: _quantiles(distribution))
    if np.isnan(squared).any():
        raise UsageError(
            f"scipy.stats has no quantiles of {_words(distribution)}; choose another distribution."
        )
    with np.errstate(over="ignore"):  # too large for float32 means infinite; such runs diverge
        return np.sqrt(squared).astype(np.float32)


def _quantiles(distribution: Any) -> np.ndarray:
    """The squared radius at even steps of the normal score."""
    from scipy import special

    score = np.linspace(-REACH, REACH, _ENTRIES)
    lower = score < 0
    squared = np.empty(_ENTRIES)
    with np.errstate(all="ignore"):
        squared[lower] = distribution.ppf(special.ndtr(score[lower]))
        squared[~lower] = distribution.isf(special.ndtr(-score[~lower]))
    return squared


def _in_time(distribution: Any, quantiles: Callable[[], np.ndarray]) -> np.ndarray:
    """The result of `quantiles`, with a time limit.

    Some distributions search or integrate for hours.
    """
    found: list[np.ndarray | Exception] = []

    def work() -> None:
        try:
            found.append(quantiles())
        except Exception as error:
            found.append(error)

    # A thread can be left behind; it ends with the process.
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    if not found:
        raise UsageError(
            f"The distribution {_words(distribution)} is too slow to tabulate: its quantiles take "
            f"more than {_PATIENCE:g} s; choose another, or draw from it in a function of your own."
        )
    if isinstance(found[0], Exception):
        reason = (str(found[0]).strip().splitlines() or [type(found[0]).__name__])[0]
        raise UsageError(
            f"scipy.stats cannot find quantiles of {_words(distribution)} ({reason}); choose "
            "another distribution."
        ) from found[0]
    return found[0]


def _words(distribution: Any) -> str:
    """Name and arguments of a distribution, as in Python code."""
    arguments = [f"{value:g}" for value in distribution.args]
    arguments += [f"{name}={value:g}" for name, value in distribution.kwds.items()]
    return f"{distribution.dist.name}({', '.join(arguments)})"


def tabulated_radius(
    table: Float[Array, " entries"], score: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """The radius of a normal score, by linear interpolation."""
    position = (score + REACH) * np.float32((table.shape[0] - 1) / (2 * REACH))
    index = position.astype(jnp.int32)
    low = table[index]
    return low + (position - index) * (table[index + 1] - low)

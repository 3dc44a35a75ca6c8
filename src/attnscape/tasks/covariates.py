"""Laws of covariates (and of weights, which are covariates drawn one at a time).

A law is any callable `(key, batch, n, d) -> x` with x of shape (batch, n, d); the classes here are
such callables, and a user's own function stands wherever they do. They draw in float32.
"""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from attnscape.errors import UsageError
from attnscape.tasks._normals import normals

Law = Callable[[Array, int, int, int], Float[Array, "batch n d"]]


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """N(0, covariance); the identity unless one is given.

    Attributes:
        covariance: A symmetric positive definite (d, d) matrix, as nested sequences or an array.

    Raises:
        UsageError: If the covariance is not a symmetric positive definite matrix.
    """

    covariance: Any = None

    def __post_init__(self) -> None:
        if self.covariance is None:
            return
        matrix = np.array(self.covariance, float)
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise UsageError(f"covariance has shape {matrix.shape}; it must be (d, d).")
        if not np.allclose(matrix, matrix.T) or np.linalg.eigvalsh(matrix)[0] <= 0:
            raise UsageError("covariance must be symmetric and positive definite.")
        rows = tuple(tuple(float(entry) for entry in row) for row in matrix)
        object.__setattr__(self, "covariance", rows)  # hashable, and printable in a spec

    def factor(self, d: int) -> np.ndarray:
        """The lower Cholesky factor of the covariance."""
        if self.covariance is None:
            return np.eye(d, dtype=np.float32)
        if len(self.covariance) != d:
            raise UsageError(
                f"covariance is {len(self.covariance)} x {len(self.covariance)}, but the task has "
                f"dimension {d}."
            )
        return np.linalg.cholesky(np.array(self.covariance)).astype(np.float32)

    def __call__(self, key: Array, batch: int, n: int, d: int) -> Float[Array, "batch n d"]:
        z = normals(key, batch, n, d)
        if self.covariance is None:
            return z
        return jnp.einsum("ij,bnj->bni", self.factor(d), z, precision="highest")


@dataclasses.dataclass(frozen=True)
class Sphere:
    """Uniform on the unit sphere."""

    def __call__(self, key: Array, batch: int, n: int, d: int) -> Float[Array, "batch n d"]:
        z = normals(key, batch, n, d)
        return z / jnp.linalg.norm(z, axis=-1, keepdims=True)


@dataclasses.dataclass(frozen=True)
class Radial:
    """A direction uniform on the sphere times a radius of any law.

    Attributes:
        squared_radius: A frozen `scipy.stats` distribution of |x|^2, with values >= 0. Setting 3 of
            the paper is `scipy.stats.gamma(0.1, scale=10)`; `scipy.stats.chi2(d)` is N(0, I).

    Raises:
        UsageError: If it is not a frozen distribution, or may be negative.
    """

    squared_radius: Any

    def __post_init__(self) -> None:
        law = self.squared_radius
        if not (hasattr(law, "ppf") and hasattr(law, "dist") and hasattr(law, "support")):
            raise UsageError(
                f"squared_radius is {law!r}; it must be a frozen scipy.stats distribution, for "
                "example scipy.stats.gamma(0.1, scale=10)."
            )
        lowest = law.support()[0]
        if np.isnan(lowest):
            raise UsageError(
                f"squared_radius is {law.dist.name} with the arguments {law.args}, {law.kwds}, "
                "which scipy.stats does not allow; give others."
            )
        if lowest < 0:
            raise UsageError(
                f"squared_radius has values from {lowest} on; |x|^2 cannot be negative: choose a "
                "law on the positive numbers."
            )

    def __call__(self, key: Array, batch: int, n: int, d: int) -> Float[Array, "batch n d"]:
        z = normals(key, batch, n, d + 1)
        radius = tabulated_radius(jnp.asarray(radius_table(self.squared_radius)), z[..., -1:])
        return z[..., :-1] * (radius / jnp.linalg.norm(z[..., :-1], axis=-1, keepdims=True))


# The table's ends: normal scores beyond them cannot come from 32-bit words. The kernel
# (kernels/sampler.cpp) has the same number.
REACH = 6.5
_ENTRIES = 2**14 + 1


_PATIENCE = 30.0  # seconds; the laws of the paper take milliseconds


@functools.lru_cache(maxsize=16)
def radius_table(law: Any) -> np.ndarray:
    """The radius at even steps of the normal score between -REACH and REACH, in float32.

    A quantile function of the score, not of the probability, keeps both tails resolved: linear
    interpolation is within 1e-5 of the quantile for the laws of the paper, relative to the radius
    or, where that is below it, to a tenth of the median radius. Steps of a discrete law are smeared
    over one table step, 4e-4 of the probability at most.

    Raises:
        UsageError: If the law has no quantiles, or takes too long to find them.
    """
    squared = _in_time(law, lambda: _quantiles(law))
    if np.isnan(squared).any():
        raise UsageError(f"scipy.stats has no quantiles of {_words(law)}; choose another law.")
    with np.errstate(over="ignore"):  # what is too large for float32 is infinite, and so its runs
        return np.sqrt(squared).astype(np.float32)


def _quantiles(law: Any) -> np.ndarray:
    from scipy import special

    score = np.linspace(-REACH, REACH, _ENTRIES)
    lower = score < 0
    squared = np.empty(_ENTRIES)
    with np.errstate(all="ignore"):
        squared[lower] = law.ppf(special.ndtr(score[lower]))
        squared[~lower] = law.isf(special.ndtr(-score[~lower]))
    return squared


def _in_time(law: Any, quantiles: Callable[[], np.ndarray]) -> np.ndarray:
    """What `quantiles` gives, if it is done in time: some laws search or integrate for hours."""
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
            f"The law {_words(law)} is too slow to tabulate: its quantiles take more than "
            f"{_PATIENCE:g} s; choose another, or draw from it in a function of your own."
        )
    if isinstance(found[0], Exception):
        reason = (str(found[0]).strip().splitlines() or [type(found[0]).__name__])[0]
        raise UsageError(
            f"scipy.stats cannot find quantiles of {_words(law)} ({reason}); choose another law."
        ) from found[0]
    return found[0]


def _words(law: Any) -> str:
    arguments = [f"{value:g}" for value in law.args]
    arguments += [f"{name}={value:g}" for name, value in law.kwds.items()]
    return f"{law.dist.name}({', '.join(arguments)})"


def tabulated_radius(
    table: Float[Array, " entries"], score: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """The radius of a normal score, by linear interpolation."""
    position = (score + REACH) * np.float32((table.shape[0] - 1) / (2 * REACH))
    index = position.astype(jnp.int32)
    low = table[index]
    return low + (position - index) * (table[index + 1] - low)

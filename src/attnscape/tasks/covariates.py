"""Distributions of covariates and of weights; weights are drawn like covariates with n = 1.

A distribution is any callable `(key, batch, n, d) -> x` with x of shape (batch, n, d). The classes
here are such callables and draw in float32. A user's own function can replace any of them.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from attnscape.errors import UsageError
from attnscape.tasks._normals import normals
from attnscape.tasks._radial_points import radial_points
from attnscape.tasks.radius import radius_table


@runtime_checkable
class Distribution(Protocol):
    """A distribution of covariates: any function of a key and three sizes.

    Examples:
        >>> import jax
        >>> from attnscape import RegressionTask
        >>> def signs(key, batch, n, d):
        ...     return jax.random.rademacher(key, (batch, n, d), "float32")
        >>> prompts = RegressionTask(dim=2, covariates=signs).sample(jax.random.key(0), batch=10)
        >>> bool((abs(prompts.x) == 1).all())
        True
    """

    def __call__(self, key: Array, batch: int, n: int, d: int, /) -> Float[Array, "batch n d"]:
        """Draws the covariates of `batch` prompts."""
        ...


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """The normal distribution N(0, covariance).

    Attributes:
        covariance: A symmetric positive definite (d, d) matrix, as nested sequences or an array;
            None for the identity.

    Raises:
        UsageError: If the covariance is not a symmetric positive definite matrix.

    Examples:
        >>> import jax
        >>> from attnscape.tasks import Gaussian
        >>> x = Gaussian([[4.0, 0.0], [0.0, 1.0]])(jax.random.key(0), batch=1000, n=20, d=2)
        >>> x.shape
        (1000, 20, 2)
        >>> round(float(x[..., 0].std()), 1)
        2.0
    """

    covariance: ArrayLike | None = None

    def __post_init__(self) -> None:
        if self.covariance is None:
            return
        matrix = np.array(self.covariance, float)
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise UsageError(f"covariance has shape {matrix.shape}; it must be (d, d).")
        if not np.allclose(matrix, matrix.T) or np.linalg.eigvalsh(matrix)[0] <= 0:
            raise UsageError("covariance must be symmetric and positive definite.")
        rows = tuple(tuple(float(entry) for entry in row) for row in matrix)
        object.__setattr__(self, "covariance", rows)  # tuples are hashable and readable in a spec

    def factor(self, d: int) -> np.ndarray:
        """The lower Cholesky factor of the covariance in d dimensions.

        Raises:
            UsageError: If the covariance has another dimension.

        Examples:
            >>> from attnscape.tasks import Gaussian
            >>> Gaussian([[4.0, 0.0], [0.0, 9.0]]).factor(2).tolist()
            [[2.0, 0.0], [0.0, 3.0]]
        """
        if self.covariance is None:
            return np.eye(d, dtype=np.float32)
        matrix = np.array(self.covariance)
        if len(matrix) != d:
            raise UsageError(
                f"covariance is {len(matrix)} x {len(matrix)}, but the task has dimension {d}."
            )
        return np.linalg.cholesky(matrix).astype(np.float32)

    def second_moment(self, d: int) -> np.ndarray:
        """E x x^T in d dimensions: the covariance.

        Raises:
            UsageError: If the covariance has another dimension.

        Examples:
            >>> from attnscape.tasks import Gaussian
            >>> Gaussian([[4.0, 0.0], [0.0, 9.0]]).second_moment(2).tolist()
            [[4.0, 0.0], [0.0, 9.0]]
        """
        self.factor(d)  # raises if the dimension differs
        return np.eye(d) if self.covariance is None else np.array(self.covariance)

    def __call__(self, key: Array, batch: int, n: int, d: int) -> Float[Array, "batch n d"]:
        z = normals(key, batch, n, d)
        if self.covariance is None:
            return z
        return jnp.einsum("ij,bnj->bni", self.factor(d), z, precision="highest")


@dataclasses.dataclass(frozen=True)
class Sphere:
    """The uniform distribution on the unit sphere.

    Examples:
        >>> import jax
        >>> from attnscape.tasks import Sphere
        >>> x = Sphere()(jax.random.key(0), batch=10, n=5, d=2)
        >>> norms = (x**2).sum(axis=-1)
        >>> round(float(norms.min()), 3), round(float(norms.max()), 3)
        (1.0, 1.0)
    """

    def second_moment(self, d: int) -> np.ndarray:
        """E x x^T in d dimensions: I/d.

        Examples:
            >>> from attnscape.tasks import Sphere
            >>> Sphere().second_moment(2).tolist()
            [[0.5, 0.0], [0.0, 0.5]]
        """
        return np.eye(d) / d

    def __call__(self, key: Array, batch: int, n: int, d: int) -> Float[Array, "batch n d"]:
        return radial_points(key, batch, n, d)


@dataclasses.dataclass(frozen=True)
class OneHot:
    """The uniform distribution on the d unit vectors e_1, ..., e_d: orthonormal features.

    These are the balanced features of Huang et al. (2023, "In-context convergence of Transformers",
    arXiv 2310.05249): every covariate, the query included, is one of d orthonormal vectors, so that
    the context has examples equal to the query and others orthogonal to it. With probability
    (1 - 1/d)^n there are none that are equal. As for `Sphere`, E x x^T = I/d; the mean is not 0.

    Examples:
        >>> import jax
        >>> from attnscape.tasks import OneHot
        >>> x = OneHot()(jax.random.key(0), batch=100, n=5, d=2)
        >>> sorted(set(map(tuple, x.reshape(500, 2).tolist())))
        [(0.0, 1.0), (1.0, 0.0)]
    """

    def second_moment(self, d: int) -> np.ndarray:
        """E x x^T in d dimensions: I/d.

        Examples:
            >>> from attnscape.tasks import OneHot
            >>> OneHot().second_moment(2).tolist()
            [[0.5, 0.0], [0.0, 0.5]]
        """
        return np.eye(d) / d

    def __call__(self, key: Array, batch: int, n: int, d: int) -> Float[Array, "batch n d"]:
        # The type is fixed, because the default type, and so the draws, would differ in float64.
        index = jax.random.randint(key, (batch, n), 0, d, jnp.int32)
        return jax.nn.one_hot(index, d, dtype=jnp.float32)


@dataclasses.dataclass(frozen=True)
class Radial:
    """A uniform direction on the unit sphere, times a radius with any distribution.

    Attributes:
        squared_radius: A frozen `scipy.stats` distribution of |x|^2, with values >= 0. Setting 3 of
            the paper is `scipy.stats.gamma(0.1, scale=10)`; `scipy.stats.chi2(d)` is N(0, I).

    Raises:
        UsageError: If it is not a frozen distribution, or may be negative.

    Examples:
        >>> import jax
        >>> from scipy import stats
        >>> from attnscape.tasks import Radial
        >>> x = Radial(stats.uniform(1, 3))(jax.random.key(0), batch=1000, n=20, d=2)
        >>> squares = (x**2).sum(axis=-1)  # uniform from 1 to 1 + 3
        >>> [round(float(number), 1) for number in (squares.min(), squares.mean(), squares.max())]
        [1.0, 2.5, 4.0]
    """

    squared_radius: Any  # any object, checked below

    def __post_init__(self) -> None:
        distribution = self.squared_radius
        if not (
            hasattr(distribution, "ppf")
            and hasattr(distribution, "dist")
            and hasattr(distribution, "support")
        ):
            raise UsageError(
                f"squared_radius is {distribution!r}; it must be a frozen scipy.stats "
                "distribution, for example scipy.stats.gamma(0.1, scale=10)."
            )
        lowest = distribution.support()[0]
        if np.isnan(lowest):
            raise UsageError(
                f"squared_radius is {distribution.dist.name} with the arguments "
                f"{distribution.args}, {distribution.kwds}, which scipy.stats does not allow; give "
                "others."
            )
        if lowest < 0:
            raise UsageError(
                f"squared_radius has values from {lowest} on; |x|^2 cannot be negative: choose a "
                "distribution on the positive numbers."
            )

    def second_moment(self, d: int) -> np.ndarray:
        """E x x^T in d dimensions: E |x|^2 / d times I.

        Examples:
            >>> from scipy import stats
            >>> from attnscape.tasks import Radial
            >>> Radial(stats.gamma(2, scale=3)).second_moment(2).tolist()
            [[3.0, 0.0], [0.0, 3.0]]
        """
        return np.diag(np.full(d, self.squared_radius.mean() / d))

    def __call__(self, key: Array, batch: int, n: int, d: int) -> Float[Array, "batch n d"]:
        return radial_points(key, batch, n, d, radius_table(self.squared_radius))

"""Coordinates of q-q plots: an ordered sample against the quantiles of a reference distribution.

Plotting positions are Filliben's (1975) order-statistic medians, as in `scipy.stats.probplot`. They
are computed here because `probplot` does not return them, and references other than the normal one
need them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from attnscape.statistics._check import FloatArray, nonnegative, vector
from attnscape.statistics._chi import norm_of_gaussian_fit
from attnscape.statistics._norms import GaussianNorm


@dataclass(frozen=True, eq=False)
class QQ:
    """A q-q plot as numbers, with the least-squares line through it.

    Attributes:
        theoretical: (n,) quantiles of the reference, ascending.
        ordered: (n,) the sample in ascending order.
        slope: Slope of the line `ordered` = slope * `theoretical` + intercept.
        intercept: Its intercept.
        correlation: Pearson correlation of the coordinates; NaN if one of them is constant.

    Examples:
        >>> from attnscape.statistics import normal_qq
        >>> qq = normal_qq([3.0, 1.0, 2.0])
        >>> qq.ordered.tolist()
        [1.0, 2.0, 3.0]
        >>> round(float(qq.theoretical[-1]), 2), round(qq.intercept, 2)
        (0.82, 2.0)
    """

    theoretical: FloatArray
    ordered: FloatArray
    slope: float
    intercept: float
    correlation: float


def normal_qq(sample: ArrayLike) -> QQ:
    """The sample against standard normal quantiles, as in `scipy.stats.probplot`.

    Args:
        sample: (n,) values, at least 2.

    Raises:
        ValueError: If there are fewer than 2 values or one is not finite.

    Examples:
        >>> from scipy.special import ndtri
        >>> from attnscape.statistics import normal_qq, plotting_positions
        >>> qq = normal_qq(3 + 2 * ndtri(plotting_positions(100)))  # mean 3, standard deviation 2
        >>> round(qq.intercept, 2), round(qq.slope, 2), round(qq.correlation, 2)
        (3.0, 2.0, 1.0)
    """
    ordered = np.sort(vector("sample", sample, least=2))
    return _qq(ndtri(plotting_positions(ordered.size)), ordered)


def gaussian_norm_qq(norms: ArrayLike, covariance_eigenvalues: ArrayLike) -> QQ:
    """Norms against the norm of a Gaussian vector with the given covariance.

    See `GaussianNorm`. Both axes have the unit of the norms, so Gaussian noise lies on the identity
    line; the fitted line is only a summary.

    Args:
        norms: (draws,) norms of noise vectors, at least 2.
        covariance_eigenvalues: (m,) eigenvalues of the vectors' covariance.

    Raises:
        ValueError: If there are fewer than 2 norms, one is negative or not finite, or the
            eigenvalues are not those of a covariance.

    Examples:
        >>> import numpy as np
        >>> from attnscape.statistics import gaussian_norm_qq
        >>> noise = np.random.default_rng(0).normal(size=(10_000, 2)) * [2.0, 1.0]
        >>> qq = gaussian_norm_qq(np.linalg.norm(noise, axis=1), covariance_eigenvalues=[4.0, 1.0])
        >>> round(qq.slope, 1), round(qq.correlation, 2)
        (1.0, 1.0)
    """
    ordered = np.sort(nonnegative("norms", norms, least=2))
    distribution = GaussianNorm(np.asarray(covariance_eigenvalues))
    return _qq(distribution.quantile(plotting_positions(ordered.size)), ordered)


def fitted_norm_qq(norms: ArrayLike) -> QQ:
    """Norms against the norm of a Gaussian fitted to them (see `norm_of_gaussian_fit`).

    Args:
        norms: (draws,) norms of noise vectors, at least 2.

    Raises:
        ValueError: If there are fewer than 2 norms, or one is negative or not finite.

    Examples:
        >>> import numpy as np
        >>> from attnscape.statistics import fitted_norm_qq
        >>> noise = np.random.default_rng(0).normal(size=(10_000, 2))
        >>> qq = fitted_norm_qq(np.linalg.norm(noise, axis=1))
        >>> round(qq.slope, 1), round(qq.correlation, 2)
        (1.0, 1.0)
    """
    ordered = np.sort(nonnegative("norms", norms, least=2))
    return _qq(norm_of_gaussian_fit(ordered).quantile(plotting_positions(ordered.size)), ordered)


def plotting_positions(n: int) -> FloatArray:
    """Filliben's approximate medians of n uniform order statistics, ascending.

    Examples:
        >>> from attnscape.statistics import plotting_positions
        >>> plotting_positions(3).round(2).tolist()
        [0.21, 0.5, 0.79]
    """
    positions: FloatArray = (np.arange(1, n + 1, dtype=np.float64) - 0.3175) / (n + 0.365)
    positions[-1] = 0.5 ** (1 / n)
    positions[0] = 1 - positions[-1]
    return positions


def _qq(theoretical: FloatArray, ordered: FloatArray) -> QQ:
    x, y = theoretical - theoretical.mean(), ordered - ordered.mean()
    xx, xy, yy = x @ x, x @ y, y @ y
    with np.errstate(invalid="ignore", divide="ignore"):
        slope, correlation = float(xy / xx), float(xy / np.sqrt(xx * yy))
    if ordered[0] == ordered[-1]:
        correlation = np.nan  # it would be computed from rounding errors
    intercept = float(ordered.mean() - slope * theoretical.mean())
    return QQ(theoretical, ordered, slope, intercept, correlation)

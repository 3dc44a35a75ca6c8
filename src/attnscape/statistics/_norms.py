"""The norm of a Gaussian vector: the distribution of gradient-noise norms without heavy tails.

A norm is right-skewed even if every coordinate is normal, so a normal q-q plot of norms is curved
without any heavy tail. The right reference is |z| with z ~ N(0, Sigma): `GaussianNorm` if Sigma is
known, `ScaledChi` if only norms are known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtri, ndtr, ndtri

from attnscape.statistics._check import FloatArray, vector
from attnscape.statistics._quadratic import quadratic_form


@dataclass(frozen=True, eq=False)
class GaussianNorm:
    """The norm of z ~ N(0, Sigma), from the eigenvalues of Sigma.

    It is computed by numerical inversion (`_quadratic`), exact to rounding. A simulation with a
    million draws would have an error of 3 % in the probability of the outermost thousandth, where
    tails are compared.

    Attributes:
        eigenvalues: (m,) eigenvalues of Sigma; their order and zeros do not matter. If Sigma is
            estimated from N draws, their sum is unbiased, but the sum of squares, and so the
            reference's spread, is too large by about (effective rank)/N: 1.5 % in variance for 150
            parameters and 10,000 draws.

    Raises:
        ValueError: If the eigenvalues are not finite, one is negative beyond rounding, or none is
            positive.

    Examples:
        With two equal eigenvalues it is Rayleigh's distribution; its median is sqrt(2 log 2):

        >>> import numpy as np
        >>> from attnscape.statistics import GaussianNorm
        >>> round(float(GaussianNorm(np.ones(2)).quantile(0.5)), 2)
        1.18
    """

    eigenvalues: FloatArray

    def __post_init__(self) -> None:
        values = vector("eigenvalues", self.eigenvalues, least=1)
        largest = values.max()
        if largest <= 0:
            raise ValueError(
                f"The largest eigenvalue is {largest}; a covariance needs one above 0."
            )
        rounding = values.size * np.finfo(np.float32).eps * largest
        if values.min() < -rounding:
            raise ValueError(
                f"An eigenvalue is {values.min()} with {largest} the largest; those of a "
                "covariance are not negative. Symmetrise the matrix before taking eigenvalues."
            )
        # Eigenvalues as small as rounding errors have no effect and slow down the inversion.
        object.__setattr__(self, "eigenvalues", values[values > 1e-16 * largest])

    def cdf(self, norm: ArrayLike) -> FloatArray:
        """P(|z| <= norm), elementwise; absolute error below 1e-12."""
        return self._evaluate(norm)[0]

    def pdf(self, norm: ArrayLike) -> FloatArray:
        """Density of |z| at `norm`, elementwise."""
        r = np.asarray(norm, dtype=np.float64)
        return 2 * np.maximum(r, 0) * self._evaluate(norm)[1]

    def quantile(self, probability: ArrayLike) -> FloatArray:
        """Norm below which |z| falls with `probability` (between 1e-9 and 1 - 1e-9), elementwise.

        For more than 65 probabilities the logarithm of the quantile, a smooth function of the
        normal quantile, is interpolated by a cubic spline (relative error below 1e-6).

        Raises:
            ValueError: If a probability is outside that range.
        """
        from scipy.interpolate import CubicSpline

        p = np.asarray(probability, dtype=np.float64)
        if p.size == 0:
            return np.zeros(p.shape)
        if not (p.min() >= 1e-9 and p.max() <= 1 - 1e-9):
            raise ValueError(
                f"probability spans {p.min()} to {p.max()}; the inversion is accurate between "
                "1e-9 and 1 - 1e-9. Ask for a quantile in that range."
            )
        z = ndtri(p)
        if p.size <= 65:
            return self._solve(z.ravel()).reshape(p.shape)
        knots = np.linspace(z.min(), z.max(), 65)
        return np.exp(CubicSpline(knots, np.log(self._solve(knots)))(z))

    def _evaluate(self, norm: ArrayLike) -> tuple[FloatArray, FloatArray]:
        r = np.asarray(norm, dtype=np.float64)
        cdf, pdf = np.zeros(r.shape), np.zeros(r.shape)
        positive = r > 0
        cdf[positive], pdf[positive] = quadratic_form(r[positive] ** 2, self.eigenvalues)
        return cdf, pdf

    def _solve(self, z: FloatArray) -> FloatArray:
        """The norms at normal quantiles `z`, by bracketing the root in log |z|^2."""
        from scipy.optimize import elementwise

        def miss(log_square: FloatArray, z: FloatArray) -> FloatArray:
            cdf, _ = quadratic_form(np.exp(log_square), self.eigenvalues)
            return ndtri(np.clip(cdf, 1e-300, 1 - 1e-16)) - z

        # lambda_max chi2_1 <= |z|^2 <= lambda_max chi2_m, so the quantiles are ordered in the same
        # way.
        tail, largest = ndtr(-z), self.eigenvalues.max()
        low = np.log(largest * chdtri(1, tail)) - 1e-6
        high = np.log(largest * chdtri(self.eigenvalues.size, tail)) + 1e-6
        return np.exp(elementwise.find_root(miss, (low, high), args=(z,)).x / 2)

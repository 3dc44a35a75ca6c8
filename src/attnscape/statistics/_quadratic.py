"""Distribution of a quadratic form sum_i lambda_i z_i^2 in independent standard normals z_i.

Its Laplace transform is phi(t) = prod_i (1 + 2 lambda_i t)^(-1/2), so its distribution function is
a contour integral of exp(t x) phi(t) / t. All singularities lie on the real axis at or left of 0,
so the contour may bend to the left, where exp(t x) decays. A vertical line (Imhof 1961, Davies
1973) converges too slowly for few eigenvalues and a parabola of steepest descent fails for many; a
hyperbola through the saddle point works in both cases. With asymptotes 30 degrees left of the
vertical the integrand falls monotonically for every spectrum, and the trapezoid rule converges
geometrically. Sources: Rice, SIAM J. Sci. Stat. Comput. 1 (1980) 438 (saddle point and trapezoid
rule); Weideman and Trefethen, Math. Comp. 76 (2007) 1341 (hyperbolic contours).
"""

from __future__ import annotations

import numpy as np

from attnscape.statistics._check import FloatArray

_NODES = 80
_REACH = 5.0  # at cosh(5) = 74 widths from the saddle point the integrand is below 1e-35
_BEND = np.tan(np.pi / 6)
_CHUNK = 2**21  # complex numbers held at once


def quadratic_form(x: FloatArray, eigenvalues: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Distribution function and density of sum_i lambda_i z_i^2 at x > 0.

    Args:
        x: (points,) positive arguments.
        eigenvalues: (m,) positive lambda_i.

    Returns:
        Distribution function and density, (points,) each: absolute error below 1e-13 in the first,
        relative error below 1e-8 in the second between the quantiles 1e-6 and 1 - 1e-6.
    """
    rows = max(1, _CHUNK // (_NODES * eigenvalues.size))
    chunks = [_invert(x[i : i + rows], eigenvalues) for i in range(0, x.size, rows)]
    cdf, pdf = np.hstack([np.empty((2, 0)), *chunks])
    return cdf, pdf


def _invert(x: FloatArray, eigenvalues: FloatArray) -> FloatArray:
    x = x[:, None]
    saddle = _saddle_point(x, eigenvalues)
    curvature = 2 * np.sum(_tilted(saddle, eigenvalues) ** 2, axis=1, keepdims=True) + saddle**-2
    width = 2 / np.sqrt(curvature)
    v = (np.arange(_NODES) + 0.5) * (_REACH / _NODES)
    t = saddle - _BEND * width * (np.cosh(v) - 1) + 1j * width * np.sinh(v)
    tangent = 1j * width * np.cosh(v) - _BEND * width * np.sinh(v)
    log_phi = -0.5 * np.sum(np.log1p(2 * eigenvalues * t[..., None]), axis=-1)
    density = np.exp(t * x + log_phi) * tangent
    # The lower half of the contour is the mirror image, so the integral is twice the imaginary part
    # of the upper half.
    cdf, pdf = (np.sum(np.imag(f), axis=1) for f in (density / t, density))
    return np.stack([cdf, pdf]) * (_REACH / _NODES / np.pi)


def _tilted(t: FloatArray, eigenvalues: FloatArray) -> FloatArray:
    return eigenvalues / (1 + 2 * eigenvalues * t)


def _saddle_point(x: FloatArray, eigenvalues: FloatArray) -> FloatArray:
    """Minimum over t > 0 of t x + log phi(t) - log t, (points, 1); it need not be accurate.

    Its derivative x - sum_i lambda_i / (1 + 2 lambda_i t) - 1/t rises with t and changes sign
    between 1/x and (m/2 + 1)/x.
    """
    low, high = 1 / x, (eigenvalues.size / 2 + 1) / x
    for _ in range(30):
        t = np.sqrt(low * high)
        rising = x - np.sum(_tilted(t, eigenvalues), axis=1, keepdims=True) - 1 / t > 0
        low, high = np.where(rising, low, t), np.where(rising, t, high)
    return np.sqrt(low * high)

"""Chi numbers, roots of chi-squared ones, from normal numbers: what Bartlett's triangle needs.

With k degrees of freedom up to `FEW_DEGREES` a chi number is the norm of k normal numbers. With
more it is the chi quantile at the probability of one normal number, a smooth function of that
number, which a polynomial approximates.
"""

from __future__ import annotations

import functools

import numpy as np
from jaxtyping import Float

REACH = 6.5  # words give no normal scores beyond it
FEW_DEGREES, TERMS = 7, 17  # kernels/gaussian_points.hpp has the same numbers


def numbers_of_chi(degrees: int) -> int:
    """How many normal numbers make a chi number; none for 0 degrees of freedom or fewer."""
    return max(degrees, 0) if degrees <= FEW_DEGREES else 1


@functools.lru_cache(maxsize=64)
def chi_polynomials(n: int, rows: int) -> Float[np.ndarray, "rows terms"]:
    """Chi quantiles of n, n - 1, ... degrees of freedom as polynomials in the normal score.

    Coefficients are in float32, the lowest power first; rows up to `FEW_DEGREES` degrees are zero.
    The polynomials interpolate at the Chebyshev points of the scores that words reach. In float32
    their relative error is at most 1e-6 where the score is within 4 standard deviations and 4e-6
    beyond, which is within 5e-7 of the median.
    """
    from scipy import special

    score = REACH * np.polynomial.chebyshev.chebpts1(TERMS)
    table = np.zeros((rows, TERMS), np.float32)
    for row in range(min(rows, n - FEW_DEGREES)):
        half = (n - row) / 2
        squared = 2 * np.where(
            score < 0,
            special.gammaincinv(half, special.ndtr(score)),
            special.gammainccinv(half, special.ndtr(-score)),
        )
        fit = np.polynomial.Chebyshev.fit(score, np.sqrt(squared), TERMS - 1, [-REACH, REACH])
        table[row] = fit.convert(kind=np.polynomial.Polynomial).coef
    return table

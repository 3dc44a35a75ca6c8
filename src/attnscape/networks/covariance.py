"""Covariance of stochastic gradients that are many numbers each and few.

With p parameters and n gradients, p far above n, the sample covariance has no more than n - 1
eigenvalues, which are much larger than the true ones. What a reference norm needs, the trace of the
covariance and of its square, has unbiased estimates from the gradients' inner products.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

_AT_ONCE = 2**23  # numbers that are converted to double precision at once


def trace_of_square(gram: Float64[np.ndarray, "n n"]) -> float:
    """An unbiased estimate of trace(Sigma^2), from independent vectors with the covariance Sigma.

    It is the U-statistic of Chen, Zhang and Zhong (2010), "Tests for high-dimensional covariance
    matrices": the mean over different i, j, k, l of

        (x_i x_j)^2 - 2 (x_i x_j)(x_j x_k) + (x_i x_j)(x_k x_l).

    A vector that is added to all x does not change it, so they may have any mean, or be centred by
    their sample mean. The sum of squared eigenvalues of the sample covariance is too large instead,
    by about trace(Sigma)^2 / n. Like every unbiased estimate of a small number, it can be negative.

    Args:
        gram: Inner products x_i x_j of n vectors, (n, n).

    Returns:
        The estimate; NaN below 4 vectors.

    Examples:
        >>> import numpy as np
        >>> from attnscape.networks.covariance import trace_of_square
        >>> vectors = np.random.default_rng(0).standard_normal((100, 5000))  # trace(I^2) = 5000
        >>> round(trace_of_square(vectors @ vectors.T), -2)
        5100.0
    """
    n = len(gram)
    if n < 4:
        return float("nan")
    products = gram - np.diag(np.diag(gram))
    pairs = (products**2).sum()
    triples = (products.sum(axis=1) ** 2).sum() - pairs
    # The square of the sum has each pair twice, and each triple at four places.
    quadruples = products.sum() ** 2 - 2 * pairs - 4 * triples
    of_triples = n * (n - 1) * (n - 2)
    mean = pairs / (n * (n - 1)) - 2 * triples / of_triples + quadruples / (of_triples * (n - 3))
    return float(mean)


def centred_gram(vectors: Sequence[Float[Tensor, " p"]]) -> Float64[np.ndarray, "n n"]:
    """Inner products of vectors minus their mean, (n, n), in double precision.

    Args:
        vectors: n vectors, (p,). They are not copied as a whole.

    Examples:
        >>> import torch
        >>> from attnscape.networks.covariance import centred_gram
        >>> centred_gram([torch.tensor([1.0, 5.0]), torch.tensor([3.0, 5.0])]).tolist()
        [[1.0, -1.0], [-1.0, 1.0]]
    """
    total = torch.zeros(len(vectors), len(vectors), dtype=torch.float64)
    width = max(1, _AT_ONCE // len(vectors))
    for first in range(0, len(vectors[0]), width):
        block = _centred([vector[first : first + width] for vector in vectors])
        total += block @ block.mT
    return total.numpy()


def eigenvalues(vectors: Sequence[Float[Tensor, " p"]]) -> Float64[np.ndarray, " p"]:
    """Eigenvalues of the sample covariance of n vectors, (p,), ascending.

    Args:
        vectors: n vectors, (p,), p not large.

    Examples:
        >>> import torch
        >>> from attnscape.networks.covariance import eigenvalues
        >>> eigenvalues([torch.tensor([1.0, 5.0]), torch.tensor([3.0, 5.0])]).tolist()
        [0.0, 2.0]
    """
    rows = _centred(vectors)
    covariance = (rows.mT @ rows / (len(rows) - 1)).numpy()
    if not np.isfinite(covariance).all():
        return np.full(len(covariance), np.nan)
    return np.linalg.eigvalsh(covariance)


def _centred(vectors: Sequence[Float[Tensor, " width"]]) -> Float64[Tensor, "n width"]:
    rows = torch.stack(list(vectors)).double().cpu()
    return rows - rows.mean(dim=0)

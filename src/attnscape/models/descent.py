"""Gradient descent on the examples in a prompt, which a linear Transformer can carry out."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float
from numpy.polynomial import Legendre

from attnscape.errors import UsageError
from attnscape.models.linear import LinearTransformer


def gradient_descent(rates: Sequence[float], dim: int) -> LinearTransformer:
    """The linear Transformer that predicts by gradient descent from w = 0, one step a layer.

    A layer with P = 0 and Q = -rate I adds rate (c - G w) to w, a step on half the mean squared
    error of the examples (von Oswald et al., 2023, "Transformers learn in-context by gradient
    descent").

    Args:
        rates: The step sizes, one for each layer.
        dim: d, the dimension of the covariates.

    Raises:
        UsageError: If there is no rate, or dim is below 1.

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape import Prompts
        >>> from attnscape.models import gradient_descent
        >>> x, y = jnp.array([[[1.0], [3.0]]]), jnp.array([[2.0, 4.0]])  # G = 5, c = 7
        >>> prompts = Prompts(x, y, query=jnp.ones((1, 1)), target=jnp.ones(1))
        >>> [round(w, 4) for w in gradient_descent([0.1, 0.2], 1)(prompts).tolist()]  # 0.7, then
        [1.4]
    """
    if not len(rates) or dim < 1:
        raise UsageError(f"rates is {rates} and dim {dim}; give at least one rate and dimension.")
    identity = jnp.broadcast_to(jnp.eye(dim), (len(rates), dim, dim))
    steps = jnp.asarray(rates, identity.dtype)[:, None, None]
    return LinearTransformer(P=jnp.zeros_like(identity), Q=-steps * identity)


def optimal_rates(gram: Float[ArrayLike, "batch d d"], steps: int) -> Float[np.ndarray, " steps"]:
    """The step sizes of gradient descent with the smallest mean loss, for isotropic w and query.

    After the steps w is off by p(G) w with p(x) = (1 - rate_1 x) ... (1 - rate_k x), so the loss is
    proportional to the mean of p^2 over the eigenvalues of all gram matrices G. The best polynomial
    with p(0) = 1 is a least-squares solution. All its roots, the inverse rates, are real and
    positive, because it is a kernel polynomial of a measure on x >= 0 (Fischer, 1996, "Polynomial
    based iteration methods for symmetric linear systems", section 3.2). For one step no
    preconditioner that is the same for all prompts does better if the covariates are isotropic,
    because the loss is convex in it and does not change when it is rotated.

    Args:
        gram: Gram matrices (1/n) sum x x^T of many prompts.
        steps: k, the number of steps.

    Returns:
        The step sizes, the largest first.

    Raises:
        UsageError: If steps is below 1, or there are fewer different eigenvalues than steps.

    Examples:
        >>> import numpy as np
        >>> from attnscape.models import optimal_rates
        >>> optimal_rates(np.diag([1.0, 4.0])[None], steps=2).round(6).tolist()  # exact inverses
        [1.0, 0.25]
    """
    eigenvalues = np.linalg.eigvalsh(np.asarray(gram, float)).ravel()
    largest = eigenvalues.max()
    if steps < 1 or np.unique(eigenvalues).size < steps:
        raise UsageError(
            f"steps is {steps}; give from 1 to {np.unique(eigenvalues).size}, the number of "
            "different eigenvalues."
        )
    # p = 1 - x r with r in Legendre polynomials on the eigenvalues' interval, for stability.
    domain = [0.0, largest]
    basis = [Legendre.basis(degree, domain) for degree in range(steps)]
    columns = np.stack([eigenvalues * each(eigenvalues) for each in basis], axis=1)
    coefficients = np.linalg.lstsq(columns, np.ones_like(eigenvalues), rcond=None)[0]
    p = 1 - Legendre([largest / 2, largest / 2], domain) * Legendre(coefficients, domain)
    return np.sort(1 / p.roots().real)[::-1]

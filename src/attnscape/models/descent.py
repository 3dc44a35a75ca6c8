"""Gradient descent on the examples in a prompt, which a linear Transformer can carry out."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float
from numpy.polynomial import Legendre

from attnscape.errors import UsageError
from attnscape.models.linear import LinearTransformer

_ROUNDING = 1e-10  # relative to the largest eigenvalue; far above errors in double precision


def gradient_descent(
    rates: Sequence[float], dim: int, preconditioner: Float[ArrayLike, "d d"] | None = None
) -> LinearTransformer:
    """The linear Transformer that predicts by gradient descent from w = 0, one step a layer.

    A layer with P = 0 and Q = -rate A^T adds rate A (c - G w) to w, a step on half the mean squared
    error of the examples (von Oswald et al., 2023, "Transformers learn in-context by gradient
    descent"), preconditioned by A (Ahn et al., 2023, "Transformers learn to implement
    preconditioned gradient descent for in-context learning", arXiv 2306.00297).

    Args:
        rates: The step sizes, one for each layer.
        dim: d, the dimension of the covariates.
        preconditioner: A, the same in all steps; None for the identity.

    Raises:
        UsageError: If there is no rate, dim is below 1, or the preconditioner is not d x d.

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
    A = jnp.asarray(np.eye(dim) if preconditioner is None else preconditioner)
    if A.shape != (dim, dim):
        raise UsageError(f"preconditioner has shape {A.shape}; with dim {dim} give {(dim, dim)}.")
    return _with_steps(A, jnp.asarray(rates, A.dtype))


@jax.jit
def _with_steps(A: Float[Array, "d d"], rates: Float[Array, " steps"]) -> LinearTransformer:
    repeated = jnp.broadcast_to(A.T, (len(rates), *A.shape))
    return LinearTransformer(P=jnp.zeros_like(repeated), Q=-rates[:, None, None] * repeated)


def optimal_preconditioner(
    covariates: Float[ArrayLike, "d d"],
    weights: Float[ArrayLike, "d d"],
    context: int,
    noise: float = 0.0,
) -> Float[np.ndarray, "d d"]:
    """The preconditioner of one step with the smallest mean loss, for normal covariates.

    With S = E x x^T, W = E w w^T and the noise's variance s^2, one step of rate 1 predicts
    <q, A c> with the loss tr S E[(A G - I) W (A G - I)^T] + s^2/n tr(S A S A^T) + s^2. It is
    quadratic in A, and E[G W G] = ((n + 1) S W S + tr(S W) S) / n by Wick's theorem. For W = I this
    is the one-layer optimum of Zhang, Frei and Bartlett (2024, "Trained Transformers learn linear
    models in-context", arXiv 2306.09927) and of Ahn et al. (2023, arXiv 2306.00297).

    Args:
        covariates: S, positive definite.
        weights: W.
        context: n, the number of examples in a prompt.
        noise: s, the standard deviation of the noise on the responses.

    Examples:
        >>> import numpy as np
        >>> from attnscape.models import optimal_preconditioner
        >>> A = optimal_preconditioner(np.eye(2), np.eye(2), context=5)  # n / (n + d + 1) times I
        >>> A.tolist()
        [[0.625, 0.0], [0.0, 0.625]]
    """
    S, W = np.asarray(covariates, float), np.asarray(weights, float)
    squares = ((context + 1) * S @ W @ S + np.trace(S @ W) * S + noise**2 * S) / context
    return np.linalg.solve(squares, S @ W).T  # both are symmetric


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
        The step sizes, the largest first. With more steps than there are different positive
        eigenvalues, the first ones are exact and the others 0.

    Raises:
        UsageError: If steps is below 1, or no eigenvalue is positive.

    Examples:
        >>> import numpy as np
        >>> from attnscape.models import optimal_rates
        >>> optimal_rates(np.diag([1.0, 4.0])[None], steps=2).round(6).tolist()  # exact inverses
        [1.0, 0.25]
    """
    eigenvalues = np.linalg.eigvalsh(np.asarray(gram, float)).ravel()
    largest = eigenvalues.max(initial=0.0)
    if steps < 1 or not largest > 0:
        raise UsageError(
            f"steps is {steps} and the largest eigenvalue {largest:g}; give at least one step, and "
            "gram matrices that are not 0."
        )
    # Up to rounding: eigenvalues that are equal, or 0, ask for no step of their own.
    different = np.unique(np.rint(eigenvalues / largest / _ROUNDING)).clip(0)
    degree = min(steps, int(np.count_nonzero(different)))
    # p = 1 - x r with r in Legendre polynomials on the eigenvalues' interval, for stability.
    domain = [0.0, largest]
    basis = [Legendre.basis(each, domain) for each in range(degree)]
    columns = np.stack([eigenvalues * each(eigenvalues) for each in basis], axis=1)
    coefficients = np.linalg.lstsq(columns, np.ones_like(eigenvalues), rcond=None)[0]
    p = 1 - Legendre([largest / 2, largest / 2], domain) * Legendre(coefficients, domain)
    rates = np.zeros(steps)
    rates[:degree] = np.sort(1 / p.roots().real)[::-1]
    return rates

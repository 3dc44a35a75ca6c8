"""Extreme eigenvalues of a Hessian that is too large to form, with their errors."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse import linalg
from torch import Tensor

from attnscape.errors import UsageError

Which = Literal["largest", "smallest", "magnitude"]
_ARPACK: dict[str, str] = {"largest": "LA", "smallest": "SA", "magnitude": "LM"}
_RESTARTS = 50  # of at least 20 products each


@dataclasses.dataclass(frozen=True)
class Eigenpairs:
    """Eigenvalues of a Hessian with their eigenvectors, approximately.

    Attributes:
        values: Eigenvalues, the wanted first, (k,).
        vectors: Unit eigenvectors, (k, p).
        residuals: |H v - value v| of each pair, (k,). Within this distance of the value there is
            an eigenvalue, because H is symmetric (Parlett, 1998, "The Symmetric Eigenvalue
            Problem", section 4.5); it is not sure that no further one was passed over.

    Examples:
        >>> import torch
        >>> from attnscape.torch import Objective
        >>> module, x = torch.nn.Linear(2, 1, bias=False), torch.diag(torch.tensor([1.0, 2.0]))
        >>> objective = Objective(module, lambda module, x: (module(x) ** 2).mean(), [x])
        >>> pairs = objective.eigenpairs(2)  # of the Hessian 2 x^T x / n
        >>> pairs.values.tolist(), pairs.residuals.round(6).tolist()
        ([4.0, 1.0], [0.0, 0.0])
    """

    values: Float[np.ndarray, " k"]
    vectors: Float[np.ndarray, "k p"]
    residuals: Float[np.ndarray, " k"]


def eigenpairs(
    product: Callable[[Tensor], Tensor],
    like: Float[Tensor, " p"],
    count: int,
    which: Which,
    tolerance: float,
    seed: int,
) -> Eigenpairs:
    """Extreme eigenpairs of a symmetric matrix that is given by its products.

    By the implicitly restarted Lanczos method of ARPACK; small matrices are formed. Pairs that have
    not converged within 50 restarts are left out, and all if the matrix has a number that is not
    finite.

    Args:
        product: Multiplies a vector, (p,), by the matrix.
        like: A vector of the type and on the device that `product` takes.
        count: k, from 1 to p.
        which: The largest, the smallest, or the largest in magnitude.
        tolerance: Residual over |value| at which a pair has converged.
        seed: Seed of the first vector.

    Raises:
        UsageError: If count or `which` is not allowed.
    """
    size = like.numel()
    if which not in get_args(Which) or not 1 <= count <= size:
        raise UsageError(
            f"count is {count} and which {which!r}; give from 1 to {size} eigenvalues that are "
            f"{', '.join(get_args(Which))}."
        )

    def of_array(vector: np.ndarray) -> np.ndarray:
        given = torch.from_numpy(np.ascontiguousarray(vector.reshape(-1))).to(like)
        return product(given).cpu().numpy()

    dtype = like.cpu().numpy().dtype
    start = np.random.default_rng(seed).normal(size=size).astype(dtype)
    first = of_array(start)
    steps = min(size, max(20, 2 * count + 1))  # Lanczos vectors between restarts
    if not np.isfinite(first).all():
        return Eigenpairs(np.zeros(0), np.zeros((0, size)), np.zeros(0))
    if not first.any():  # almost surely the matrix is zero, from which ARPACK cannot start
        return Eigenpairs(np.zeros(count), np.eye(count, size), np.zeros(count))
    if steps == size:
        matrix = np.stack([of_array(unit) for unit in np.eye(size)]).astype(np.float64)
        values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    else:
        operator = linalg.LinearOperator((size, size), matvec=of_array, dtype=dtype)  # pyright: ignore[reportCallIssue]
        try:
            values, vectors = linalg.eigsh(
                operator,
                count,
                which=_ARPACK[which],
                v0=start,
                ncv=steps,
                maxiter=_RESTARTS,
                tol=tolerance,  # pyright: ignore[reportArgumentType]
            )
        except linalg.ArpackNoConvergence as error:
            values, vectors = error.eigenvalues, error.eigenvectors
    order = {"largest": -values, "smallest": values, "magnitude": -abs(values)}[which]
    chosen = np.argsort(order)[:count]
    values, vectors = values[chosen], vectors[:, chosen].T
    products = np.stack([of_array(vector) for vector in vectors]) if len(vectors) else vectors
    residuals = np.linalg.norm(products - values[:, None] * vectors, axis=1)
    return Eigenpairs(values.astype(np.float64), vectors, residuals.astype(np.float64))


def block_of(parameters: Mapping[str, Tensor], layer: str | None) -> slice:
    """The place of a parameter's entries in flat vectors; of all entries for None.

    Raises:
        UsageError: If there is no parameter with this name.
    """
    if layer is not None and layer not in parameters:
        raise UsageError(f"There is no layer {layer!r}; there are {', '.join(parameters)}.")
    ends = np.cumsum([0, *(p.numel() for p in parameters.values())]).tolist()
    place = None if layer is None else list(parameters).index(layer)
    return slice(0, ends[-1]) if place is None else slice(ends[place], ends[place + 1])

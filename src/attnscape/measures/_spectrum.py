"""Decompositions of matrices, computed for one matrix after the other.

Under `jax.vmap` each function is a loop over matrices. XLA would distribute a batch over its
threads by a task that runs on one of them and waits for the others: on two threads, two such tasks
would wait for each other forever. Calls of LAPACK from many threads at once can also damage memory
(jax-ml/jax, issue 39292).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@jax.custom_batching.sequential_vmap
def eigenvalues(matrix: Float[Array, "p p"]) -> Float[Array, " p"]:
    """Eigenvalues of a symmetric matrix, ascending."""
    return jnp.linalg.eigvalsh(matrix)


@jax.custom_batching.sequential_vmap
def eigenvectors(matrix: Float[Array, "p p"]) -> tuple[Float[Array, " p"], Float[Array, "p p"]]:
    """Eigenvalues of a symmetric matrix, ascending, and its eigenvectors as columns."""
    values, vectors = jnp.linalg.eigh(matrix)
    return values, vectors


@jax.custom_batching.sequential_vmap
def polar(matrix: Float[Array, "m n"]) -> tuple[Float[Array, "m n"], Float[Array, ""]]:
    """The orthogonal polar factor U V^T of a matrix U S V^T, and the sum of its singular values.

    Singular values that are zero up to rounding are left out of the factor. The matrices are sums
    over prompts, so their rounding errors are many times those of the decomposition.
    """
    U, values, Vt = jnp.linalg.svd(matrix, full_matrices=False)
    rounding = 1e4 * jnp.finfo(matrix.dtype).eps * values[:1]
    kept = jnp.where((values > rounding)[None, :], U, 0)
    return jnp.matmul(kept, Vt, precision="highest"), values.sum()

"""Spectra of symmetric matrices, one matrix after the other."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@jax.custom_batching.sequential_vmap
def eigenvalues(matrix: Float[Array, "p p"]) -> Float[Array, " p"]:
    """Eigenvalues of a symmetric matrix, ascending; under `jax.vmap` a loop over matrices.

    A batch would be spread over XLA's threads by a task that waits for them on one of them: two
    such tasks at once on two threads wait for each other forever. Many threads that call LAPACK at
    once can also damage memory (jax-ml/jax, issue 39292).
    """
    return jnp.linalg.eigvalsh(matrix)

"""The exact Hessian and its blocks: P and Q of each layer, or the leaves of another model."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from attnscape import objective
from attnscape.measures._measure import Iterate


def members(model: Callable[..., PyTree]) -> Mapping[str, Int[np.ndarray, " member"]]:
    """For each block of `objective.parameter_blocks`, the places of its parameters."""
    labels = np.array(objective.parameter_blocks(model))
    return {label: np.flatnonzero(labels == label) for label in dict.fromkeys(labels.tolist())}


def shapes(model: Callable[..., PyTree]) -> Mapping[str, tuple[int, ...]]:
    """For each block, the shape of its parameters: of one layer, or of a whole leaf."""
    each: list[tuple[int, ...]] = []
    for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array)):
        each += [leaf.shape[1:]] * len(leaf) if leaf.ndim >= 3 else [leaf.shape]
    return dict(zip(members(model), each, strict=True))


def symmetric_hessian(iterate: Iterate) -> Float[Array, "p p"]:
    """The exact Hessian on the evaluation batch, without the asymmetry of rounding errors."""
    hessian = objective.hessian(iterate.model, iterate.evaluation)
    return (hessian + hessian.T) / 2


def form(matrix: Float[Array, "p p"], vector: Float[Array, " p"]) -> Float[Array, ""]:
    """The quadratic form v^T A v."""
    return jnp.einsum("i,ij,j", vector, matrix, vector, precision="highest")


def diagonal_block(
    matrix: Float[Array, "p p"], places: Int[np.ndarray, " member"]
) -> Float[Array, "member member"]:
    """The rows and columns of these places."""
    return matrix[jnp.ix_(places, places)]


def cosine(first: Float[Array, "p p"], second: Float[Array, "p p"]) -> Float[Array, ""]:
    """The cosine between two matrices in the Frobenius inner product; NaN if one is zero."""
    return jnp.sum(first * second) / (jnp.linalg.norm(first) * jnp.linalg.norm(second))

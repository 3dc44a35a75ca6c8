"""Smoothness and gradient norm of each block, in the norms of SGD, sign descent and Muon."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from attnscape import objective
from attnscape.measures._blocks import diagonal_block, members, shapes, symmetric_hessian
from attnscape.measures._measure import Iterate, Measure, Variable
from attnscape.measures._schedule import Schedule, every
from attnscape.measures._spectrum import eigenvalues, polar

_GEOMETRIES = ("l2", "l_inf", "spectral")


@dataclasses.dataclass(frozen=True)
class BlockSmoothness(Measure):
    """Smoothness of each block against its gradient norm: layer-wise (L0, L1)-smoothness.

    A block is P or Q of one layer, with gradient g and diagonal block H of the exact Hessian, both
    on the evaluation batch; the other blocks stay where they are. An optimizer moves along the
    direction u of unit norm that has the largest <g, u>, which is the dual norm of g:

    ========  =======================  ========================  ==============  ===============
    geometry  norm of u                dual norm of g            u               optimizer
    ========  =======================  ========================  ==============  ===============
    l2        Euclidean                Euclidean                 g / |g|         SGD
    l_inf     largest absolute entry   sum of absolute entries   sign(g)         sign descent
    spectral  largest singular value   sum of singular values    U V^T of g      Muon
    ========  =======================  ========================  ==============  ===============

    A block is (L0, L1)-smooth in a geometry if |v^T H v| is at most L0 + L1 times the dual norm of
    g, for all v of unit norm and at all points (Zhang et al., 2020, "Why gradient clipping
    accelerates training", for l2; Crawshaw et al., 2022, "Robustness to unbounded smoothness of
    generalized signSGD"; Riabinin et al., 2025, "Gluon: making Muon & Scion great again",
    arXiv 2505.13416, for each layer in any norm). `block_gradient_norm` is the dual norm of g.
    `block_smoothness` is u^T H u, in the one direction of the optimizer. `block_smoothness_bound`
    is at least all |v^T H v|: in l2 it is the largest absolute eigenvalue of H, which is attained;
    in l_inf the sum of all |H_ij|, and in the spectral norm that eigenvalue times the smaller
    number of rows and columns, which need not be attained. `attnscape.statistics.fit_smoothness`
    fits L0 and L1 to either. Numbers of different geometries have different units and are not
    comparable.

    A block without any gradient (P of the last layer in the block form) has NaN as its smoothness.
    Leaves with one axis have no singular values, so their spectral norm is Euclidean; in blocks
    with more than two axes each matrix of the last two has its own U V^T, as in `muon`.

    Attributes:
        schedule: The steps at which it is measured.
        evaluations: The number of evaluation batches; None for all.

    Examples:
        >>> import jax
        >>> from attnscape import LinearTransformer, RegressionTask
        >>> from attnscape.measures import BlockSmoothness, Iterate
        >>> model = LinearTransformer.init(jax.random.key(0), layers=1, dim=1)  # numbers P0 and Q0
        >>> taken = BlockSmoothness()(Iterate.of(model, RegressionTask(dim=1)))
        >>> [round(float(s / taken["block_smoothness"][0, 1]), 3)  # of Q0: in each geometry H
        ...  for s in taken["block_smoothness"][:, 1]]
        [1.0, 1.0, 1.0]
    """

    schedule: Schedule = every(50)
    evaluations: int | None = None

    precision = "float64"
    needs_training = False
    needs_draw = False
    needs_state = False

    def __call__(self, iterate: Iterate) -> Mapping[str, Array]:
        hessian = symmetric_hessian(iterate)
        gradient = objective.value_and_grad(iterate.model, iterate.evaluation)[1]
        flat = ravel_pytree(gradient)[0]
        block_shapes = shapes(iterate.model)
        columns = []
        for name, places in members(iterate.model).items():
            block = diagonal_block(hessian, places)
            dual_norms, directions = _steepest(flat[places].reshape(block_shapes[name]))
            along = jnp.einsum("gi,ij,gj->g", directions, block, directions, precision="highest")
            bounds = _bounds(block, block_shapes[name])
            columns.append((jnp.where(dual_norms > 0, along, jnp.nan), bounds, dual_norms))
        smoothness, bounds, norms = (jnp.stack(each, axis=1) for each in zip(*columns, strict=True))
        return {
            "block_smoothness": smoothness,
            "block_smoothness_bound": bounds,
            "block_gradient_norm": norms,
        }

    def variables(self) -> Mapping[str, Variable]:
        return {
            name: Variable(words, ("geometry", "block"), on_evaluation=True)
            for name, words in (
                ("block_smoothness", "smoothness of a block along its steepest descent"),
                ("block_smoothness_bound", "bound on the smoothness of a block"),
                ("block_gradient_norm", "dual norm of a block's gradient"),
            )
        }

    def coordinates(self, model: Callable[..., PyTree]) -> Mapping[str, Sequence[object]]:
        return {"geometry": _GEOMETRIES, "block": list(members(model))}


def _steepest(
    gradient: Float[Array, "*shape"],
) -> tuple[Float[Array, " geometry"], Float[Array, "geometry member"]]:
    """Dual norms of a block's gradient and the directions of unit norm that attain them."""
    flat = gradient.ravel()
    euclidean = jnp.linalg.norm(flat)
    towards = flat / jnp.where(euclidean > 0, euclidean, 1)
    if gradient.ndim < 2:
        spectral, nuclear = towards, euclidean
    else:
        matrices = gradient.reshape(-1, *gradient.shape[-2:])
        factors, norms = jax.vmap(polar)(matrices)
        spectral, nuclear = factors.ravel(), norms.sum()
    return (
        jnp.stack([euclidean, jnp.abs(flat).sum(), nuclear]),
        jnp.stack([towards, jnp.sign(flat), spectral]),
    )


def _bounds(
    block: Float[Array, "member member"], shape: tuple[int, ...]
) -> Float[Array, " geometry"]:
    """Bounds on |v^T H v| for v of at most unit norm: |v|^2 is at most the number of its rows."""
    largest = jnp.abs(eigenvalues(block)).max()
    rank = 1 if len(shape) < 2 else math.prod(shape[:-2]) * min(shape[-2:])
    return jnp.stack([largest, jnp.abs(block).sum(), rank * largest])

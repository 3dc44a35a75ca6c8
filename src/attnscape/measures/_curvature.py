"""Curvature: the exact Hessian on the fixed batch, its whole spectrum and its diagonal."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from attnscape import objective
from attnscape.measures._measure import Iterate, Measure, Schedule, Variable, every
from attnscape.measures._spectrum import eigenvalues


@dataclasses.dataclass(frozen=True)
class Curvature(Measure):
    """Spectrum and diagonal of the exact Hessian on the evaluation batch, in double precision.

    Robust condition numbers are functions of what is stored: `attnscape.estimators.condition`.

    The preconditioned sharpness is the largest eigenvalue of P^-1 H, where P is what the last
    update divided the optimizer's running mean of gradients by (Cohen et al., 2022, "Adaptive
    gradient methods at the edge of stability", where Adam's P has both bias corrections). It is NaN
    before the first update, and for optimizers that do not say what their P is
    (`attnscape.transformations.Preconditioned`).

    Attributes:
        schedule: When.
        evaluations: On how many of the evaluation batches; None for all.
    """

    schedule: Schedule = every(250)
    evaluations: int | None = None

    precision = "float64"
    needs_training = False
    needs_draw = False
    needs_state = False
    needs_preconditioner = True

    def __call__(self, iterate: Iterate) -> Mapping[str, Array]:
        hessian = objective.hessian(iterate.model, iterate.evaluation)
        hessian = (hessian + hessian.T) / 2
        return {
            "hessian_eigenvalues": eigenvalues(hessian),
            "hessian_diagonal": jnp.diag(hessian),
            "hessian_row_norm": jnp.linalg.norm(hessian, axis=1),
            "preconditioned_sharpness": _preconditioned_sharpness(iterate.preconditioner, hessian),
        }

    def variables(self) -> Mapping[str, Variable]:
        return {
            "hessian_eigenvalues": Variable(
                "eigenvalues of the Hessian", ("eigenvalue",), on_evaluation=True
            ),
            "hessian_diagonal": Variable(
                "diagonal of the Hessian", ("parameter",), on_evaluation=True
            ),
            "hessian_row_norm": Variable(
                "norms of the Hessian's rows", ("parameter",), on_evaluation=True
            ),
            "preconditioned_sharpness": Variable(
                "largest eigenvalue of the preconditioned Hessian", on_evaluation=True
            ),
        }

    def coordinates(self, model: Callable[..., Any]) -> Mapping[str, Sequence[Any]]:
        return {"parameter": objective.parameter_blocks(model)}


def _preconditioned_sharpness(
    preconditioner: Any, hessian: Float[Array, "p p"]
) -> Float[Array, ""]:
    """Of the symmetric P^-1/2 H P^-1/2, which has the eigenvalues of P^-1 H."""
    undefined = jnp.asarray(jnp.nan, hessian.dtype)
    if preconditioner is None:
        return undefined
    scale = ravel_pytree(preconditioner)[0].astype(hessian.dtype) ** -0.5
    defined = jnp.isfinite(scale).all()
    scale = jnp.where(defined, scale, 1)
    largest = eigenvalues(scale[:, None] * hessian * scale[None, :])[-1]
    return jnp.where(defined, largest, undefined)

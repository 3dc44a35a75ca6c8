"""Curvature: the exact Hessian on the fixed batch, its whole spectrum and its diagonal."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from attnscape import objective
from attnscape.measures._measure import Iterate, Measure, Variable
from attnscape.measures._schedule import Schedule, every
from attnscape.measures._spectrum import eigenvalues


@dataclasses.dataclass(frozen=True)
class Curvature(Measure):
    """Spectrum and diagonal of the exact Hessian on the evaluation batch, in double precision.

    Robust condition numbers are computed from the stored variables: see
    `attnscape.statistics.CONDITION_NUMBERS`.

    The preconditioned sharpness is the largest eigenvalue of P^-1 H. The last update divided the
    optimizer's running mean of gradients by P (Cohen et al., 2022, "Adaptive gradient methods at
    the edge of stability", where Adam's P has both bias corrections). It is NaN before the first
    update, and for optimizers that do not provide P (`attnscape.optimizers.Preconditioned`): SGD,
    whose P is 1, so that its number is the largest eigenvalue; optimizers whose divisor is not
    elementwise or depends on more than their state (LAMB, Adafactor, Muon, Prodigy), whose step is
    no multiple of a mean of gradients (sign descent, Lion, Sophia), or that are measured at another
    point (schedule-free). Decoupled weight decay is left out; it adds its rate, 1e-4 in `adamw`, to
    all eigenvalues.

    Attributes:
        schedule: The steps at which it is measured.
        evaluations: The number of evaluation batches; None for all.

    Examples:
        >>> import jax
        >>> from attnscape import LinearTransformer, RegressionTask
        >>> from attnscape.measures import Curvature, Iterate
        >>> model = LinearTransformer.init(jax.random.key(0))
        >>> iterate = Iterate.of(model, RegressionTask())
        >>> Curvature()(iterate)["hessian_eigenvalues"].shape
        (150,)
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

    def coordinates(self, model: Callable[..., PyTree]) -> Mapping[str, Sequence[object]]:
        return {"parameter": objective.parameter_blocks(model)}


def _preconditioned_sharpness(
    preconditioner: PyTree[Float[Array, ...]] | None,
    hessian: Float[Array, "parameter parameter"],
) -> Float[Array, ""]:
    """The largest eigenvalue of the symmetric P^-1/2 H P^-1/2; its spectrum is that of P^-1 H."""
    undefined = jnp.asarray(jnp.nan, hessian.dtype)
    if preconditioner is None:
        return undefined
    scale = ravel_pytree(preconditioner)[0].astype(hessian.dtype) ** -0.5
    defined = jnp.isfinite(scale).all()
    scale = jnp.where(defined, scale, 1)
    largest = eigenvalues(scale[:, None] * hessian * scale[None, :])[-1]
    return jnp.where(defined, largest, undefined)

"""Curvature: the exact Hessian on the fixed batch, its whole spectrum and its diagonal."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from attnscape import objective
from attnscape.measures._measure import Iterate, Measure, Schedule, Variable, every
from attnscape.measures._spectrum import eigenvalues


@dataclasses.dataclass(frozen=True)
class Curvature(Measure):
    """Spectrum and diagonal of the exact Hessian on the evaluation batch, in double precision.

    Robust condition numbers are functions of what is stored: `attnscape.estimators.condition`.

    Attributes:
        schedule: When.
        evaluations: On how many of the evaluation batches; None for all.
        beta2: Adam's, for the bias correction of its preconditioner.
        eps: Adam's, in its preconditioner.
    """

    schedule: Schedule = every(250)
    evaluations: int | None = None
    beta2: float = 0.9
    eps: float = 1e-8

    precision = "float64"
    needs_training = False
    needs_draw = False

    def __call__(self, iterate: Iterate) -> Mapping[str, Array]:
        hessian = objective.hessian(iterate.model, iterate.evaluation)
        hessian = (hessian + hessian.T) / 2
        blocks = objective.parameter_blocks(iterate.model)
        bounds = [len(list(group)) for _, group in itertools.groupby(blocks)]
        starts = itertools.accumulate(bounds, initial=0)
        of_blocks = [
            eigenvalues(hessian[start : start + size, start : start + size])
            for start, size in zip(starts, bounds, strict=False)
        ]
        return {
            "hessian_eigenvalues": eigenvalues(hessian),
            "hessian_diagonal": jnp.diag(hessian),
            "hessian_row_norm": jnp.linalg.norm(hessian, axis=1),
            "block_eigenvalues": jnp.concatenate(of_blocks),
            "preconditioned_sharpness": self._preconditioned_sharpness(iterate, hessian),
        }

    def _preconditioned_sharpness(
        self, iterate: Iterate, hessian: Float[Array, "p p"]
    ) -> Float[Array, ""]:
        """The largest eigenvalue of D^{-1/2} H D^{-1/2} with Adam's D = sqrt(v) + eps."""
        # One that sees some of the parameters only (Muon's, for vectors) is no preconditioner.
        states = [
            state
            for state in jax.tree.leaves(iterate.optimizer_state, is_leaf=_is_adam)
            if _is_adam(state) and ravel_pytree(state.nu)[0].size == len(hessian)
        ]
        if not states:
            return jnp.asarray(jnp.nan, hessian.dtype)
        correction = 1 - self.beta2 ** jnp.maximum(states[0].count, 1)
        second_moment = ravel_pytree(states[0].nu)[0].astype(hessian.dtype) / correction
        scale = (jnp.sqrt(second_moment) + self.eps) ** -0.5
        return eigenvalues(scale[:, None] * hessian * scale[None, :])[-1]

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
            "block_eigenvalues": Variable(
                "eigenvalues of the Hessian's diagonal blocks, one block after the other",
                ("parameter",),
                on_evaluation=True,
            ),
            "preconditioned_sharpness": Variable(
                "largest Adam-preconditioned eigenvalue", on_evaluation=True
            ),
        }

    def coordinates(self, model: Callable[..., Any]) -> Mapping[str, Sequence[Any]]:
        return {"parameter": objective.parameter_blocks(model)}


def _is_adam(state: Any) -> bool:
    return isinstance(state, optax.ScaleByAdamState)

"""The two parts of the exact Hessian: Gauss-Newton and residual."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import jax.numpy as jnp
from jaxtyping import Array, PyTree

from attnscape import objective
from attnscape.measures._blocks import cosine, form, symmetric_hessian
from attnscape.measures._measure import Iterate, Measure, Variable
from attnscape.measures._schedule import Schedule, every
from attnscape.measures._spectrum import eigenvalues, eigenvectors

_PARTS = ("hessian", "gauss_newton", "residual")


@dataclasses.dataclass(frozen=True)
class GaussNewton(Measure):
    """The Hessian H = G + R, its Gauss-Newton part G and its residual part R.

    For predictions f_i and a loss l(f_i, target_i), with derivatives in the prediction,

        G = (1/B) sum l''(f_i, target_i) grad f_i grad f_i^T,
        R = (1/B) sum l'(f_i, target_i) hess f_i

    (Schraudolph, 2002, "Fast curvature matrix-vector products for second-order gradient descent";
    Sagun et al., 2017, "Empirical analysis of the Hessian of over-parametrized neural networks",
    arXiv 1706.04454). The squared error of this package, without a factor 1/2, has l'' = 2. If the
    loss is convex in the prediction, G has no negative eigenvalue, so all negative curvature is
    R's. The dim `curvature_part` has H, G and R.

    Traces and `curvature_along_sharpest` (u^T A u, with u the eigenvector of H's largest
    eigenvalue) of G and R add up to those of H, so they can be given as shares. Norms do not add
    up: |H|^2 = |G|^2 + |R|^2 + 2 <G, R>. `gauss_newton_cosine` is the cosine between H and G,
    `residual_cosine` between G and R, both in the Frobenius inner product. The parts depend on the
    parameters: another parametrisation of the same function has another R where the gradient is not
    zero.

    Attributes:
        schedule: The steps at which it is measured.
        evaluations: The number of evaluation batches; None for all.

    Examples:
        >>> import jax
        >>> from attnscape import LinearTransformer, RegressionTask
        >>> from attnscape.measures import GaussNewton, Iterate
        >>> model = LinearTransformer.init(jax.random.key(0), layers=1, dim=2)  # linear in Q
        >>> taken = GaussNewton()(Iterate.of(model, RegressionTask(dim=2)))
        >>> trace = taken["curvature_trace"]  # of H, G and R
        >>> round(float(trace[1] / trace[0]), 4)
        1.0
    """

    schedule: Schedule = every(250)
    evaluations: int | None = None

    precision = "float64"
    needs_training = False
    needs_draw = False
    needs_state = False

    def __call__(self, iterate: Iterate) -> Mapping[str, Array]:
        hessian = symmetric_hessian(iterate)
        part = objective.gauss_newton(iterate.model, iterate.evaluation)
        gauss_newton = (part + part.T) / 2
        residual = hessian - gauss_newton
        parts = (hessian, gauss_newton, residual)
        values, vectors = eigenvectors(hessian)
        sharpest = vectors[:, -1]
        spectra = jnp.stack([values, eigenvalues(gauss_newton), eigenvalues(residual)])
        return {
            "curvature_largest_eigenvalue": spectra[:, -1],
            "curvature_smallest_eigenvalue": spectra[:, 0],
            "curvature_frobenius_norm": jnp.stack([jnp.linalg.norm(part) for part in parts]),
            "curvature_trace": jnp.stack([jnp.trace(part) for part in parts]),
            "curvature_along_sharpest": jnp.stack([form(part, sharpest) for part in parts]),
            "gauss_newton_cosine": cosine(hessian, gauss_newton),
            "residual_cosine": cosine(gauss_newton, residual),
        }

    def variables(self) -> Mapping[str, Variable]:
        parts = {
            "curvature_largest_eigenvalue": "largest eigenvalue",
            "curvature_smallest_eigenvalue": "smallest eigenvalue",
            "curvature_frobenius_norm": "Frobenius norm",
            "curvature_trace": "trace",
            "curvature_along_sharpest": "curvature along the Hessian's first eigenvector",
        }
        cosines = {
            "gauss_newton_cosine": "cosine between the Hessian and its Gauss-Newton part",
            "residual_cosine": "cosine between the Hessian's Gauss-Newton and residual parts",
        }
        return {
            name: Variable(words, ("curvature_part",) if name in parts else (), on_evaluation=True)
            for name, words in (parts | cosines).items()
        }

    def coordinates(self, model: Callable[..., PyTree]) -> Mapping[str, Sequence[object]]:
        return {"curvature_part": _PARTS}

"""The Hessian's top eigenvectors: how localised they are, and in which blocks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import jax.numpy as jnp
from jaxtyping import Array, PyTree

from attnscape import objective
from attnscape.errors import UsageError
from attnscape.measures._blocks import members, symmetric_hessian
from attnscape.measures._measure import Iterate, Measure, Variable
from attnscape.measures._schedule import Schedule, every
from attnscape.measures._spectrum import eigenvectors


@dataclasses.dataclass(frozen=True)
class TopEigenvectors(Measure):
    """Eigenvectors of the Hessian's largest eigenvalues, on the evaluation batch.

    `top_eigenvectors` has unit vectors v, those of the largest eigenvalue first; their largest
    entry is positive. `inverse_participation_ratio` is sum v_i^4: 1 if v is one parameter, 1/p if
    all entries are equal, about 3/p for a random direction of p parameters. `eigenvector_share` is
    the part of v's squared norm in each block; the parts of a vector sum to 1.

    `attnscape.experiments.paths.eigenvector_overlap` of the stored vectors says how much their
    subspace is still that of the measured step before. Single vectors of nearly equal eigenvalues
    are arbitrary rotations of each other, so compare subspaces up to a gap of the spectrum.

    Attributes:
        schedule: The steps at which it is measured.
        evaluations: The number of evaluation batches; None for all.
        count: The number of vectors; not more than parameters.

    Raises:
        UsageError: If `count` is below 1 or above the number of parameters.

    Examples:
        >>> import jax
        >>> from attnscape import LinearTransformer, RegressionTask
        >>> from attnscape.measures import Iterate, TopEigenvectors
        >>> model = LinearTransformer.init(jax.random.key(0), layers=1, dim=2)  # only Q moves
        >>> taken = TopEigenvectors(count=2)(Iterate.of(model, RegressionTask(dim=2)))
        >>> taken["top_eigenvectors"].shape
        (2, 8)
        >>> [round(share) for share in taken["eigenvector_share"][0].tolist()]  # of P0 and Q0
        [0, 1]
    """

    schedule: Schedule = every(250)
    evaluations: int | None = None
    count: int = 3

    precision = "float64"
    needs_training = False
    needs_draw = False
    needs_state = False

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UsageError(f"count is {self.count}; it must be at least 1.")

    def __call__(self, iterate: Iterate) -> Mapping[str, Array]:
        hessian = symmetric_hessian(iterate)
        if self.count > len(hessian):
            raise UsageError(
                f"count is {self.count} and the model has {len(hessian)} parameters; ask for at "
                "most as many eigenvectors."
            )
        values, vectors = eigenvectors(hessian)
        top = vectors[:, ::-1][:, : self.count].T
        largest = jnp.take_along_axis(top, jnp.argmax(jnp.abs(top), axis=1, keepdims=True), axis=1)
        top = top * jnp.sign(largest)
        shares = [(top[:, places] ** 2).sum(axis=1) for places in members(iterate.model).values()]
        return {
            "top_eigenvalues": values[::-1][: self.count],
            "top_eigenvectors": top,
            "inverse_participation_ratio": (top**4).sum(axis=1),
            "eigenvector_share": jnp.stack(shares, axis=1),
        }

    def variables(self) -> Mapping[str, Variable]:
        return {
            "top_eigenvalues": Variable(
                "largest eigenvalues of the Hessian", ("eigenvector",), on_evaluation=True
            ),
            "top_eigenvectors": Variable(
                "eigenvectors of the Hessian's largest eigenvalues",
                ("eigenvector", "parameter"),
                on_evaluation=True,
            ),
            "inverse_participation_ratio": Variable(
                "inverse participation ratio of an eigenvector",
                ("eigenvector",),
                on_evaluation=True,
            ),
            "eigenvector_share": Variable(
                "part of an eigenvector in a block", ("eigenvector", "block"), on_evaluation=True
            ),
        }

    def coordinates(self, model: Callable[..., PyTree]) -> Mapping[str, Sequence[object]]:
        return {
            "eigenvector": range(self.count),
            "parameter": objective.parameter_blocks(model),
            "block": list(members(model)),
        }

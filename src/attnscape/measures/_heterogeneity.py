"""How much the Hessian's spectrum differs from block to block (Zhang et al., 2024)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from attnscape import objective
from attnscape.errors import UsageError
from attnscape.measures._blocks import diagonal_block, members, symmetric_hessian
from attnscape.measures._measure import Iterate, Measure, Variable
from attnscape.measures._schedule import Schedule, every
from attnscape.measures._spectrum import eigenvalues

_PER_BANDWIDTH = 8  # points of the grid; a Gaussian is summed to rounding errors with 2
_REACH = 8  # bandwidths beyond the outermost eigenvalue, where a Gaussian is below 1e-14


@dataclasses.dataclass(frozen=True)
class BlockHeterogeneity(Measure):
    """Jensen-Shannon distances between the spectra of the Hessian's diagonal blocks.

    Zhang et al. (2024, "Why Transformers need Adam: a Hessian perspective", arXiv 2402.16788)
    average the Jensen-Shannon distance of the eigenvalue densities over all pairs of blocks, and
    find that SGD falls behind Adam where it is large. A block is P or Q of one layer. With the
    densities p and q of two blocks and m = (p + q) / 2, the distance is

        sqrt((KL(p, m) + KL(q, m)) / 2), with logarithms to base 2: 0 if p = q, at most 1.

    They estimate densities of networks by Lanczos quadrature on a linear axis of eigenvalues, with
    Gaussians of variance 1e-5. Here all eigenvalues of the exact blocks are known, and they span
    many orders of magnitude. So the axis is the number of decades with a sign,
    x = asinh(eigenvalue / (2 s)) / log(10) with s = `floor` times the largest absolute eigenvalue
    of all blocks, and each eigenvalue is a Gaussian of standard deviation `bandwidth` in decades.
    Then multiplying the loss by a number changes nothing, and scales differ by as much as their
    logarithms do. Distances of blocks with other axes or bandwidths are not comparable: spectra of
    a few eigenvalues are all 1 apart if the bandwidth is small. With the default, two samples of 25
    eigenvalues of one lognormal law, whose standard deviation is half a decade, are 0.18 apart on
    average (above 0.28 in 5 % of cases); if their medians differ by a factor of 3, 0.39, and of 10,
    0.67. `block_eigenvalues` has the spectra for any other definition.

    Dead parameters (their row of the Hessian is exactly zero) are left out of the spectra. A block
    without any other, such as P of the last layer in the block form, has the distance NaN from all
    blocks, and does not count in the mean.

    Attributes:
        schedule: The steps at which it is measured.
        evaluations: The number of evaluation batches; None for all.
        bandwidth: Standard deviation of the Gaussians in decades.
        floor: Eigenvalues below this part of the largest count as zero, whatever their sign.

    Raises:
        UsageError: If a number is out of range.

    Examples:
        >>> import jax
        >>> from attnscape import LinearTransformer, RegressionTask
        >>> from attnscape.measures import BlockHeterogeneity, Iterate
        >>> model = LinearTransformer.init(jax.random.key(0), layers=2, dim=2)
        >>> taken = BlockHeterogeneity()(Iterate.of(model, RegressionTask(dim=2)))
        >>> taken["block_distance"].shape  # between P0, P1, Q0 and Q1
        (4, 4)
        >>> bool(0 < taken["block_heterogeneity"] < 1)
        True
    """

    schedule: Schedule = every(250)
    evaluations: int | None = None
    bandwidth: float = 0.25
    floor: float = 1e-6

    precision = "float64"
    needs_training = False
    needs_draw = False
    needs_state = False

    def __post_init__(self) -> None:
        if not 1e-3 <= self.bandwidth <= 10 or not 1e-15 <= self.floor < 1:
            raise UsageError(
                f"bandwidth is {self.bandwidth} and floor {self.floor}; give a bandwidth of 0.001 "
                "to 10 decades and a floor of at least 1e-15 and below 1."
            )

    def __call__(self, iterate: Iterate) -> Mapping[str, Array]:
        hessian = symmetric_hessian(iterate)
        dead = ~jnp.any(hessian != 0, axis=1)
        blocks = members(iterate.model)
        spectra = [eigenvalues(diagonal_block(hessian, places)) for places in blocks.values()]
        largest = jnp.max(jnp.abs(jnp.concatenate(spectra)))
        densities = jnp.stack(
            [
                self._density(values / largest, jnp.sum(dead[places]))
                for values, places in zip(spectra, blocks.values(), strict=True)
            ]
        )
        distances = _jensen_shannon(densities[:, None, :], densities[None, :, :])
        above = jnp.triu_indices(len(blocks), 1)
        in_place = jnp.zeros_like(dead, hessian.dtype)
        for values, places in zip(spectra, blocks.values(), strict=True):
            in_place = in_place.at[places].set(values)
        return {
            "block_eigenvalues": in_place,
            "block_distance": distances,
            "block_heterogeneity": jnp.nanmean(distances[above]),
        }

    def _density(
        self, values: Float[Array, " member"], dead: Int[Array, ""]
    ) -> Float[Array, " grid"]:
        """The masses of the smoothed spectrum on a grid; NaN if all parameters are dead.

        Args:
            values: Eigenvalues, as parts of the largest of all blocks.
            dead: How many of the block's parameters are dead; each adds an eigenvalue of zero.
        """

        def decades(values: Array) -> Array:
            return jnp.arcsinh(values / (2 * self.floor)) / math.log(10)

        rank = jnp.argsort(jnp.argsort(jnp.abs(values)))
        weights = jnp.where(rank >= dead, 1.0, 0.0).astype(values.dtype)
        step = self.bandwidth / _PER_BANDWIDTH
        most = math.asinh(1 / (2 * self.floor)) / math.log(10) + _REACH * self.bandwidth
        count = math.ceil(most / step)
        grid = jnp.arange(-count, count + 1) * step
        distance = (grid[:, None] - decades(values)[None, :]) / self.bandwidth
        masses = jnp.matmul(jnp.exp(-(distance**2) / 2), weights, precision="highest")
        return masses / masses.sum()

    def variables(self) -> Mapping[str, Variable]:
        return {
            "block_eigenvalues": Variable(
                "eigenvalues of the Hessian's diagonal blocks, ascending in each block",
                ("parameter",),
                on_evaluation=True,
            ),
            "block_distance": Variable(
                "Jensen-Shannon distance between the spectra of two blocks",
                ("block", "other_block"),
                on_evaluation=True,
            ),
            "block_heterogeneity": Variable(
                "mean Jensen-Shannon distance between the spectra of blocks", on_evaluation=True
            ),
        }

    def coordinates(self, model: Callable[..., PyTree]) -> Mapping[str, Sequence[object]]:
        names = list(members(model))
        return {
            "parameter": objective.parameter_blocks(model),
            "block": names,
            "other_block": names,
        }


def _jensen_shannon(
    p: Float[Array, "block 1 grid"], q: Float[Array, "1 block grid"]
) -> Float[Array, "block block"]:
    """The distance to base 2, of masses along the last axis."""
    both = p + q

    def divergence(masses: Array) -> Array:  # from the mean of both; NaN if a mass is
        none = masses < jnp.finfo(masses.dtype).tiny
        terms = jnp.where(none, 0, masses * jnp.log2(2 * masses / both))
        return terms.sum(axis=-1)

    return jnp.sqrt(jnp.maximum((divergence(p) + divergence(q)) / 2, 0))

"""RegressionTask: prompts of covariates, weights, a response and noise."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from attnscape import native
from attnscape.errors import UsageError
from attnscape.tasks import _gaussian_points
from attnscape.tasks._normals import derived_key, key_words, normals
from attnscape.tasks.chi import chi_polynomials
from attnscape.tasks.covariates import Distribution, Gaussian, Radial, Sphere
from attnscape.tasks.prompts import Moments, Prompts
from attnscape.tasks.radius import radius_table
from attnscape.tasks.responses import Linear, Response


@dataclasses.dataclass(frozen=True)
class RegressionTask:
    """A task of in-context regression. The defaults are Setting 1 of the paper.

    Attributes:
        dim: d, the dimension of the covariates.
        context: n, the number of examples in a prompt.
        covariates: Distribution of x: an instance of `Gaussian`, `Sphere`, `Radial` or `Empirical`,
            or any function `(key, batch, n, d) -> x`.
        weights: Distribution of w; the same choices, called with n = 1.
        response: The function `(x, w) -> y`: `Linear`, `ReluNetwork` or a function of your own.
        noise: Standard deviation of Gaussian noise on every response, the target's included.

    Raises:
        UsageError: If a number is out of range, or a distribution or the response is not callable.

    Examples:
        >>> import jax
        >>> from attnscape import RegressionTask
        >>> from attnscape.tasks import Sphere
        >>> task = RegressionTask(dim=5, context=20, covariates=Sphere(), noise=0.1)
        >>> task.sample(jax.random.key(0), batch=100).x.shape
        (100, 20, 5)
    """

    dim: int = 5
    context: int = 20
    covariates: Distribution = Gaussian()
    weights: Distribution = Gaussian()
    response: Response = Linear()
    noise: float | int = 0.0

    def __post_init__(self) -> None:
        check_size("dim", self.dim)
        check_size("context", self.context)
        check_noise(self.noise)
        for name in ("covariates", "weights", "response"):
            if not callable(getattr(self, name)):
                raise UsageError(
                    f"{name} is {getattr(self, name)!r}; it must be callable: a distribution of "
                    "attnscape.tasks, or a function of your own."
                )
        for distribution in (self.covariates, self.weights):
            if isinstance(distribution, Gaussian):
                distribution.factor(self.dim)  # raises if its dimension differs

    def sample(self, key: Array, batch: int, dtype: jax.typing.DTypeLike = jnp.float32) -> Prompts:
        """Draws `batch` prompts. The same key gives the same prompts on every path and precision.

        Args:
            key: A JAX random key (Threefry).
            batch: Number of prompts.
            dtype: Type of the prompts; all numbers are drawn in float32 and converted.

        Raises:
            UsageError: If batch is below 1, or a distribution or the response gives a wrong shape.
        """
        check_batch(batch)
        points, noise = self._points(key, batch, jnp.dtype(dtype))
        w = self._drawn_weights(key, batch, dtype)
        y = self.response(points, w)
        _check_shape("response", y, (batch, self.context + 1))
        if noise is not None:
            y = y + self.noise * noise
        return Prompts(x=points[:, :-1], y=y[:, :-1], query=points[:, -1], target=y[:, -1])

    def sample_moments(
        self, key: Array, batch: int, dtype: jax.typing.DTypeLike = jnp.float32
    ) -> Moments:
        """The moments of `sample(key, batch, dtype)`, to rounding, without storing the prompts.

        With normal weights and a linear response, one native kernel draws them for `Gaussian`
        covariates, and for `Sphere` and `Radial` without noise. Those of `Gaussian` are drawn by
        Bartlett's decomposition: about d^2 / 2 numbers for a prompt instead of n d.
        """
        check_batch(batch)
        dtype = jnp.dtype(dtype)
        distribution = self._kernel_distribution()
        if distribution is None or not native.usable(dtype):
            if self.response == Linear() and type(self.covariates) is Gaussian:
                return self._moments_by_triangle(key, batch, dtype)
            return self.sample(key, batch, dtype).moments()
        factor, table = self._kernel_tables()
        keys = (key_words(derived_key(key, stream)) for stream in (_COVARIATES, _WEIGHTS, _NOISE))
        d = self.dim
        shapes = ((batch, d, d), (batch, d), (batch,), (batch, d), (batch,))
        gram, cross, square, query, target = native.call(
            f"moments_{dtype.name}",
            [(jax.ShapeDtypeStruct(shape, dtype), True) for shape in shapes],
            *((a, False) for a in (*keys, factor, table, jnp.asarray(self.noise, dtype))),
            distribution=distribution,
            context=self.context,
        )
        return Moments(gram, cross, square, query, target)

    def _points(
        self, key: Array, batch: int, dtype: jnp.dtype
    ) -> tuple[Float[Array, "batch n_plus_1 d"], Float[Array, "batch n_plus_1"] | None]:
        """Covariates, the query last, and noise of standard deviation 1 if there is noise."""
        d, n = self.dim, self.context
        covariates, noise, frame = (derived_key(key, i) for i in (_COVARIATES, _NOISE, _FRAME))
        # By the exact class, because a user's subclass may draw differently.
        if type(self.covariates) is Gaussian:
            return _gaussian_points.points(
                (covariates, noise, frame),
                batch,
                n,
                self.covariates.factor(d),
                noisy=bool(self.noise),
                dtype=dtype,
            )
        x = self.covariates(covariates, batch, n + 1, d)
        _check_shape("covariates", x, (batch, n + 1, d))
        return x.astype(dtype), normals(noise, batch, n + 1).astype(dtype) if self.noise else None

    def _drawn_weights(
        self, key: Array, batch: int, dtype: jax.typing.DTypeLike
    ) -> Float[Array, "batch d"]:
        w = self.weights(derived_key(key, _WEIGHTS), batch, 1, self.dim)
        _check_shape("weights", w, (batch, 1, self.dim))
        return w[:, 0].astype(dtype)

    def _moments_by_triangle(self, key: Array, batch: int, dtype: jnp.dtype) -> Moments:
        """What the kernel computes for normal covariates, in plain JAX and with any weights."""
        d, n = self.dim, self.context
        assert isinstance(self.covariates, Gaussian)
        query, rows = _gaussian_points.triangle(
            derived_key(key, _COVARIATES), batch, n, self.covariates.factor(d), dtype
        )
        w = self._drawn_weights(key, batch, dtype)
        y = jnp.einsum("bik,bi->bk", rows, w, precision="highest")
        target = jnp.einsum("bi,bi->b", query, w, precision="highest")
        square = 0
        if self.noise:
            target_noise, row = _gaussian_points.noise_row(
                derived_key(key, _NOISE), batch, n, d, dtype
            )
            y = y + self.noise * row[:, : y.shape[1]]
            square = jnp.sum((self.noise * row[:, y.shape[1] :]) ** 2, axis=1)
            target = target + self.noise * target_noise
        return Moments(
            gram=jnp.einsum("bik,bjk->bij", rows, rows, precision="highest") / n,
            cross=jnp.einsum("bik,bk->bi", rows, y, precision="highest") / n,
            square=(square + jnp.einsum("bk,bk->b", y, y, precision="highest")) / n,
            query=query,
            target=target,
        )

    def _kernel_distribution(self) -> int | None:
        """The covariates' number in kernels/sampler.cpp; None if the kernel cannot be used."""
        if self.weights != Gaussian() or self.response != Linear():
            return None
        distribution = self.covariates
        if distribution == Gaussian():
            return 0
        # By the exact class, because a user's subclass may draw differently.
        if type(distribution) is Gaussian:
            return 1
        kernels: dict[type, int] = {Sphere: 2, Radial: 3}
        return None if self.noise else kernels.get(type(distribution))

    def _kernel_tables(self) -> tuple[jax.Array, jax.Array]:
        """Two tables for the kernel, zeros if unused.

        The Cholesky factor, and the table of radii or the polynomials of the chi numbers.
        """
        nothing = jnp.zeros(2, jnp.float32)
        match self.covariates:
            case Gaussian():
                polynomials = chi_polynomials(self.context, self.dim + 1)
                return jnp.asarray(self.covariates.factor(self.dim)), jnp.asarray(polynomials)
            case Radial():
                return nothing, jnp.asarray(radius_table(self.covariates.squared_radius))
            case _:
                return nothing, nothing


# The streams of a prompt's key.
_COVARIATES, _WEIGHTS, _NOISE, _FRAME = range(4)


def check_size(name: str, number: object) -> None:
    """Raises UsageError unless the number is whole and at least 1."""
    if not isinstance(number, int) or number < 1:
        raise UsageError(f"{name} is {number!r}; it must be a whole number of at least 1.")


def check_noise(noise: float | int) -> None:
    """Raises UsageError unless the noise is finite and not negative."""
    if not (math.isfinite(noise) and noise >= 0):
        raise UsageError(f"noise is {noise}; it must be finite and not negative.")


def check_batch(batch: int) -> None:
    """Raises UsageError if the batch is below 1."""
    if batch < 1:
        raise UsageError(f"batch is {batch}; it must be at least 1.")


def _check_shape(name: str, array: jax.Array, allowed: tuple[int, ...]) -> None:
    if jnp.shape(array) != allowed:
        raise UsageError(
            f"The {name} gave shape {jnp.shape(array)}; the task asks for {allowed} here."
        )

"""RegressionTask: covariates, weights, response and noise put together to prompts."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array

from attnscape import native
from attnscape.errors import UsageError
from attnscape.prompts import Moments, Prompts
from attnscape.tasks._normals import derived_key, key_words, normals
from attnscape.tasks.covariates import Gaussian, Law, Radial, Sphere, radius_table
from attnscape.tasks.responses import Linear, Response


@dataclasses.dataclass(frozen=True)
class RegressionTask:
    """A distribution of prompts. The defaults are Setting 1 of the paper.

    Attributes:
        dim: d, the dimension of the covariates.
        context: n, the number of examples in a prompt.
        covariates: Law of x: a class of `attnscape.tasks` or any `(key, batch, n, d) -> x`.
        weights: Law of w: the same kinds, called with n = 1.
        response: What y is, given x and w.
        noise: Standard deviation of Gaussian noise on every response, the target's included.

    Raises:
        UsageError: If a number is out of range or a law is not callable.
    """

    dim: int = 5
    context: int = 20
    covariates: Law = Gaussian()
    weights: Law = Gaussian()
    response: Response = Linear()
    noise: float | int = 0.0

    def __post_init__(self) -> None:
        check_size("dim", self.dim)
        check_size("context", self.context)
        check_noise(self.noise)
        for name in ("covariates", "weights", "response"):
            if not callable(getattr(self, name)):
                raise UsageError(
                    f"{name} is {getattr(self, name)!r}; it must be callable: a law of "
                    "attnscape.tasks, or a function of your own."
                )
        for law in (self.covariates, self.weights):
            if isinstance(law, Gaussian):
                law.factor(self.dim)  # raises if its covariance has another dimension

    def sample(self, key: Array, batch: int, dtype: jax.typing.DTypeLike = jnp.float32) -> Prompts:
        """Draws `batch` prompts. The same key gives the same prompts on every path and precision.

        Args:
            key: A JAX random key (Threefry).
            batch: How many prompts.
            dtype: Of the prompts; covariates and weights are drawn in float32 and then converted.

        Raises:
            ValueError: If batch is below 1, or a law or response gives another shape than it must.
        """
        check_batch(batch)
        key_x, key_w, key_noise = (derived_key(key, stream) for stream in range(3))
        d, n = self.dim, self.context
        points = self.covariates(key_x, batch, n + 1, d)
        _check_shape("covariates", points, (batch, n + 1, d))
        w = self.weights(key_w, batch, 1, d)
        _check_shape("weights", w, (batch, 1, d))
        points, w = points.astype(dtype), w[:, 0].astype(dtype)
        y = self.response(points, w)
        _check_shape("response", y, (batch, n + 1))
        if self.noise:
            y = y + self.noise * normals(key_noise, batch, n + 1).astype(dtype)
        return Prompts(x=points[:, :-1], y=y[:, :-1], query=points[:, -1], target=y[:, -1])

    def sample_moments(
        self, key: Array, batch: int, dtype: jax.typing.DTypeLike = jnp.float32
    ) -> Moments:
        """The moments of `sample(key, batch, dtype)`, to rounding, without storing the prompts.

        Built-in laws with a linear response and no noise go through one kernel.
        """
        check_batch(batch)
        dtype = jnp.dtype(dtype)
        law = self._kernel_law()
        if law is None or not native.usable(dtype):
            return self.sample(key, batch, dtype).moments()
        factor, table = self._kernel_tables()
        key_x, key_w = (derived_key(key, stream) for stream in range(2))
        d = self.dim
        shapes = ((batch, d, d), (batch, d), (batch,), (batch, d), (batch,))
        return Moments(
            *native.call(
                "moments",
                [(jax.ShapeDtypeStruct(shape, dtype), True) for shape in shapes],
                *((a, False) for a in (key_words(key_x), key_words(key_w), factor, table)),
                law=law,
                context=self.context,
            )
        )

    def _kernel_law(self) -> int | None:
        """The number of the covariates' law in kernels/sampler.cpp, or None for the general way."""
        if self.weights != Gaussian() or self.response != Linear() or self.noise:
            return None
        law = self.covariates
        if law == Gaussian():
            return 0
        # By the very class: a user's subclass of one draws by its own method.
        return {Gaussian: 1, Sphere: 2, Radial: 3}.get(type(law))

    def _kernel_tables(self) -> tuple[jax.Array, jax.Array]:
        nothing = jnp.zeros(2, jnp.float32)
        match self.covariates:
            case Gaussian():
                return jnp.asarray(self.covariates.factor(self.dim)), nothing
            case Radial():
                return nothing, jnp.asarray(radius_table(self.covariates.squared_radius))
        return nothing, nothing


def check_size(name: str, number: int) -> None:
    """Raises UsageError if it is not a whole number of at least 1."""
    if not isinstance(number, int) or number < 1:
        raise UsageError(f"{name} is {number!r}; it must be a whole number of at least 1.")


def check_noise(noise: float | int) -> None:
    """Raises UsageError if it is not a standard deviation."""
    if not (math.isfinite(noise) and noise >= 0):
        raise UsageError(f"noise is {noise}; it must be finite and not negative.")


def check_batch(batch: int) -> None:
    """Raises UsageError if it is below 1."""
    if batch < 1:
        raise UsageError(f"batch is {batch}; it must be at least 1.")


def _check_shape(name: str, array: jax.Array, allowed: tuple[int, ...]) -> None:
    if jnp.shape(array) != allowed:
        raise UsageError(
            f"The {name} gave shape {jnp.shape(array)}; the task asks for {allowed} here."
        )

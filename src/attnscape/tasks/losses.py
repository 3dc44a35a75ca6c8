"""Losses: how far one prediction is from its target.

A loss is any function `(prediction, target) -> loss` of two scalars, written in JAX; the objective
is its mean over the prompts of a batch. A task names its loss (`attnscape.tasks.WithLoss`), and
prompts carry it to whatever computes with them. Linear attention sees a prompt through its moments
only, whatever the loss, so the reduced form stays exact.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from attnscape.errors import UsageError

Loss = Callable[[Float[Array, ""], Float[Array, ""]], Float[Array, ""]]


@dataclasses.dataclass(frozen=True)
class SquaredError:
    """The squared error (prediction - target)^2, without a factor 1/2: the paper's loss.

    The native kernels compute this loss only; others are computed by XLA.

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape.tasks import SquaredError
        >>> SquaredError()(jnp.array([1.0, 4.0]), jnp.array([0.0, 2.0])).tolist()
        [1.0, 4.0]
    """

    def __call__(
        self, prediction: Float[Array, "*shape"], target: Float[Array, "*shape"]
    ) -> Float[Array, "*shape"]:
        return (prediction - target) ** 2


@dataclasses.dataclass(frozen=True)
class AbsoluteError:
    """The absolute error |prediction - target|, as `torch.nn.L1Loss`.

    Its second derivative in the prediction is zero wherever it exists. The Hessian in the
    parameters therefore lacks the Gauss-Newton part: it holds only the curvature of the predictions
    themselves, and says nothing about the kink at the target, near which SGD bounces. Where the
    prediction equals the target, JAX takes the slope 0.

    Examples:
        >>> import jax
        >>> from attnscape import LinearTransformer, RegressionTask, hessian
        >>> from attnscape.tasks import AbsoluteError, WithLoss
        >>> model = LinearTransformer.init(jax.random.key(0), layers=1)  # linear in Q
        >>> prompts = WithLoss(RegressionTask(), AbsoluteError()).sample(jax.random.key(1), 10)
        >>> float(abs(hessian(model, prompts)).max())
        0.0
    """

    def __call__(
        self, prediction: Float[Array, "*shape"], target: Float[Array, "*shape"]
    ) -> Float[Array, "*shape"]:
        return jnp.abs(prediction - target)


@dataclasses.dataclass(frozen=True)
class Huber:
    """The loss of Huber (1964): e^2 / 2 for errors |e| <= delta, delta (|e| - delta / 2) beyond.

    As `torch.nn.HuberLoss` and `optax.losses.huber_loss`, it has the factor 1/2 that `SquaredError`
    has not. Its second derivative is 1 up to delta and 0 beyond, so prompts with large errors have
    no Gauss-Newton part in the Hessian.

    Attributes:
        delta: The error from which on the loss is linear, in the units of the target.

    Raises:
        UsageError: If delta is not positive and finite.

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape.tasks import Huber
        >>> Huber(delta=1.0)(jnp.array([0.5, 3.0]), jnp.zeros(2)).tolist()
        [0.125, 2.5]
    """

    delta: float | int = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.delta) and self.delta > 0):
            raise UsageError(f"delta is {self.delta}; it must be positive and finite.")

    def __call__(
        self, prediction: Float[Array, "*shape"], target: Float[Array, "*shape"]
    ) -> Float[Array, "*shape"]:
        # Not optax's: JAX gives its absolute value the second derivative 0 at an error of 0.
        error = prediction - target
        linear = self.delta * (jnp.abs(error) - self.delta / 2)
        return jnp.where(jnp.abs(error) <= self.delta, error**2 / 2, linear)


@dataclasses.dataclass(frozen=True)
class Logistic:
    """The logistic loss log(1 + exp(-s prediction)), with s the sign of the target (+1 for 0).

    It is the binary cross-entropy of the label target >= 0 if the prediction is its logit
    (`optax.losses.sigmoid_binary_cross_entropy`, `torch.nn.BCEWithLogitsLoss`). It thresholds the
    target; the responses in the context are thresholded by `attnscape.tasks.Thresholded`.

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape.tasks import Logistic
        >>> Logistic()(jnp.array([0.0, 3.0, 3.0]), jnp.array([1.0, 0.2, -5.0])).round(3).tolist()
        [0.693..., 0.04..., 3.04...]
    """

    def __call__(
        self, prediction: Float[Array, "*shape"], target: Float[Array, "*shape"]
    ) -> Float[Array, "*shape"]:
        label = (target >= 0).astype(prediction.dtype)
        return optax.losses.sigmoid_binary_cross_entropy(prediction, label)


LOSSES: Mapping[str, type[SquaredError | AbsoluteError | Huber | Logistic]] = MappingProxyType(
    {"squared": SquaredError, "absolute": AbsoluteError, "huber": Huber, "logistic": Logistic}
)
"""The named losses, by the names of the command line."""

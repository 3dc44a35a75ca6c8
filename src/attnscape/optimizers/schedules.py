"""Learning-rate schedules: the rate of update t is the learning rate times a shape's factor.

A shape is a function `(t, steps)` to the factor of update t = 0, 1, ... of a run with `steps`
updates. The shapes here are optax's schedules. Their warm-up goes up from 1/(warmup + 1), since an
update with rate 0 would be wasted; update `warmup` is the first with the whole rate. What decays
would reach its end at update `steps`, one after the last, as in optax.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from attnscape.errors import UsageError
from attnscape.optimizers.binding import Wrapped
from attnscape.optimizers.transformations import (
    ExternalOptimizer,
    Factory,
    Rate,
    Transformation,
)
from attnscape.optimizers.wrapping import around, extended

Shape = Callable[[Any, int], Any]


@dataclasses.dataclass(frozen=True)
class _Warmed(abc.ABC):
    """A shape with a warm-up; subclasses say what comes after it."""

    warmup: int = 0

    def __post_init__(self) -> None:
        if not self.warmup >= 0 or self.warmup % 1:
            raise UsageError(f"warmup is {self.warmup}; it must be a whole number of at least 0.")

    def __call__(self, step: Int[Array, ""] | int, steps: int) -> Float[Array, ""]:
        """The factor of update `step` of a run with `steps` updates.

        After the last update it stays as it was there, for measures of the step that would follow.

        Raises:
            UsageError: If the warm-up is not shorter than the run.
        """
        steps = max(steps, 1)  # a run without updates is only measured
        if self.warmup >= steps:
            raise UsageError(
                f"The warm-up of {self.warmup} updates is not shorter than the run, which has "
                f"{steps}; give a shorter one, or more steps."
            )
        schedule = self._after(steps)
        if self.warmup:
            warming = optax.linear_schedule(1 / (self.warmup + 1), 1.0, self.warmup)
            schedule = optax.join_schedules([warming, schedule], [self.warmup])
        # Of the present precision's floats, since a quotient of integers has 32 bits.
        return jnp.asarray(schedule(jnp.minimum(step, steps - 1).astype(float)))

    @abc.abstractmethod
    def _after(self, steps: int) -> optax.Schedule:
        """The schedule after the warm-up, from 1 on."""


@dataclasses.dataclass(frozen=True)
class Constant(_Warmed):
    """No change after the warm-up.

    Attributes:
        warmup: Updates of the warm-up.

    Examples:
        >>> from attnscape.optimizers import Constant
        >>> [round(float(Constant(warmup=3)(t, 10)), 2) for t in range(5)]
        [0.25, 0.5, 0.75, 1.0, 1.0]
    """

    def _after(self, steps: int) -> optax.Schedule:
        return optax.constant_schedule(1.0)


@dataclasses.dataclass(frozen=True)
class _Ending(_Warmed):
    """A shape that decays; `end` is the factor that update `steps` would have."""

    end: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.end <= 1:
            raise UsageError(f"end is {self.end}; it must be a factor from 0 to 1.")


@dataclasses.dataclass(frozen=True)
class Cosine(_Ending):
    """Half a period of the cosine (Loshchilov and Hutter, 2017, "SGDR", without restarts).

    Attributes:
        warmup: Updates of the warm-up.
        end: The factor at the end, from 0 to 1.

    Examples:
        >>> from attnscape.optimizers import Cosine
        >>> [round(float(Cosine()(t, 4)), 2) for t in range(4)]
        [1.0, 0.85, 0.5, 0.15]
    """

    def _after(self, steps: int) -> optax.Schedule:
        return optax.cosine_decay_schedule(1.0, steps - self.warmup, alpha=self.end)


@dataclasses.dataclass(frozen=True)
class LinearDecay(_Ending):
    """A straight line down to the end.

    Attributes:
        warmup: Updates of the warm-up.
        end: The factor at the end, from 0 to 1.

    Examples:
        >>> from attnscape.optimizers import LinearDecay
        >>> [round(float(LinearDecay()(t, 4)), 2) for t in range(4)]
        [1.0, 0.75, 0.5, 0.25]
    """

    def _after(self, steps: int) -> optax.Schedule:
        return optax.linear_schedule(1.0, self.end, steps - self.warmup)


@dataclasses.dataclass(frozen=True)
class WSD(_Ending):
    """Warm-up, stable, decay (Hu et al., 2024, "MiniCPM"); the decay is a straight line.

    Attributes:
        warmup: Updates of the warm-up.
        end: The factor at the end, from 0 to 1.
        decay: Share of the run's updates in the decay, above 0 and at most 1.

    Examples:
        >>> from attnscape.optimizers import WSD
        >>> [round(float(WSD(decay=0.5)(t, 8)), 2) for t in range(8)]
        [1.0, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25]
    """

    decay: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.decay <= 1:
            raise UsageError(
                f"decay is {self.decay}; it must be a share of the run's updates, above 0 and at "
                "most 1."
            )

    def _after(self, steps: int) -> optax.Schedule:
        decaying = max(1, round(self.decay * steps))
        stable = steps - self.warmup - decaying
        if stable < 0:
            raise UsageError(
                f"The warm-up of {self.warmup} updates and the decay of {decaying} do not fit "
                f"into the run, which has {steps}; make one of them shorter, or give more steps."
            )
        return optax.linear_schedule(1.0, self.end, decaying, transition_begin=stable)


SHAPES: Mapping[str, type[_Warmed]] = MappingProxyType(
    {"constant": Constant, "cosine": Cosine, "linear": LinearDecay, "wsd": WSD}
)


@dataclasses.dataclass(frozen=True)
class Scheduled(Wrapped):
    """What `scheduled` makes of an optax factory.

    Attributes:
        factory: The factory.
        shape: The schedule.
    """

    shape: Shape

    def __call__(self, learning_rate: Rate, steps: int) -> Transformation:
        """The optimizer of a run with `steps` updates."""
        if self.shape == Constant():
            return self.factory(learning_rate)
        dtype = jnp.asarray(learning_rate).dtype  # of runs in single precision, in JAX with double

        def rate(step: Int[Array, ""]) -> Float[Array, ""]:
            return learning_rate * jnp.asarray(self.shape(step, steps), dtype)

        # The optimizer is made anew at each update, with the update's rate.
        made = optax.inject_hyperparams(
            lambda learning_rate: extended(self.factory(learning_rate))
        )(learning_rate=rate)
        return around(self.factory(learning_rate), made, lambda state: state.inner_state)


def scheduled(factory: Factory, shape: Shape) -> Factory:
    """A factory whose optimizers have the learning rate times `shape(t, steps)` at update t.

    Updates count from the first one of the run, also with `train(start=...)`. The factory gets the
    rate of each update as a traced number; what it keeps in its state (momentum, means) goes on.
    It asks for `steps`, which a run binds (`attnscape.optimizers.bound`). With `Constant()` it is
    the given factory, bit for bit. A PyTorch optimizer gets a `LambdaLR` of PyTorch beside it.

    Args:
        factory: The factory, or an optimizer from PyTorch.
        shape: `Constant`, `Cosine`, `LinearDecay`, `WSD`, or any function of the update (a traced
            whole number) and the number of updates.

    Raises:
        UsageError: If it is an external optimizer whose rate cannot be changed.

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape.optimizers import LinearDecay, bound, scheduled, sgd
        >>> factory = bound(scheduled(sgd, LinearDecay()), steps=2, batch=1000)
        >>> method, gradient = factory(0.1), jnp.array([3.0, -4.0])
        >>> first, state = method.update(gradient, method.init(gradient), gradient)
        >>> second, _ = method.update(gradient, state, gradient)
        >>> [round(u, 3) for u in (*first.tolist(), *second.tolist())]  # half the rate
        [-0.3, 0.4, -0.15, 0.2]
    """
    if isinstance(factory, ExternalOptimizer):
        return factory.scheduled(shape)
    return Scheduled(factory, shape)


@functools.lru_cache(maxsize=64)
def factors(shape: Shape, steps: int) -> Float[np.ndarray, " step"]:
    """The factors of all updates of a run, at least one."""
    return np.asarray(jax.vmap(lambda step: shape(step, steps))(jnp.arange(max(steps, 1))))

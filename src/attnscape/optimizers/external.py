"""The contract of external optimizers, which step arrays outside of JAX."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax
import numpy as np

from attnscape.errors import UsageError
from attnscape.trees import Plain

# The loss and its gradient at a run's present parameters.
LossAndGradient = Callable[[], tuple[float, Sequence[jax.Array]]]


@runtime_checkable
class ExternalRun(Protocol):
    """A run of an optimizer outside of JAX.

    Examples:
        >>> from attnscape.optimizers import ExternalRun
        >>> class Still:  # never moves
        ...     def step(self, loss_and_gradient): ...
        ...     def eval_params(self): ...
        >>> isinstance(Still(), ExternalRun)
        True
    """

    def step(self, loss_and_gradient: LossAndGradient) -> None:
        """Changes the run's parameters in place by one step."""
        ...

    def eval_params(self) -> Sequence[np.ndarray]:
        """The parameters to measure, as new arrays."""
        ...


@runtime_checkable
class ResumableRun(ExternalRun, Protocol):
    """A run of an external optimizer that can be saved, so that a training can be continued.

    Examples:
        >>> from attnscape.optimizers import ResumableRun
        >>> class Still:  # remembers nothing
        ...     def step(self, loss_and_gradient): ...
        ...     def eval_params(self): ...
        ...     def save(self): ...
        ...     def restore(self, saved): ...
        >>> isinstance(Still(), ResumableRun)
        True
    """

    def save(self) -> Plain:
        """All that its next steps depend on, except for the run's parameters.

        None, numbers, strings, numpy arrays, and lists and dicts of these.

        Raises:
            NotSavableError: If it cannot be saved.
        """
        ...

    def restore(self, saved: Plain) -> None:
        """Sets the state of a run that was just started, and whose parameters are those saved."""
        ...


class ExternalOptimizer(abc.ABC):
    """An optimizer that steps arrays outside of JAX, one run after the other.

    It can be given in place of any factory.

    Attributes:
        numbers: The version of the numbers that it computes for equal settings; part of the
            identity of a run.

    Examples:
        >>> from types import SimpleNamespace
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from attnscape.optimizers import ExternalOptimizer
        >>> class Descent(ExternalOptimizer):
        ...     def start(self, learning_rate, leaves):
        ...         def step(loss_and_gradient):
        ...             for leaf, slope in zip(leaves, loss_and_gradient()[1], strict=True):
        ...                 leaf -= learning_rate * np.asarray(slope)
        ...         return SimpleNamespace(step=step, eval_params=lambda: [*map(np.copy, leaves)])
        >>> run = Descent().start(0.5, [np.array([3.0])])
        >>> run.step(lambda: (9.0, [jnp.array([6.0])]))  # x^2 and its gradient at x = 3
        >>> run.eval_params()
        [array([0.])]
    """

    numbers: ClassVar[int] = 1

    @abc.abstractmethod
    def start(self, learning_rate: float, leaves: Sequence[np.ndarray]) -> ExternalRun:
        """A run that owns these arrays and changes them in place."""

    def bound(self, *, steps: int, batch: int) -> ExternalOptimizer:
        """The optimizer of a run with `steps` updates of `batch` prompts each."""
        del steps, batch
        return self

    def scheduled(self, shape: Callable[[Any, int], Any]) -> ExternalOptimizer:
        """The optimizer with its rate times `shape(t, steps)` at update t.

        Raises:
            UsageError: If its rate cannot be changed.
        """
        del shape
        raise UsageError(
            f"The rate of {type(self).__name__}, an external optimizer, cannot be changed along a "
            "run; let it change its rate itself."
        )

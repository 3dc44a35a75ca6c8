"""What a factory asks of its run: parameters named `steps` and `batch` without a default.

A run binds them before it calls the factory with a learning rate, so that a schedule knows where
the run ends.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, cast

from attnscape.optimizers.external import ExternalOptimizer
from attnscape.optimizers.transformations import Factory


@dataclasses.dataclass(frozen=True)
class Wrapped:
    """A factory made of another one, which a run binds too.

    Attributes:
        factory: The other one.
    """

    factory: Callable[..., Any]


@dataclasses.dataclass(frozen=True)
class WithGiven(Wrapped):
    """A factory with values of its arguments, equal to any other with the same.

    Unlike calls by `functools.partial`, which are equal to themselves only, so that nothing
    compiled for one serves another.

    Attributes:
        given: Names of arguments and their values.
    """

    given: tuple[tuple[str, Any], ...]

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self.factory(*arguments, **dict(self.given), **keywords)


def bound(factory: Factory, *, steps: int, batch: int) -> Factory:
    """The factory with what it asks of its run; the factory itself if it asks for nothing.

    Parameters with a default are the user's to set and are never bound, nor is the first one, the
    learning rate.

    Args:
        factory: A factory, or an optimizer from PyTorch.
        steps: Updates of the run.
        batch: Prompts, or examples, of an update.

    Examples:
        >>> import optax
        >>> from attnscape.optimizers import bound
        >>> def mine(learning_rate, steps, momentum=0.9):
        ...     rates = optax.cosine_decay_schedule(learning_rate, steps)
        ...     return optax.sgd(rates, momentum)
        >>> bound(mine, steps=500, batch=1000).given
        (('steps', 500),)
        >>> bound(optax.sgd, steps=500, batch=1000) is optax.sgd
        True
    """
    if isinstance(factory, ExternalOptimizer):
        return factory.bound(steps=steps, batch=batch)
    return cast(Factory, bound_call(factory, steps=steps, batch=batch))


def bound_call(make: Callable[..., Any], **data: int) -> Callable[..., Any]:
    """The function with the arguments that it asks for, of all that can be asked for."""
    if isinstance(make, Wrapped):
        inner = bound_call(make.factory, **data)
        make = make if inner is make.factory else dataclasses.replace(make, factory=inner)  # pyright: ignore[reportAssignmentType]
    given = asked(make, **data)
    return WithGiven(make, tuple(given.items())) if given else make


def unwrapped(make: Any) -> Any:
    """The factory that wrapped ones are made of."""
    while isinstance(make, Wrapped):
        make = make.factory
    return make


def asked(make: Callable[..., Any], **data: int) -> dict[str, int]:
    """Of the data of a run, what the function's parameters without a default ask for."""
    try:
        parameters = list(inspect.signature(make).parameters.values())
    except (TypeError, ValueError):  # it has no signature
        return {}
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    wanted = [p.name for p in parameters[1:] if p.default is p.empty and p.kind in named]
    return {name: value for name, value in data.items() if name in wanted}

"""Models of users' own: functions of parameters and prompts, and what else a file may give."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from attnscape.errors import UsageError
from attnscape.prompts import Prompts

ModelFactory = Callable[[Array], Callable[[Prompts], Any]]


def _as_arrays(tree: Any) -> Any:
    return jax.tree.map(lambda a: jnp.asarray(a) if isinstance(a, float) else a, tree)


class FunctionModel(eqx.Module):
    """A function `(parameters, prompts) -> predictions` together with its parameters.

    Attributes:
        parameters: A pytree of arrays; the floating-point ones are trained.
        function: Maps the parameters and `Prompts` to one prediction a prompt.
    """

    # Plain floats are parameters too.
    parameters: Any = eqx.field(converter=_as_arrays)
    function: Callable[[Any, Prompts], Any] = eqx.field(static=True)

    def __call__(self, prompts: Prompts) -> Float[Array, " batch"]:
        """Predictions of the function at the parameters."""
        return self.function(self.parameters, prompts)


@dataclasses.dataclass(frozen=True)
class _Drawn:
    function: Callable[[Any, Prompts], Any]
    init: Callable[[Array], Any]

    def __call__(self, key: Array) -> FunctionModel:
        return FunctionModel(self.init(key), self.function)


@dataclasses.dataclass(frozen=True)
class _Same:
    model: Any

    def __call__(self, key: Array) -> Any:
        return self.model


def from_function(
    function: Callable[[Any, Prompts], Any], init: Callable[[Array], Any]
) -> ModelFactory:
    """What `attnscape.train` takes as its model, from two functions.

    Args:
        function: `(parameters, prompts) -> predictions` of shape (batch,).
        init: Draws the parameters, a pytree of arrays, from a key.
    """
    return _Drawn(function, init)


def as_model(thing: Any) -> ModelFactory:
    """The function from a key to a model that a user gives, in one of four forms.

    - a function `key -> model`, where a model is an equinox module (or any pytree of arrays) that
      is called with `Prompts` and gives one prediction a prompt;
    - a class, made by its `init(key)` if it has one, else by calling it with the key;
    - a pair `(function, init)` as of `from_function`, or `(function, parameters)`;
    - a ready equinox module. As with given parameters, all seeds then start at the same point.

    Raises:
        UsageError: If it is none of them.
    """
    if isinstance(thing, tuple) and len(thing) == 2 and callable(thing[0]):
        function, start = thing
        if callable(start):
            return from_function(function, start)
        return _Same(FunctionModel(start, function))
    if isinstance(thing, eqx.Module):
        return _Same(thing)
    if callable(thing):  # a class included
        factory: Any = getattr(thing, "init", thing) if isinstance(thing, type) else thing
        return factory
    raise UsageError(
        f"The model {thing!r} is none; give a function from a key to an equinox module, such a "
        "class or module, or a pair (function of parameters and prompts, init from a key)."
    )

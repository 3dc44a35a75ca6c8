"""Users' models: functions of parameters and prompts, and other forms that users may give."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from attnscape.errors import UsageError
from attnscape.tasks import Prompts

ModelFactory = Callable[[Array], Callable[[Prompts], Array]]


def _as_arrays(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda a: jnp.asarray(a) if isinstance(a, float) else a, tree)


class FunctionModel(eqx.Module):
    """A function `(parameters, prompts) -> predictions` together with its parameters.

    Attributes:
        parameters: A pytree of arrays; the floating-point ones are trained.
        function: Maps the parameters and `Prompts` to one prediction for each prompt.

    Examples:
        >>> import jax.numpy as jnp
        >>> from attnscape import Prompts
        >>> from attnscape.models import FunctionModel
        >>> model = FunctionModel(0.5, lambda scale, prompts: scale * prompts.y.mean(axis=1))
        >>> x, y = jnp.ones((1, 2, 1)), jnp.array([[3.0, 5.0]])
        >>> model(Prompts(x, y, query=jnp.ones((1, 1)), target=jnp.zeros(1))).tolist()
        [2.0]
    """

    # Plain floats are parameters too.
    parameters: PyTree = eqx.field(converter=_as_arrays)
    function: Callable[[PyTree, Prompts], Array] = eqx.field(static=True)

    def __call__(self, prompts: Prompts) -> Float[Array, " batch"]:
        """Predictions of the function at the parameters."""
        return self.function(self.parameters, prompts)


@dataclasses.dataclass(frozen=True)
class _Drawn:
    """Makes a model whose parameters are drawn from the key."""

    function: Callable[[PyTree, Prompts], Array]
    init: Callable[[Array], PyTree]

    def __call__(self, key: Array) -> FunctionModel:
        return FunctionModel(self.init(key), self.function)


@dataclasses.dataclass(frozen=True)
class _Same:
    """Returns the same model for every key."""

    model: Callable[[Prompts], Array]

    def __call__(self, key: Array) -> Callable[[Prompts], Array]:
        return self.model


def from_function(
    function: Callable[[PyTree, Prompts], Array], init: Callable[[Array], PyTree]
) -> ModelFactory:
    """A model for `attnscape.train`, from two functions.

    Args:
        function: `(parameters, prompts) -> predictions` of shape (batch,).
        init: Draws the parameters, a pytree of arrays, from a key.

    Examples:
        >>> import jax
        >>> from attnscape.models import from_function
        >>> def predict(w, prompts):
        ...     return prompts.query @ w
        >>> make = from_function(predict, lambda key: jax.random.normal(key, (2,)))
        >>> make(jax.random.key(0)).parameters.shape
        (2,)
    """
    return _Drawn(function, init)


def as_model(thing: Any) -> ModelFactory:
    """The function from a key to a model, for any of four forms that users may give.

    - a function `key -> model`, where a model is an equinox module (or any pytree of arrays) that
      is called with `Prompts` and returns one prediction for each prompt;
    - a class; `init(key)` or, if there is no `init`, the class called with the key makes a model;
    - a pair `(function, init)` as in `from_function`, or `(function, parameters)`;
    - an equinox module. Then, as with given parameters, all seeds start at the same point.

    Raises:
        UsageError: If it has none of these forms.

    Examples:
        >>> import jax
        >>> from attnscape.models import LinearTransformer, as_model
        >>> as_model(LinearTransformer)(jax.random.key(0)).P.shape  # a class with `init`
        (3, 5, 5)
        >>> pair = (lambda w, prompts: w * prompts.y.mean(axis=1), 0.5)
        >>> float(as_model(pair)(jax.random.key(0)).parameters)
        0.5
    """
    if isinstance(thing, tuple) and len(thing) == 2 and callable(thing[0]):
        function, start = thing
        if callable(start):
            return from_function(function, start)
        return _Same(FunctionModel(start, function))
    if isinstance(thing, eqx.Module):
        model: Any = thing  # training checks that it can be called
        return _Same(model)
    if callable(thing):  # also a class
        factory: Any = getattr(thing, "init", thing) if isinstance(thing, type) else thing
        return factory
    raise UsageError(
        f"The model {thing!r} is none; give a function from a key to an equinox module, such a "
        "class or module, or a pair (function of parameters and prompts, init from a key)."
    )

"""Arguments of an optimizer's factory besides the learning rate, and grids of their values.

A grid is written `reference.argument=value,value,...`, such as `adam.b2=0.9,0.99` or
`my_file.py:mine.warmup=0,100`; several for one reference are combined.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import itertools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, cast

from attnscape.errors import UsageError
from attnscape.optimizers.binding import Wrapped, unwrapped
from attnscape.optimizers.external import ExternalOptimizer
from attnscape.optimizers.schedules import Scheduled, scheduled
from attnscape.optimizers.transformations import Factory
from attnscape.optimizers.weight_decay import decayed

Grid = Mapping[str, tuple[Any, ...]]  # values to try, by the argument's name


def read_grids(texts: Sequence[str]) -> dict[str, Grid]:
    """The grid of each reference.

    Raises:
        UsageError: If a text cannot be read, or an argument is given twice.
    """
    grids: dict[str, dict[str, tuple[Any, ...]]] = {}
    for text in texts:
        target, equals, values = text.rpartition("=")
        reference, _, argument = target.rpartition(".")
        if not (equals and reference and argument.isidentifier()):
            raise UsageError(
                f"The grid {text!r} cannot be read; write the optimizer, the argument and its "
                "values, such as adam.b2=0.9,0.99."
            )
        if argument in grids.setdefault(reference, {}):
            raise UsageError(f"{target} is given twice; give all its values at once.")
        grids[reference][argument] = tuple(_value(each, text) for each in values.split(","))
    return cast("dict[str, Grid]", grids)


def _value(word: str, text: str) -> Any:
    try:
        value = ast.literal_eval(word.strip())
    except (ValueError, SyntaxError):
        value = None
    if not isinstance(value, bool | int | float) or not math.isfinite(value):
        raise UsageError(f"In {text!r}, {word!r} is not a finite number, True or False.")
    return value


def written(reference: str, grid: Grid) -> list[str]:
    """The texts of a grid."""
    return [
        f"{reference}.{argument}={','.join(map(repr, values))}" for argument, values in grid.items()
    ]


def combinations(grid: Grid) -> list[dict[str, Any]]:
    """All combinations of values; one without any for an empty grid."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def with_arguments(name: str, factory: Factory, values: Mapping[str, Any]) -> Factory:
    """The factory with these values of its arguments.

    Fields of its schedule are among them, and so is `weight_decay` for every optax factory.

    Raises:
        UsageError: If it has no such argument, two of this name, or is not a function.
    """
    if not values:
        return factory
    if isinstance(factory, Wrapped):
        return _inside(name, factory, values)
    if isinstance(factory, ExternalOptimizer):
        raise UsageError(
            f"{name} is PyTorch's, whose arguments are not tuned; write functions of (parameters, "
            "lr) with other values, and give each."
        )
    parameters = _parameters(factory)
    known = _names(parameters)
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)
    for argument in values:
        if argument not in (*known, "weight_decay") and not open_ended:
            listed = dict.fromkeys((*known, "weight_decay"))
            raise UsageError(
                f"{name} has no argument {argument!r} beside the learning rate; it has "
                f"{', '.join(listed)}."
            )
    own, decay = _apart(values, ["weight_decay"])
    return _decayed(functools.partial(factory, **own) if own else factory, decay)


def _inside(name: str, factory: Wrapped, values: Mapping[str, Any]) -> Factory:
    """A factory with a schedule or a weight decay, with these values of what it is made of."""
    if isinstance(factory, Scheduled):
        shape: Any = factory.shape  # of the user's, it may be a function without fields
        others, of_shape = _apart(values, getattr(shape, "__dataclass_fields__", ()))
        both = [each for each in of_shape if each in _names(_parameters(unwrapped(factory)))]
        if both:
            raise UsageError(
                f"{name} has two arguments {both[0]!r}, one of its schedule and one of the "
                "optimizer; tune the optimizer's by a function of your own that calls it "
                "otherwise, and give each value of the schedule's an optimizer, as in "
                "rmsprop@wsd:decay=0.1."
            )
        shape = dataclasses.replace(shape, **of_shape) if of_shape else shape
        return scheduled(with_arguments(name, factory.factory, others), shape)
    others, decay = _apart(values, ["weight_decay"])
    inner = with_arguments(name, factory.factory, others)
    if decay:
        return _decayed(inner, decay)
    return cast(Factory, dataclasses.replace(factory, factory=inner))  # pyright: ignore[reportArgumentType]


def _parameters(factory: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters besides the learning rate."""
    return list(inspect.signature(factory).parameters.values())[1:]


def _names(parameters: Sequence[inspect.Parameter]) -> list[str]:
    return [p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]


def _apart(
    values: Mapping[str, Any], names: Collection[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values of other names, and those of these names."""
    others = {name: value for name, value in values.items() if name not in names}
    return others, {name: value for name, value in values.items() if name in names}


def _decayed(factory: Factory, decay: Mapping[str, float]) -> Factory:
    return decayed(factory, decay["weight_decay"]) if decay else factory

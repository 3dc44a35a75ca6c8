"""Finds optimizers by name or reference: built-in ones, PyTorch's, and users'.

Behind an @ stand a schedule of the learning rate and a weight decay, as in
`adam@cosine:warmup=100,weight_decay=0.1`, `my_file.py:mine@linear` or `sgdm@weight_decay=0.1`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import cast

from attnscape import loading
from attnscape.errors import UsageError
from attnscape.optimizers.external import ExternalOptimizer
from attnscape.optimizers.named import NAMED
from attnscape.optimizers.schedules import SHAPES, Shape, scheduled
from attnscape.optimizers.transformations import Factory
from attnscape.optimizers.weight_decay import decayed

# No path or reference ends like this, also if it has an @.
_SCHEDULED = re.compile(r"(.+)@([A-Za-z-]+(?::[^:/]*)?|weight_decay=[^:/]*)")


def get_optimizer(name: str) -> Factory:
    """The factory of an optimizer.

    Args:
        name: A name of `NAMED`; a reference `my_file.py:factory` or `package.module:factory`; or
            `torch:` followed by a class or factory for PyTorch, see
            `attnscape.optimizers.pytorch.get_torch_optimizer`. Behind it may stand an @ with a
            schedule and a weight decay.

    Raises:
        UsageError: If there is no such optimizer, or no such schedule.
    """
    name, options = split(name)
    factory = _without_options(name)
    return with_options(factory, options) if options else factory


def split(text: str) -> tuple[str, str]:
    """The reference in a text, and what stands behind an @; empty if nothing does.

    Examples:
        >>> from attnscape.optimizers.references import split
        >>> split("adam@cosine:warmup=100"), split("me@home/my_file.py:mine")
        (('adam', 'cosine:warmup=100'), ('me@home/my_file.py:mine', ''))
    """
    matched = _SCHEDULED.fullmatch(text)
    return (matched[1], matched[2]) if matched else (text, "")


def with_options(factory: Factory, options: str) -> Factory:
    """The factory with what stands behind an @.

    Raises:
        UsageError: If it cannot be read, or the factory cannot have it.
    """
    shape, weight_decay = read_options(options)
    factory = factory if weight_decay is None else decayed(factory, weight_decay)
    return scheduled(factory, shape)


def read_options(options: str) -> tuple[Shape, float | None]:
    """The schedule that stands behind an @, and the weight decay if there is one.

    Args:
        options: A schedule with its fields, among which may be `weight_decay`; or that alone.

    Raises:
        UsageError: If it cannot be read.

    Examples:
        >>> from attnscape.optimizers.references import read_options
        >>> read_options("cosine:warmup=100,weight_decay=0.1")
        (Cosine(warmup=100, end=0.0), 0.1)
    """
    alone = options.startswith("weight_decay=")
    name, words = loading.split_fields(f"constant:{options}" if alone else options)
    if name not in SHAPES:
        raise UsageError(
            f"There is no schedule {name!r}; there are {', '.join(SHAPES)}, with fields as in "
            "cosine:warmup=100,end=0.1. One of your own is given from Python, by "
            "attnscape.optimizers.scheduled."
        )
    beside = {"weight_decay": {"weight_decay": float}}
    fields = loading.read_fields(name, SHAPES[name], words, replaced=beside)
    weight_decay = fields.pop("weight_decay", None)
    return SHAPES[name](**fields), weight_decay


def _without_options(name: str) -> Factory:
    if name.startswith("torch:"):
        from attnscape.optimizers.pytorch import get_torch_optimizer

        return get_torch_optimizer(name.removeprefix("torch:"))
    if loading.is_reference(name):
        factory: object = loading.load_object(name)
        if not (callable(factory) or isinstance(factory, ExternalOptimizer)):
            raise UsageError(
                f"{name} is {factory!r}; it must be a function from a learning rate to an "
                "optax.GradientTransformation."
            )
        return cast(Factory, factory)
    if name not in NAMED:
        raise UsageError(
            f"There is no optimizer {name!r}; there are {', '.join(NAMED)}, and your own as "
            "my_file.py:factory or torch:package.Class."
        )
    return NAMED[name]


def resolve(names: Sequence[str]) -> dict[str, Factory]:
    """The factories of several optimizers, each under a short label.

    The label of a reference is the last part of its name; labels of PyTorch's optimizers begin with
    `torch.`.

    Raises:
        UsageError: If one does not exist, or two have the same label.
    """
    factories: dict[str, Factory] = {}
    for name in names:
        reference, options = split(name)
        label = reference
        if reference not in NAMED:
            label = reference.rpartition(":")[2].rpartition(".")[2]
        label = f"torch.{label}" if name.startswith("torch:") else label
        label += f"@{options}" * bool(options)
        if label in factories:
            raise UsageError(
                f"Two optimizers are called {label}; give each once, and own ones other names."
            )
        factories[label] = get_optimizer(name)
    return factories

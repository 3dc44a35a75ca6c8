"""Optimizers that people choose by name or reference, from here, from PyTorch or of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from attnscape import loading
from attnscape.errors import UsageError
from attnscape.optimizers import NAMED
from attnscape.transformations import Factory, Outside


def by_name(name: str) -> Factory:
    """The factory of that name, or the one that a reference names.

    Args:
        name: A name of `NAMED`; `my_file.py:factory` or `package.module:factory`; or, with
            `torch:` before it, a class or factory for PyTorch, as
            `attnscape.interop.torch_optimizers.by_reference` reads it.

    Raises:
        UsageError: If there is none.
    """
    if name.startswith("torch:"):
        from attnscape.interop.torch_optimizers import by_reference

        return by_reference(name.removeprefix("torch:"))
    if loading.is_reference(name):
        factory: Any = loading.load_object(name)
        if not (callable(factory) or isinstance(factory, Outside)):
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


def chosen(names: Sequence[str]) -> dict[str, Factory]:
    """The factories that names or references stand for, each under a short label.

    Of a reference, the label is the thing's own name; PyTorch's begin with `torch.`.

    Raises:
        UsageError: If one does not exist, or two have the same label.
    """
    factories: dict[str, Factory] = {}
    for name in names:
        label = name if name in NAMED else name.rpartition(":")[2].rpartition(".")[2]
        label = f"torch.{label}" if name.startswith("torch:") else label
        if label in factories:
            raise UsageError(
                f"Two optimizers are called {label}; give each once, and own ones other names."
            )
        factories[label] = by_name(name)
    return factories

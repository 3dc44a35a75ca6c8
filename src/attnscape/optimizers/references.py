"""Finds optimizers by name or reference: built-in ones, PyTorch's, and users'."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from attnscape import loading
from attnscape.errors import UsageError
from attnscape.optimizers.external import ExternalOptimizer
from attnscape.optimizers.named import NAMED
from attnscape.optimizers.transformations import Factory


def get_optimizer(name: str) -> Factory:
    """The factory of an optimizer.

    Args:
        name: A name of `NAMED`; a reference `my_file.py:factory` or `package.module:factory`; or
            `torch:` followed by a class or factory for PyTorch, see
            `attnscape.optimizers.pytorch.get_torch_optimizer`.

    Raises:
        UsageError: If there is no such optimizer.
    """
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
        label = name if name in NAMED else name.rpartition(":")[2].rpartition(".")[2]
        label = f"torch.{label}" if name.startswith("torch:") else label
        if label in factories:
            raise UsageError(
                f"Two optimizers are called {label}; give each once, and own ones other names."
            )
        factories[label] = get_optimizer(name)
    return factories

"""The optimizers of artifacts on real networks that the engine does not name.

Those of the paper's sources (Kunstner et al. 2023), whose Adam has beta2 = 0.999 (the linear models
of the paper have 0.9), and SOAP, which PyTorch steps.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import importlib.util
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import optax

from attnscape.optimizers import NAMED, Factory, OptaxFactory

if TYPE_CHECKING:
    import torch


def adam(learning_rate: float) -> optax.GradientTransformation:
    """Adam with beta1 = 0.9 and beta2 = 0.999."""
    return optax.adam(learning_rate, b1=0.9, b2=0.999)


def adam_without_momentum(learning_rate: float) -> optax.GradientTransformation:
    """Adam with beta1 = 0 and beta2 = 0.999."""
    return optax.adam(learning_rate, b1=0.0, b2=0.999)


WITH_MOMENTUM: Mapping[str, OptaxFactory] = MappingProxyType({"sgdm": NAMED["sgdm"], "adam": adam})
WITHOUT_MOMENTUM: Mapping[str, OptaxFactory] = MappingProxyType(
    {"sgd": NAMED["sgd"], "adam-no-momentum": adam_without_momentum}
)
FOUR: Mapping[str, OptaxFactory] = MappingProxyType({**WITH_MOMENTUM, **WITHOUT_MOMENTUM})


@dataclasses.dataclass(frozen=True)
class Soap:
    """SOAP (Vyas et al., 2025) of the package pytorch-optimizer, with that package's defaults.

    Its first step only begins the preconditioners. The class is found when an optimizer is made, so
    that an instance counts as built in, and other processes can load it.

    Attributes:
        versions: Those of the packages that compute the step; they are part of what identifies it.
    """

    versions: tuple[str, ...]

    def __call__(self, parameters: Sequence[torch.Tensor], lr: float) -> torch.optim.Optimizer:
        from pytorch_optimizer import SOAP

        return SOAP(parameters, lr=lr)


def has_soap() -> bool:
    """Whether the package with SOAP is installed."""
    return importlib.util.find_spec("pytorch_optimizer") is not None


@functools.cache
def soap() -> Factory:
    """SOAP as a factory of the engine; it needs the package with SOAP."""
    from attnscape.optimizers.pytorch import TorchOptimizer

    packages = ("pytorch-optimizer", "torch")
    return TorchOptimizer(
        Soap(tuple(f"{name} {importlib.metadata.version(name)}" for name in packages))
    )

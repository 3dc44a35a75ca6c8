"""attnscape: a wind tunnel for Transformer optimization.

Public names are loaded when they are first used, so that `import attnscape` and the command line's
`--help` stay instant.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attnscape.experiment import Experiment as Experiment
    from attnscape.models import AttentionTransformer as AttentionTransformer
    from attnscape.models import LinearTransformer as LinearTransformer
    from attnscape.objective import hessian as hessian
    from attnscape.objective import hvp as hvp
    from attnscape.objective import loss as loss
    from attnscape.objective import value_and_gradient as value_and_gradient
    from attnscape.prompts import Moments as Moments
    from attnscape.prompts import Prompts as Prompts
    from attnscape.results import load as load
    from attnscape.tasks import RegressionTask as RegressionTask
    from attnscape.training import train as train

_HOMES = {
    "AttentionTransformer": "models",
    "Experiment": "experiment",
    "LinearTransformer": "models",
    "Moments": "prompts",
    "Prompts": "prompts",
    "RegressionTask": "tasks",
    "hessian": "objective",
    "hvp": "objective",
    "load": "results",
    "loss": "objective",
    "train": "training",
    "value_and_gradient": "objective",
}
__all__ = sorted(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'attnscape' has no attribute {name!r}")
    if name in ("load", "train"):  # what they give has the accessor `.attnscape`
        importlib.import_module("attnscape.summary")
    return getattr(importlib.import_module(f"attnscape.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})

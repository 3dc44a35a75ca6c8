"""attnscape: a wind tunnel for Transformer optimization.

Public names are loaded when they are first used, so that `import attnscape` and
`attnscape --help` are fast.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from attnscape import _moved

if TYPE_CHECKING:
    from attnscape import measures as measures
    from attnscape import optimizers as optimizers
    from attnscape import paper as paper
    from attnscape import statistics as statistics
    from attnscape import tasks as tasks
    from attnscape.bench import rank as rank
    from attnscape.experiments.experiment import Experiment as Experiment
    from attnscape.experiments.store import load as load
    from attnscape.experiments.store import save as save
    from attnscape.models import AttentionTransformer as AttentionTransformer
    from attnscape.models import LinearTransformer as LinearTransformer
    from attnscape.objective import hessian as hessian
    from attnscape.objective import hvp as hvp
    from attnscape.objective import loss as loss
    from attnscape.objective import value_and_grad as value_and_grad
    from attnscape.tasks import Moments as Moments
    from attnscape.tasks import Prompts as Prompts
    from attnscape.tasks import RegressionTask as RegressionTask
    from attnscape.training import train as train

    __version__: str

_ROOMS = ("measures", "optimizers", "paper", "statistics", "tasks")
_HOMES = {
    "AttentionTransformer": "models",
    "Experiment": "experiments.experiment",
    "LinearTransformer": "models",
    "Moments": "tasks",
    "Prompts": "tasks",
    "RegressionTask": "tasks",
    "hessian": "objective",
    "hvp": "objective",
    "load": "experiments.store",
    "loss": "objective",
    "rank": "bench",
    "save": "experiments.store",
    "train": "training",
    "value_and_grad": "objective",
}
__all__ = sorted([*_HOMES, *_ROOMS])  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"attnscape.{_HOMES[name]}"), name)
    if name in _ROOMS:
        return importlib.import_module(f"attnscape.{name}")
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("attnscape")
    if name in _moved.NAMES:
        _moved.refuse(name)
    raise AttributeError(f"module 'attnscape' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})


class _WithAccessor(importlib.abc.MetaPathFinder):
    """Registers the accessor `dataset.attnscape` as soon as somebody imports xarray.

    Importing xarray here would slow down every `import attnscape` by half a second.
    """

    _looking = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != "xarray" or self._looking:
            return None
        self._looking = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._looking = False
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module: ModuleType) -> None:
                if self in sys.meta_path:
                    sys.meta_path.remove(self)
                execute(module)
                importlib.import_module("attnscape.experiments.accessor")

            spec.loader.exec_module = execute_and_register
        return spec


if "xarray" in sys.modules:
    importlib.import_module("attnscape.experiments.accessor")
else:
    sys.meta_path.insert(0, _WithAccessor())
sys.meta_path.insert(0, _moved.Finder())

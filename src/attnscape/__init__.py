"""attnscape: a wind tunnel for Transformer optimization.

Public names are loaded when they are first used, so that `import attnscape` and the command line's
`--help` stay instant.
"""

import importlib
import importlib.abc
import importlib.util
import sys
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
    from attnscape.results import save as save
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
    "save": "results",
    "train": "training",
    "value_and_gradient": "objective",
}
__all__ = sorted(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'attnscape' has no attribute {name!r}")
    return getattr(importlib.import_module(f"attnscape.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


class _WithAccessor(importlib.abc.MetaPathFinder):
    """Registers the accessor `dataset.attnscape` as soon as somebody imports xarray.

    Importing xarray here would take half a second of each `import attnscape`.
    """

    _looking = False

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        if fullname != "xarray" or self._looking:
            return None
        self._looking = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._looking = False
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module: Any) -> None:
                if self in sys.meta_path:
                    sys.meta_path.remove(self)
                execute(module)
                importlib.import_module("attnscape.accessor")

            spec.loader.exec_module = execute_and_register
        return spec


if "xarray" in sys.modules:
    importlib.import_module("attnscape.accessor")
else:
    sys.meta_path.insert(0, _WithAccessor())

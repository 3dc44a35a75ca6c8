"""attnscape: a wind tunnel for Transformer optimization.

Public names are loaded when they are first used, so that `import attnscape` and
`attnscape --help` are fast. They are listed in `__init__.pyi`, for type checkers, too.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import lazy_loader

from attnscape import _moved

_public, _names, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("attnscape")
    if name in _moved.NAMES:
        _moved.refuse(name)
    return _public(name)


def __dir__() -> list[str]:
    return sorted({*_names(), "__version__"})


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

"""Names of earlier releases: for one release, importing one raises an error with its new place."""

from __future__ import annotations

import importlib.abc
from collections.abc import Sequence
from types import ModuleType
from typing import NoReturn

MODULES = {
    "choosing": "optimizers.references",
    "commands": "cli.commands",
    "contracts": "validation",
    "drawing": "steppers",
    "estimators": "statistics",
    "experiment": "experiments.experiment",
    "interop": "torch",
    "measuring": "training",
    "progress": "workflows.progress",
    "prompts": "tasks",
    "provenance": "training.provenance",
    "results": "experiments.store",
    "sizes": "training.sizes",
    "stepping": "steppers",
    "summary": "experiments.summary",
    "transformations": "optimizers",
    "tuning": "experiments.tuning",
}
NAMES = {"value_and_gradient": "value_and_grad"}


class Finder(importlib.abc.MetaPathFinder):
    """Import finder that finds no module, but raises an error with the new place of a moved one."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        """Raises ImportError for a module that has moved."""
        package, _, name = fullname.partition(".")
        if package == "attnscape" and name in MODULES:
            refuse(name)


def refuse(name: str) -> NoReturn:
    """Raises ImportError with the new place of a moved module or name."""
    new = MODULES.get(name) or NAMES[name]
    raise ImportError(
        f"attnscape.{name} is now attnscape.{new}; change the import.", name=f"attnscape.{name}"
    )

"""One file of a checkpoint. Its checksum may be right and another program may have written it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attnscape import spec
from attnscape.experiments import plain_file
from attnscape.trees import Plain

# The types of what is read of a file, by name; what may be None may be missing.
_KINDS: Mapping[str, tuple[type, ...]] = {
    "format": (int,),
    "run_id": (str,),
    **dict.fromkeys(("attributes", "about", "plan", "progress", "states"), (dict,)),
}
_OF_PLAN: Mapping[str, tuple[type, ...]] = {"parts": (list,), "steps": (int,)}
_OF_PROGRESS: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("done", "total"), (int,)),
    **dict.fromkeys(("seconds_left", "written"), (int, float, type(None))),
    "writer": (str,),
}


@dataclasses.dataclass(frozen=True)
class Saved:
    """One file of a checkpoint.

    Attributes:
        head: What it must agree in to be used: format, run id and attributes.
        about: What else is told of its run.
        plan: The parts of the run, their steps, and the outline of its result.
        progress: What was done, and the time that the rest would take.
        states: The states of its parts.
    """

    head: dict[str, Any]
    about: dict[str, Any]
    plan: dict[str, Any]
    progress: dict[str, Any]
    states: dict[str, Plain]

    @classmethod
    def read(cls, path: Path) -> Saved:
        """Reads a file.

        Raises:
            ValueError: If it is damaged, or none.
        """
        try:
            with path.open("rb") as file:
                content = plain_file.read(file)
        except OSError as error:
            raise ValueError(str(error)) from error
        _check(content, _KINDS)
        _check(content["plan"], _OF_PLAN)
        _check(content["progress"], _OF_PROGRESS)
        for state in content["states"].values():
            _check(state, {"step": (int,)} if "step" in state else {})
        head = {key: content[key] for key in ("format", "run_id", "attributes")}
        return cls(head, *(content[key] for key in ("about", "plan", "progress", "states")))

    def check(self, head: Mapping[str, Any]) -> None:
        """Raises ValueError unless it belongs to a run with this head."""
        if self.head["format"] != head["format"]:
            raise ValueError("another version of attnscape wrote it")
        if self.head["run_id"] != head["run_id"]:
            raise ValueError(f"it is of the run {spec.short(self.head['run_id'])}")
        was, now = self.head["attributes"], head["attributes"]
        for key in {**was, **now}:
            if was.get(key) != now.get(key):
                raise ValueError(f"it has {key} {was.get(key)}, and now it is {now.get(key)}")


def _check(value: Plain, kinds: Mapping[str, tuple[type, ...]]) -> None:
    """Raises ValueError unless a value has entries of these types under these names."""
    for name, kind in kinds.items():
        if not isinstance(value, dict) or not isinstance(value.get(name), kind):
            raise ValueError(f"another program wrote it: it has no {name} of the right type")

"""The command line that repeats a call."""

from __future__ import annotations

import dataclasses
import shlex

from attnscape.cli._options import Bench, Reproduce


def command_line(options: Reproduce | Bench, *things: str) -> str:
    """The command line that makes the given artifacts or optimizers with the same options."""
    words = ["attnscape", type(options).__name__.lower(), *things]
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        # Where runs are computed changes nothing.
        if field.name not in ("artifacts", "optimizers", "cluster") and value != field.default:
            words += [f"--{field.name.replace('_', '-')}"]
            if value is not True:
                words += map(str, value) if isinstance(value, tuple) else [str(value)]
    return shlex.join(words)

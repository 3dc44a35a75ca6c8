"""The command line that repeats a call."""

from __future__ import annotations

import dataclasses
import shlex

from attnscape.cli._options import Bench, Reproduce


def command_line(options: Reproduce | Bench, *things: str) -> str:
    """The command line that makes the given artifacts or optimizers with the same options."""
    words = ["attnscape", type(options).__name__.lower(), *things]
    left_out = {"artifacts", "optimizers", "cluster"}  # where runs are computed changes nothing
    if things:
        left_out.add("extended")  # else the command for one artifact would make all of them
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if field.name not in left_out and value != field.default:
            words += [f"--{field.name.replace('_', '-')}"]
            if value is not True:
                words += map(str, value) if isinstance(value, tuple) else [str(value)]
    return shlex.join(words)

"""Checks of combinations of options and of ranges; options without an effect are refused.

The rules are tables of option names that are compared with the command line, so that mistakes are
found before anything slow starts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from attnscape.errors import UsageError
from attnscape.paper.catalog import ARTIFACTS, EXTENDED, NETWORKS

# An option, and the options that have no effect beside it.
_REPLACES: Mapping[str, tuple[str, ...]] = {
    "task": (
        *("covariates", "weights", "squared_radius", "response", "table", "target"),
        *("dim", "context", "noise"),
    ),
    "table": ("covariates", "dim"),
    "target": ("weights", "response"),
    "model": ("layers", "form", "scale"),
    "tune": ("learning_rates",),
    "full_batch": ("evaluation_batch", "evaluation_seed"),
}
# An option, the options it belongs to, and the value that one of them must have.
_BELONGS_TO: Mapping[str, tuple[tuple[str, ...], str]] = {
    "squared_radius": (("covariates", "weights"), "radial"),
}
# Options that are nothing without each other.
_TOGETHER = (("pseudo_every", "pseudo_optimizers"),)


def check_combination(options: Any, words: Sequence[str]) -> None:
    """Refuses options that make another given option useless.

    Args:
        options: The options of a command.
        words: The command line they were read from.

    Raises:
        UsageError: If an option has no effect beside another, lacks one that it belongs to, or has
            a list of values in two places.
    """
    fields = {field.name: field for field in dataclasses.fields(options)}
    given = [
        word.partition("=")[0][2:].replace("-", "_") for word in words if word.startswith("--")
    ]
    for name in given:
        if name in fields and isinstance(fields[name].default, tuple):
            if given.count(name) > 1:
                raise UsageError(f"{_option(name)} was given twice; give all its values after one.")
            if not getattr(options, name):
                raise UsageError(f"{_option(name)} was given without a value; give at least one.")
        for other in _REPLACES.get(name, ()):
            if other in fields and other in given:
                raise UsageError(
                    f"{_option(name)} replaces {_option(other)}, but both were given; leave one of "
                    "them out."
                )
        owners, value = _BELONGS_TO.get(name, ((), ""))
        if owners and all(getattr(options, owner) != value for owner in owners):
            places = " or ".join(f"{_option(owner)} {value}" for owner in owners)
            raise UsageError(f"{_option(name)} has no effect without {places}; add it.")
    for pair in _TOGETHER:
        there = [name for name in pair if getattr(options, name, None)]
        if len(there) == 1:
            (lacking,) = set(pair) - set(there)
            raise UsageError(
                f"{_option(there[0])} has no effect without {_option(lacking)}; add it."
            )
    if getattr(options, "target", None) is not None and options.table is None:
        raise UsageError(f"--target names the column {options.target!r} of no table; add --table.")


def check_artifacts(options: Any) -> None:
    """Refuses names of artifacts that do not exist.

    Args:
        options: The options of a command.

    Raises:
        UsageError: If there is no artifact of a name.
    """
    names = (*ARTIFACTS, *EXTENDED, *NETWORKS)
    for name in getattr(options, "artifacts", ()):
        if name not in names:
            raise UsageError(f"There is no artifact {name!r}; there are {', '.join(names)}.")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


_SEEDS = 1_000_000
_STEPS = 2**31 - 2  # steps are 32-bit integers, and the step after the last is also used
_PROMPTS = 2**31 - 1
_MEASUREMENTS = 1_000_000
# Smallest and largest allowed integers; an entry for one command precedes the general one.
_RANGES: Mapping[str, tuple[int, int]] = {
    "seeds": (1, _SEEDS),
    "steps": (0, _STEPS),
    "Bench.steps": (1, _STEPS),
    "measure_every": (1, _STEPS),
    "smoothness_every": (0, _STEPS),
    "pseudo_every": (0, _STEPS),
    "noise_every": (0, _STEPS),
    "curvature_every": (0, _STEPS),
    "sharpness_every": (0, _STEPS),
    "dim": (1, 10_000),
    "context": (1, _PROMPTS),
    "layers": (1, 1000),
    "batch": (1, _PROMPTS),
    "Train.full_batch": (1, _PROMPTS),
    "evaluation_batch": (1, _PROMPTS),
    "evaluation_seed": (0, 2**32 - 1),
}


def check_numbers(options: Any) -> None:
    """Refuses numbers out of range, before arrays of such a size are made.

    Args:
        options: The options of a command.

    Raises:
        UsageError: If a number is out of range, or there would be too many measurements.
    """
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        of_command = f"{type(options).__name__}.{field.name}"
        least, most = _RANGES.get(of_command) or _RANGES.get(field.name) or (None, None)
        for number in value if isinstance(value, tuple) else (value,):
            if least is not None and number is not None and not least <= number <= most:
                raise UsageError(
                    f"{_option(field.name)} is {number}; it must be "
                    + (f"at least {least}." if number < least else f"at most {most}.")
                )
    _check_batches(options)
    steps = getattr(options, "steps", None) or 0
    if hasattr(options, "measure_every") and steps > _MEASUREMENTS * options.measure_every:
        enough = -(-steps // _MEASUREMENTS)
        raise UsageError(
            f"--measure-every {options.measure_every} measures at {steps} steps, more than "
            f"{_MEASUREMENTS}; make it at least {enough}."
        )


def _check_batches(options: Any) -> None:
    """Refuses batch sizes given twice, and those that are not drawn from the full batch."""
    batches = getattr(options, "batch", ())
    for size in batches:
        if batches.count(size) > 1:
            raise UsageError(f"--batch {size} was given twice; give each size once.")
        if options.full_batch is not None and size >= options.full_batch:
            raise UsageError(
                f"--batch {size} is no part of the {options.full_batch} prompts of --full-batch; "
                "give smaller sizes, or leave it out: the full batch is trained in any case."
            )

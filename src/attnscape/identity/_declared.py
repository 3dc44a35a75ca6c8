"""The description that identifies a built-in task or measure."""

from __future__ import annotations

import dataclasses
from typing import Any

from attnscape import spec
from attnscape.tasks.chi import chi_polynomials
from attnscape.tasks.covariates import Gaussian, Radial
from attnscape.tasks.radius import radius_table
from attnscape.tasks.with_loss import innermost


def declared(value: Any) -> Any:
    """A part's fields, the tables of its distributions and the attributes of its class."""
    return {
        "own": spec.describe(value),
        "distributions": _tables(value),
        "class": _attributes(type(value)),
    }


def _tables(value: Any) -> list[str]:
    """Hashes of the tables computed from scipy's distributions."""
    value = innermost(value)
    distributions = (value, getattr(value, "covariates", None), getattr(value, "weights", None))
    tables = [
        spec.digest(spec.describe(radius_table(distribution.squared_radius)))
        for distribution in distributions
        if isinstance(distribution, Radial)
    ]
    if isinstance(getattr(value, "covariates", None), Gaussian):
        polynomials = chi_polynomials(value.context, value.dim + 1)
        tables.append(spec.digest(spec.describe(polynomials)))
    inner = getattr(value, "task", None)  # of a task that draws from another one
    return tables if inner is None else [*tables, *_tables(inner)]


def _attributes(kind: type) -> dict[str, Any]:
    """The numbers and texts that are set on a class and are not fields."""
    fields = {field.name for field in dataclasses.fields(kind)}
    return {
        name: value
        for base in reversed(kind.__mro__[:-1])
        for name, value in vars(base).items()
        if not (name.startswith("_") or name in fields)
        and isinstance(value, bool | int | float | str | None)
    }

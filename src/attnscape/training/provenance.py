"""The attributes that tell how a result was made: schema, versions, and the path used."""

from __future__ import annotations

import json
import platform

from attnscape import native
from attnscape.identity import version

SCHEMA_VERSION = 2
_PACKAGES = ("attnscape", "jax", "jaxlib", "optax", "equinox", "numpy", "scipy", "xarray")


def provenance() -> dict[str, str | int]:
    """The attributes of every result, for the Dataset and its NetCDF file."""
    return {
        "schema_version": SCHEMA_VERSION,
        "versions": json.dumps(
            {"python": platform.python_version()}
            | {package: version(package) for package in _PACKAGES}
        ),
        "kernels": "xla" if native.why_unavailable() else f"native, {native.instruction_set()}",
    }

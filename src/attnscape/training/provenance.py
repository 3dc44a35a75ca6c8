"""The attributes that tell how a result was made: schema, versions, and the path used."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import platform

from attnscape import native

SCHEMA_VERSION = 2
_PACKAGES = ("attnscape", "jax", "jaxlib", "optax", "equinox", "numpy", "scipy", "xarray")


def provenance() -> dict[str, str | int]:
    """The attributes of every result, for the Dataset and its NetCDF file."""
    return {
        "schema_version": SCHEMA_VERSION,
        "versions": _versions(),
        "kernels": "xla" if native.why_unavailable() else f"native, {native.instruction_set()}",
    }


@functools.cache  # a file is read for each package
def _versions() -> str:
    installed = {package: importlib.metadata.version(package) for package in _PACKAGES}
    return json.dumps({"python": platform.python_version()} | installed)

"""What a result says of its making: the schema, versions, and which path computed it."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from typing import Any

from attnscape import native

SCHEMA_VERSION = 2
_PACKAGES = ("attnscape", "jax", "jaxlib", "optax", "equinox", "numpy", "scipy", "xarray")


def provenance() -> dict[str, Any]:
    """Attributes that every result has, for a Dataset and its NetCDF file."""
    return {
        "schema_version": SCHEMA_VERSION,
        "versions": json.dumps(
            {"python": platform.python_version()}
            | {package: importlib.metadata.version(package) for package in _PACKAGES}
        ),
        "kernels": "xla" if native.why_unavailable() else f"native, {native.register_bits()} bits",
    }

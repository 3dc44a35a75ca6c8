"""Settings that numbers depend on besides the parts: those of JAX and XLA, kernels, versions.

| setting | how it counts |
|---|---|
| numbers of built-in parts and kernels | `NUMBERS`, raised with every change of them |
| kernels on or off, whether they round products and sums at once | part of the identity |
| JAX's configuration (x64, matmul precision, random bits, ...) | part, except `_HARMLESS` |
| `XLA_FLAGS` | part, as they were when JAX first ran |
| JAX and jaxlib, which compile | their versions are part |
| optax | by the programs of every optimizer and of the functions that the engine uses |
| device: the family of the processor, or an accelerator's model and its driver's version | part |
| scipy | by the tables of its distributions; its version (for LAPACK) is only recorded |
| one thread of XLA, or several | part: XLA compiles sums in two ways |
| how many threads, processor's model, AVX2 or AVX-512 | not at all: numbers are the same |
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import re

import jax
import jax.numpy as jnp
import optax
from jaxtyping import PyTree

from attnscape import native, spec
from attnscape.identity._program import libraries, program

NUMBERS = 6
"""The version of all numbers that built-in parts and kernels compute; raise it if one changes."""

OPTIMIZER_NUMBERS = 4
"""The version of the steps of built-in optimizers, which real networks take too: set it to
`NUMBERS` where it is raised because a step changes."""

# JAX's options for diagnostics, for caches and for hardware that is not used.
_HARMLESS = re.compile(
    r"jax2tf|jax_export|serialization|cache|log|dump|debug_|traceback|profil|pgle"
    r"|check(?!_vma)|cuda_visible|rocm|oneapi|mock|collectives|topology|cross_host|pprint|guard"
    r"|captured_constants|pallas|mosaic|error_num|distributed|recoverability|preemption"
    r"|include_full|source_url|source_file|share_binary|explain|sort_devices|jax_platforms"
    r"|rank_promotion|xla_profile"
)


def settings() -> dict[str, object]:
    """All settings of the table above, with their present values.

    Examples:
        >>> from attnscape.identity import NUMBERS, settings
        >>> settings()["numbers"] == NUMBERS
        True
    """
    return {
        "numbers": NUMBERS,
        **_fixed(native.default_device()),
        "toolkit": _toolkit(),
        "jax_config": _configuration(),
    }


@functools.cache
def _fixed(device: native.Device) -> dict[str, object]:
    on_cpu = device.platform == "cpu"
    by_kernels = on_cpu and native.library() is not None
    # Accelerators of one platform round differently, as do versions of their libraries.
    accelerator = [device.platform, device.device_kind, device.client.platform_version]
    return {
        "versions": {name: importlib.metadata.version(name) for name in ("jax", "jaxlib")},
        "backend": "cpu" if on_cpu else accelerator,
        "machine": platform.machine(),
        "kernels": ("fused" if native.fuses() else "separate") if by_kernels else None,
        "xla_flags": os.environ.get("XLA_FLAGS", "").split(),
        **({"xla_threads": "one"} if on_cpu and native.xla_threads() == 1 else {}),
    }


def _configuration() -> str:
    values = {
        name: repr(value) for name, value in jax.config.values.items() if not _HARMLESS.search(name)
    }
    values["jax_default_device"] = "None"  # what the device is counts, not who chose it
    return spec.digest(values)


def _toolkit() -> str:
    """The program of all functions of the installed optax that engine and measures use."""
    return _traced(libraries())


@functools.lru_cache(maxsize=16)
def _traced(libraries: int) -> str:
    def all_of_it(one: PyTree, other: PyTree) -> PyTree:
        clipped = optax.clip_by_global_norm(1.0).update(one, optax.EmptyState())
        norms = optax.tree.norm(one), optax.tree.norm(one, squared=True)
        return optax.apply_updates(one, other), clipped, norms, optax.tree.vdot(one, other)

    tree = {"a": jnp.zeros((2, 3)), "b": jnp.zeros(4)}
    return program(all_of_it, tree, tree).digest

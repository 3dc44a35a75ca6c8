"""What numbers depend on beside the parts: settings of JAX and XLA, kernels, versions.

| setting | how |
|---|---|
| numbers of attnscape's own parts and kernels | `NUMBERS`, raised with every change of them |
| kernels on or off, their registers' width | part of the identity |
| JAX's configuration (x64, matmul precision, random bits, ...) | part, but for `_HARMLESS` |
| `XLA_FLAGS` | part, as they were when JAX first ran |
| JAX and jaxlib, which compile | their versions are part |
| optax | by the programs it becomes: of every optimizer, and of what the engine takes of it |
| backend and processor's family | part |
| scipy | laws by the tables that are made of them; its version, for LAPACK, is recorded only |
| number of threads, model of the processor | recorded nowhere: the engine's numbers are the same |
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import re
from typing import Any

import jax
import jax.numpy as jnp
import optax

from attnscape import native, spec
from attnscape.identity._program import libraries, program

NUMBERS = 3
"""The version of what attnscape's own parts and kernels compute: raise it when a number changes."""

# JAX's options for looking at what it does, for caches and for hardware that is not there.
_HARMLESS = re.compile(
    r"jax2tf|jax_export|serialization|cache|log|dump|debug_|traceback|profil|pgle"
    r"|check(?!_vma)|cuda_visible|rocm|oneapi|mock|collectives|topology|cross_host|pprint|guard"
    r"|captured_constants|pallas|mosaic|error_num|distributed|recoverability|preemption"
    r"|include_full|source_url|source_file|share_binary|explain|sort_devices|jax_platforms"
    r"|rank_promotion|xla_profile"
)


def settings() -> dict[str, Any]:
    """All of the table above, as they are now."""
    return {"numbers": NUMBERS, **_fixed(), "toolkit": _toolkit(), "jax_config": _configuration()}


@functools.cache
def _fixed() -> dict[str, Any]:
    on_cpu = jax.default_backend() == "cpu"
    kernels = on_cpu and native.library() is not None
    return {
        "versions": {name: importlib.metadata.version(name) for name in ("jax", "jaxlib")},
        "backend": jax.default_backend(),
        "machine": platform.machine(),
        "kernels": native.register_bits() if kernels else None,
        "xla_flags": os.environ.get("XLA_FLAGS", "").split(),
    }


def _configuration() -> str:
    values = {
        name: repr(value) for name, value in jax.config.values.items() if not _HARMLESS.search(name)
    }
    return spec.digest(values)


def _toolkit() -> str:
    """What the engine and the measures take from optax, in whatever form it is installed."""
    return _traced(libraries())


@functools.lru_cache(maxsize=16)
def _traced(libraries: int) -> str:
    def all_of_it(one: Any, other: Any) -> Any:
        clipped = optax.clip_by_global_norm(1.0).update(one, optax.EmptyState())
        norms = optax.tree.norm(one), optax.tree.norm(one, squared=True)
        return optax.apply_updates(one, other), clipped, norms, optax.tree.vdot(one, other)

    tree = {"a": jnp.zeros((2, 3)), "b": jnp.zeros(4)}
    return program(all_of_it, tree, tree).digest

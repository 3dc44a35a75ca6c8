"""`python -m benchmarks --out results [--quick]`."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import rich
import tyro
from rich.console import Console

from attnscape import native
from benchmarks.agreement import DisagreementError
from benchmarks.bridge import bridge
from benchmarks.drawing import drawing
from benchmarks.effort import FULL, QUICK, Effort
from benchmarks.kernels import dense_hessian, kernels
from benchmarks.models import models
from benchmarks.scaling import scaling
from benchmarks.steps import eager_torch, training
from benchmarks.table import tables

_PARTS: dict[str, Callable[[Effort], Any]] = {
    "training": training,
    "models": models,
    "bridge": bridge,
    "kernels": kernels,
    "hessian": dense_hessian,
    "drawing": drawing,
    "scaling": scaling,
}


def measure(effort: Effort, log: Callable[[str], None] = lambda sentence: None) -> dict[str, Any]:
    """Everything that is measured, ready for JSON."""
    result = {"schema": 1, "batch": effort.batch, "machine": _machine(), "versions": _versions()}
    for name, part in _PARTS.items():
        if name == "kernels" and native.why_unavailable():
            result[name] = []
            continue
        log(f"Evaluator: {name}")
        result[name] = part(effort)
    return result


def _machine() -> dict[str, Any]:
    machine: dict[str, Any] = {
        "system": platform.system(),
        "architecture": platform.machine(),
        "processors": os.cpu_count(),
        "threads": native.xla_threads(),
    }
    if not native.why_unavailable():
        machine["instruction_set"] = native.instruction_set()
    return machine


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in ("attnscape", "jax", "jaxlib", "optax", "equinox", "numpy", "torch"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def main(
    out: Annotated[Path, tyro.conf.arg(help="folder for benchmark.json")] = Path("results"),
    quick: Annotated[bool, tyro.conf.arg(help="fewer cases and rounds: a minute or two")] = False,
) -> None:
    """Measures how fast attnscape is on this machine."""
    if native.why_unavailable():
        rich.print(f"{native.why_unavailable()} Measuring the XLA path.")
    if not eager_torch:
        rich.print(
            "PyTorch is not installed: measuring attnscape alone (pip install torch==2.13.0)."
        )
    try:
        result = measure(QUICK if quick else FULL, rich.print)
    except DisagreementError as error:
        sys.exit(str(error))
    out.mkdir(parents=True, exist_ok=True)
    (out / "benchmark.json").write_text(json.dumps(result, indent=1) + "\n")
    # A file has no width of its own; the tables are made for 100 columns.
    Console(width=None if sys.stdout.isatty() else 100).print(*tables(result), sep="\n")
    rich.print(f"Raw numbers: {out / 'benchmark.json'}")


if __name__ == "__main__":
    tyro.cli(main)

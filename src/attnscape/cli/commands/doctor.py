"""`attnscape doctor`: versions, the path in use, and the kernels' speed on this machine."""

from __future__ import annotations

import functools
import platform
import time
import warnings
from importlib.metadata import version
from typing import get_args

import jax
import jax.numpy as jnp
from jaxtyping import PyTree
from rich.console import Console
from rich.table import Table

from attnscape import native, objective
from attnscape.cli._options import Doctor
from attnscape.models import Form, LinearTransformer
from attnscape.tasks import (
    RegressionTask,
)


def run(options: Doctor) -> None:
    """Prints versions, the path in use, and the kernels' speed against the machine's peak."""
    warnings.simplefilter("ignore", native.MissingKernelsWarning)  # reported below instead
    console = Console()
    about = Table("what", "is", show_header=False, box=None)
    about.add_row("Python", platform.python_version())
    for package in ("attnscape", "jax", "jaxlib", "optax", "equinox", "xarray"):
        about.add_row(package, version(package))
    device = native.default_device()
    about.add_row("device", device.platform if device.platform == "cpu" else device.device_kind)
    threads = native.xla_threads()
    about.add_row("threads", str(threads))
    missing = native.why_unavailable()
    about.add_row("path", "XLA" if missing else f"native kernels, {native.instruction_set()}")
    console.print(about)
    if missing:
        console.print(f"{missing} The XLA path takes {_slowdown_words()} a gradient.")
        return
    table = Table("kernel", "GFLOP/s", "FMA peak", "share", title="Loss and gradient, L = 3, d = 5")
    for form in get_args(Form):
        for dtype in ("float32", "float64"):
            rate = gradient_rate(form, dtype, path="native")
            peak = native.peak(dtype, threads)
            table.add_row(
                f"{form} {dtype}", f"{rate / 1e9:.0f}", f"{peak / 1e9:.0f}", f"{rate / peak:.0%}"
            )
    console.print(table)


def _slowdown_words() -> str:
    return f"{1e6 * _seconds_a_gradient('block', 'float32', 'reduced'):.0f} us for 1,000 prompts"


def gradient_rate(form: Form, dtype: str, path: objective.Path) -> float:
    """Floating-point operations per second of the gradient of 1,000 prompts, L = 3, d = 5."""
    operations = 1000 * native.gradient_operations(form, layers=3, dim=5)
    return operations / _seconds_a_gradient(form, dtype, path)


def _seconds_a_gradient(form: Form, dtype: str, path: objective.Path, runs: int = 24) -> float:
    """Seconds per gradient: the best of some timings of `runs` gradients computed at once."""
    with jax.enable_x64(dtype == "float64"):
        moments = RegressionTask().sample_moments(jax.random.key(0), 1000, dtype)
        init = functools.partial(LinearTransformer.init, form=form, dtype=jnp.dtype(dtype))
        models = jax.vmap(init)(jax.random.split(jax.random.key(1), runs))

        @jax.jit
        def gradients(models: PyTree) -> PyTree:
            return jax.vmap(lambda model: objective.value_and_grad(model, moments, path=path))(
                models
            )

        jax.block_until_ready(gradients(models))
        timings = []
        for _ in range(50):
            start = time.perf_counter()
            jax.block_until_ready(gradients(models))
            timings.append(time.perf_counter() - start)
    return min(timings) / runs

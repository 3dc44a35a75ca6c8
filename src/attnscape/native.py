"""The native CPU kernels: finding them, registering them with XLA, describing them.

The kernels are one shared library, built when attnscape is installed. Where it is missing (no C++
compiler at installation) or switched off (`ATTNSCAPE_KERNELS=off`), everything runs through XLA.
"""

import ctypes
import functools
import importlib.metadata
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

_TARGETS = (
    "gradient_float32",
    "gradient_float64",
    "hvp_float32",
    "hvp_float64",
    "hessian_float32",
    "hessian_float64",
    "attention_gradient_float32",
    "attention_gradient_float64",
    "attention_hvp_float32",
    "attention_hvp_float64",
    "front_gradient_float32",
    "front_gradient_float64",
    "front_hvp_float32",
    "front_hvp_float64",
    "moments",
    "normals",
)
FORMS = ("block", "full")  # the order of `Form` in kernels/form.hpp


class MissingKernelsWarning(RuntimeWarning):
    """The native kernels are not there, so a slower path is taken."""


def _file() -> Path | None:
    try:
        distribution = importlib.metadata.distribution("attnscape")
    except importlib.metadata.PackageNotFoundError:
        return None
    path = Path(str(distribution.locate_file("attnscape/_kernels.so")))
    return path if path.exists() else None


@functools.cache
def library() -> ctypes.CDLL | None:
    """The loaded kernels with all targets registered, or None where there are none."""
    if why_unavailable():
        return None
    library = ctypes.CDLL(str(_file()))
    for name in _TARGETS:
        handler = getattr(library, f"attnscape_{name}")
        jax.ffi.register_ffi_target(f"attnscape_{name}", jax.ffi.pycapsule(handler), platform="cpu")
    library.attnscape_peak.restype = ctypes.c_double
    library.attnscape_peak.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_double]
    for count in (library.attnscape_gradient_operations, library.attnscape_hvp_operations):
        count.restype = ctypes.c_int64
        count.argtypes = [ctypes.c_int] * 3
    return library


def why_unavailable() -> str | None:
    """One sentence that says why the kernels cannot be used, or None if they can."""
    if os.environ.get("ATTNSCAPE_KERNELS", "on").lower() in ("off", "0", "no"):
        return "The native kernels are switched off by ATTNSCAPE_KERNELS."
    if _file() is None:
        return (
            "The native kernels were not built (no C++ compiler at installation); "
            "install GCC or Clang and reinstall attnscape to get them."
        )
    return None


def usable(dtype: jax.typing.DTypeLike) -> bool:
    """Whether the kernels serve arrays of `dtype` on the default backend.

    Warns once in a process that runs on the CPU without them.
    """
    if jax.default_backend() != "cpu":
        return False
    if library() is None:
        _warn_once()
        return False
    return jax.numpy.dtype(dtype).name in ("float32", "float64")


@functools.cache
def _warn_once() -> None:
    warnings.warn(
        f"{why_unavailable()} Everything works through XLA, at a fraction of the speed.",
        MissingKernelsWarning,
        stacklevel=4,
    )


def call(
    name: str,
    results: Sequence[tuple[jax.ShapeDtypeStruct, bool]],
    *arguments: tuple[jax.Array | np.ndarray, bool],
    **attributes: int,
) -> Sequence[jax.Array]:
    """Calls a kernel; under `jax.vmap` it is called once, with the mapped axes in front.

    Batches of prompts lie with the batch innermost in memory, so that one register loads the same
    number of neighbouring prompts. Between two kernels XLA drops the transpositions to and fro.

    Args:
        name: The target, without its prefix.
        results: Pairs (shape and dtype, whether its first axis is a batch).
        arguments: Pairs (array, whether its first axis is a batch).
        attributes: Integers handed to the kernel.
    """
    library()  # registers the targets
    drawn = jax.ffi.ffi_call(
        f"attnscape_{name}",
        [_innermost(result) if batched else result for result, batched in results],
        vmap_method="expand_dims",
    )(
        *(jax.numpy.moveaxis(array, 0, -1) if batched else array for array, batched in arguments),
        **{key: np.int32(value) for key, value in attributes.items()},
    )
    return [
        jax.numpy.moveaxis(array, -1, 0) if batched else array
        for array, (_, batched) in zip(drawn, results, strict=True)
    ]


def _innermost(result: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    """The shape with the batch moved from the first axis to the last."""
    return jax.ShapeDtypeStruct((*result.shape[1:], result.shape[0]), result.dtype)


def peak(dtype: jax.typing.DTypeLike, threads: int, seconds: float = 0.2) -> float:
    """Measured fused-multiply-add peak of `threads` threads, in operations per second."""
    kernels = library()
    if kernels is None:
        raise RuntimeError(why_unavailable())
    return kernels.attnscape_peak(jax.numpy.dtype(dtype).itemsize, threads, seconds)


def gradient_operations(form: str, layers: int, dim: int) -> int:
    """Floating-point operations of loss and gradient for one prompt, counted by the kernel."""
    return _operations("gradient", form, layers, dim)


def hvp_operations(form: str, layers: int, dim: int) -> int:
    """Floating-point operations of a Hessian-vector product for one prompt, counted likewise."""
    return _operations("hvp", form, layers, dim)


def _operations(quantity: str, form: str, layers: int, dim: int) -> int:
    kernels = library()
    if kernels is None:
        raise RuntimeError(why_unavailable())
    size = dim + 1 if form == "full" else dim
    return getattr(kernels, f"attnscape_{quantity}_operations")(FORMS.index(form), size, layers)


def register_bits() -> int:
    """Width of the SIMD registers that the kernels were built for."""
    kernels = library()
    if kernels is None:
        raise RuntimeError(why_unavailable())
    return kernels.attnscape_register_bits()

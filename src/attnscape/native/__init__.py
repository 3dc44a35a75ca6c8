"""The native CPU kernels: loads them, registers them with XLA, and describes them.

The kernels are built when attnscape is installed, as one shared library for each instruction set;
the best that the processor has is loaded. `ATTNSCAPE_KERNELS` may name another (`avx512`, `avx2`,
`baseline`), or the file of another build. If there are none (no C++ compiler at installation) or
they are switched off (`ATTNSCAPE_KERNELS=off`), everything runs through XLA, as it does if JAX
computes on an accelerator.
"""

import contextlib
import ctypes
import functools
import os
import warnings
from collections.abc import Generator, Sequence

import jax
import numpy as np
from jaxlib._jax import Device  # jax.Device, which type checkers take for a variable

from attnscape.native._build import INSTRUCTION_SETS, chosen_library

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
    "mlp_attention_gradient_float32",
    "mlp_attention_gradient_float64",
    "mlp_attention_hvp_float32",
    "mlp_attention_hvp_float64",
    "moments_float32",
    "moments_float64",
    "points_float32",
    "points_float64",
    "radial_points",
    "normals",
)
FORMS = ("block", "full")  # the order of `Form` in kernels/form.hpp


class MissingKernelsWarning(RuntimeWarning):
    """The native kernels are missing, so a slower path is used."""


def default_device() -> Device:
    """The device that JAX computes on, unless its arguments are on another.

    `jax.default_backend` does not know of the user's `jax.default_device`.

    Examples:
        >>> import jax
        >>> from attnscape.native import default_device
        >>> device = jax.devices()[-1]
        >>> with jax.default_device(device):
        ...     default_device() is device
        True
    """
    chosen: Device | str | None = jax.config.values["jax_default_device"]
    if chosen is None:
        return jax.local_devices()[0]
    return jax.local_devices(backend=chosen)[0] if isinstance(chosen, str) else chosen


def xla_threads() -> int:
    """How many threads XLA has on the CPU, by the environment in which it starts."""
    for name in ("PJRT_NPROC", "NPROC"):
        if (number := os.environ.get(name, "")).isdecimal():
            return int(number)
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@functools.cache
def library() -> ctypes.CDLL | None:
    """The loaded kernels with all targets registered, or None if there are none."""
    file = chosen_library()
    if isinstance(file, str):
        return None
    library = ctypes.CDLL(str(file))
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
    """A sentence on why the kernels cannot be used; None if they can.

    Examples:
        >>> from attnscape.native import usable, why_unavailable
        >>> (why_unavailable() is None) == usable("float32")
        True
    """
    platform = default_device().platform
    if platform != "cpu":
        return f"The native kernels are for the CPU, and JAX computes on {platform}."
    return _why_missing()


def _why_missing() -> str | None:
    """A sentence on why there are no kernels on the CPU; None if there are."""
    library = chosen_library()
    return library if isinstance(library, str) else None


def usable(dtype: jax.typing.DTypeLike) -> bool:
    """Whether the kernels can be used for arrays of `dtype` on the default device.

    Warns once per process if they are missing on the CPU.

    Examples:
        >>> from attnscape.native import usable
        >>> usable("float16")
        False
    """
    if default_device().platform != "cpu":
        return False
    if library() is None:
        warn_if_missing()
        return False
    return jax.numpy.dtype(dtype).name in ("float32", "float64")


@functools.cache
def warn_if_missing() -> None:
    """Warns if there are no kernels on the CPU, but only once per process.

    Examples:
        >>> from attnscape.native import warn_if_missing
        >>> warn_if_missing()
        >>> warn_if_missing()  # says nothing in any case
    """
    if why := _why_missing():
        warnings.warn(
            f"{why} Everything works through XLA, at a fraction of the speed.",
            MissingKernelsWarning,
            stacklevel=3,
        )


def call(
    name: str,
    results: Sequence[tuple[jax.ShapeDtypeStruct, bool]],
    *arguments: tuple[jax.Array | np.ndarray, bool],
    **attributes: int,
) -> Sequence[jax.Array]:
    """Calls a kernel; under `jax.vmap` it is called once, with the mapped axes in front.

    The batch is the innermost axis in memory, so that one register loads the same number of
    neighbouring prompts. XLA removes transpositions that cancel between two kernels.

    Args:
        name: The target, without its prefix.
        results: Pairs (shape and dtype, whether its first axis is a batch).
        arguments: Pairs (array, whether its first axis is a batch).
        attributes: Integers passed to the kernel.
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


@contextlib.contextmanager
def callers(count: int) -> Generator[None]:
    """Context manager: `count` threads call kernels at once, so each call gets fewer helpers.

    Results do not depend on it.
    """
    kernels = library()
    if kernels is None:
        yield
        return
    kernels.attnscape_add_callers(count - 1)
    try:
        yield
    finally:
        kernels.attnscape_add_callers(1 - count)


def _innermost(result: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    """The shape with the batch moved from the first axis to the last."""
    return jax.ShapeDtypeStruct((*result.shape[1:], result.shape[0]), result.dtype)


def peak(dtype: jax.typing.DTypeLike, threads: int, seconds: float = 0.2) -> float:
    """Measured fused-multiply-add peak of `threads` threads, in operations per second."""
    return _loaded().attnscape_peak(jax.numpy.dtype(dtype).itemsize, threads, seconds)


def gradient_operations(form: str, layers: int, dim: int) -> int:
    """Floating-point operations of loss and gradient for one prompt, counted by the kernel.

    Examples:
        >>> from attnscape.native import gradient_operations
        >>> gradient_operations("block", layers=1, dim=2)  # doctest: +SKIP
        64
    """
    return _operations("gradient", form, layers, dim)


def hvp_operations(form: str, layers: int, dim: int) -> int:
    """Floating-point operations of a Hessian-vector product for one prompt, by the same count.

    Examples:
        >>> from attnscape.native import hvp_operations
        >>> hvp_operations("block", layers=1, dim=2)  # doctest: +SKIP
        153
    """
    return _operations("hvp", form, layers, dim)


def _operations(quantity: str, form: str, layers: int, dim: int) -> int:
    size = dim + 1 if form == "full" else dim
    return getattr(_loaded(), f"attnscape_{quantity}_operations")(FORMS.index(form), size, layers)


def instruction_set() -> str:
    """The instruction set that the loaded kernels were built for.

    Examples:
        >>> from attnscape.native import INSTRUCTION_SETS, instruction_set
        >>> instruction_set() in INSTRUCTION_SETS  # doctest: +SKIP
        True
    """
    return INSTRUCTION_SETS[_loaded().attnscape_instruction_set()]


def fuses() -> bool:
    """Whether the loaded kernels round a product and the sum it goes into once, not twice.

    Their results depend on this; on the instruction set they do not depend otherwise.
    """
    return bool(_loaded().attnscape_fuses())


def _loaded() -> ctypes.CDLL:
    kernels = library()
    if kernels is None:
        raise RuntimeError(_why_missing())
    return kernels

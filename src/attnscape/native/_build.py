"""Which of the libraries that were built is the one to load."""

from __future__ import annotations

import ctypes
import functools
import importlib.metadata
import os
from pathlib import Path

INSTRUCTION_SETS = ("baseline", "avx2", "avx512")
"""From slow to fast; kernels/machine.cpp numbers them in this order."""


def chosen_library() -> Path | str:
    """The file of the library to load, or a sentence on why there is none."""
    chosen = os.environ.get("ATTNSCAPE_KERNELS", "on")
    if chosen.lower() in ("off", "0", "no"):
        return "The native kernels are switched off by ATTNSCAPE_KERNELS."
    if chosen.endswith(".so"):
        if os.path.isfile(chosen):
            return Path(chosen).absolute()
        return f"ATTNSCAPE_KERNELS names {chosen}, where there is no file."
    built = _built()
    if "baseline" not in built:
        return (
            "The native kernels were not built (no C++ compiler at installation); "
            "install GCC or Clang and reinstall attnscape to get them."
        )
    best = _best_of_processor(built["baseline"])
    usable = [name for name in built if name in INSTRUCTION_SETS[: best + 1]]
    if chosen in usable:
        return built[chosen]
    if chosen.lower() in ("on", "1", "yes", ""):
        return built[usable[-1]]
    allowed = f"it must be on, off, {', '.join(usable)}, or the file of another build (.so)."
    if chosen in built:
        return f"ATTNSCAPE_KERNELS is {chosen}, which this processor does not have; {allowed}"
    return f"ATTNSCAPE_KERNELS is {chosen}, for which there are no kernels; {allowed}"


def _built() -> dict[str, Path]:
    """The libraries that were built, by their instruction sets, from slow to fast."""
    try:
        distribution = importlib.metadata.distribution("attnscape")
    except importlib.metadata.PackageNotFoundError:
        return {}
    files = {
        name: Path(str(distribution.locate_file(f"attnscape/_kernels_{name}.so")))
        for name in INSTRUCTION_SETS
    }
    return {name: file for name, file in files.items() if file.exists()}


@functools.cache
def _best_of_processor(baseline: Path) -> int:
    """The number of the best instruction set that processor and system have.

    Asked from the library that every processor runs.
    """
    return ctypes.CDLL(str(baseline)).attnscape_best_instruction_set()

"""Instructions of the kernels, counted by callgrind: `python -m benchmarks.instructions`.

Times differ between machines and hours, instructions do not. They are counted on the kernels for
AVX2, because callgrind does not know AVX-512, and stored in `benchmarks/instructions.json`, which a
test compares with.
"""

from __future__ import annotations

import ctypes
import dataclasses
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import jax.ffi
import numpy as np
import rich
import tyro
from rich import box
from rich.console import Console
from rich.table import Table

from attnscape.native import FORMS, INSTRUCTION_SETS

FILE = Path(__file__).with_suffix(".json")
_ROOT = Path(__file__).parents[1]
_CALLER = _ROOT / "tests" / "kernels" / "counted_calls.cpp"
_GROUP = 8  # prompts, for which instructions are given
_REGISTER_BYTES = 32
_LINE = 64  # bytes of a line of the instruction cache
_CHUNK, _LANES = 128, 16  # prompts, as in kernels/chunks.hpp and lanes.hpp
_CONTEXT = 20
# No memory is set or copied by one instruction that counts as one for each byte.
_TUNABLES = "glibc.cpu.x86_rep_stosb_threshold=1000000000"
_TUNABLES += ":glibc.cpu.x86_rep_movsb_threshold=1000000000"
_SHARE = 0.05  # of the stored instructions: what a count may differ by


@dataclasses.dataclass(frozen=True)
class Case:
    """A handler and its sizes.

    Attributes:
        kernel: The handler, without its precision.
        form: The form of the model; of moments, the distribution of covariates.
        layers: L, 0 for moments.
        dim: d.
        dtype: The precision.
    """

    kernel: str
    form: str
    layers: int
    dim: int
    dtype: str = "float32"

    @property
    def handler(self) -> str:
        return f"{self.kernel}_{self.dtype}"

    @property
    def label(self) -> str:
        layers = f" L={self.layers}" if self.layers else ""
        return f"{self.kernel} {self.form}{layers} d={self.dim} {self.dtype}"

    @property
    def prompts(self) -> int:
        """By which the counted calls differ: a chunk of the kernels, or fewer if that is much."""
        return _LANES if self.kernel == "hessian" or self.dim > 6 else _CHUNK

    def words(self) -> str:
        """The case as the caller reads it."""
        form = (_DISTRIBUTIONS if self.kernel == "moments" else FORMS).index(self.form)
        return f"{self.handler}:{form}:{self.layers}:{self.dim}:{_CONTEXT}:{self.prompts}"


_DISTRIBUTIONS = ("gaussian", "correlated", "sphere", "radial")  # as kernels/sampler.cpp counts
CASES = (
    *(Case("gradient", "block", layers, dim) for layers in (3, 8) for dim in (3, 4, 5)),
    *(Case("gradient", "full", layers, 5) for layers in (3, 8)),
    *(Case("gradient", form, 3, 5, "float64") for form in FORMS),
    Case("gradient", "block", 8, 20),
    *(Case("hvp", form, 3, 5) for form in FORMS),
    Case("hvp", "block", 3, 5, "float64"),
    *(Case("hessian", form, 3, 5, "float64") for form in FORMS),
    Case("hessian", "block", 3, 5),
    Case("moments", "gaussian", 0, 5),
    Case("moments", "gaussian", 0, 5, "float64"),
    Case("moments", "radial", 0, 5),
    Case("attention_gradient", "block", 3, 5),
    Case("mlp_attention_gradient", "full", 3, 5),
)


class NotCountableError(Exception):
    """Why instructions cannot be counted here, in a sentence."""


class Kernels:
    """Kernels for AVX2.

    Raises:
        NotCountableError: If there are none in the file.
    """

    def __init__(self, file: Path) -> None:
        if not file.exists():
            raise NotCountableError(f"There are no kernels for AVX2: {file.name} was not built.")
        self.file, self._library = file, ctypes.CDLL(str(file))
        if self._library.attnscape_instruction_set() != INSTRUCTION_SETS.index("avx2"):
            raise NotCountableError(f"The kernels in {file.name} are not for AVX2: give others.")

    def compiler(self) -> str:
        """The compiler as it signs its work."""
        found = re.search(rb"(GCC: [^\0]+|[^\0]*clang version [^\0]+)\0", self.file.read_bytes())
        return found[1].decode() if found else "unknown"

    def multiply_adds(self, case: Case) -> float | None:
        """Multiply-adds on registers that a group of prompts needs at least; None if not known.

        A Hessian is reckoned as a Hessian-vector product for each of its rows.
        """
        if case.kernel not in ("gradient", "hvp", "hessian"):
            return None
        size = case.dim + (case.form == "full")
        quantity = "gradient" if case.kernel == "gradient" else "hvp"
        count = getattr(self._library, f"attnscape_{quantity}_operations")
        count.restype, count.argtypes = ctypes.c_int64, [ctypes.c_int] * 3
        rows = 2 * case.layers * size**2 if case.kernel == "hessian" else 1
        lanes = _REGISTER_BYTES // np.dtype(case.dtype).itemsize
        return rows * count(FORMS.index(case.form), size, case.layers) / 2 * _GROUP / lanes


def find_kernels() -> Kernels:
    """The kernels for AVX2 that were built with the package.

    Raises:
        NotCountableError: If there are none.
    """
    package = importlib.metadata.distribution("attnscape")
    return Kernels(Path(str(package.locate_file("attnscape/_kernels_avx2.so"))))


def count(kernels: Kernels, cases: Sequence[Case] = CASES) -> list[dict[str, Any]]:
    """For each case its instructions for 8 prompts, and the code that they are.

    Raises:
        NotCountableError: If a program is missing that this needs.
    """
    for program in ("valgrind", "c++"):
        if shutil.which(program) is None:
            raise NotCountableError(f"There is no {program} here, which counting needs.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        include = ["-isystem", jax.ffi.include_dir()]
        _run(["c++", "-std=c++17", *include, _CALLER, "-o", folder / "caller", "-ldl"])
        command = ["valgrind", "--tool=callgrind", "--collect-atstart=no", "--dump-instr=yes"]
        command += ["--compress-pos=no", f"--callgrind-out-file={folder / 'counts'}"]
        command += [
            "--toggle-collect=attnscape_*"
        ]  # several of these do not work, one pattern does
        for handler in dict.fromkeys(case.handler for case in cases):
            command += [f"--dump-after=attnscape_{handler}"]
        words = [case.words() for case in cases]
        _run([*command, folder / "caller", kernels.file, *words], GLIBC_TUNABLES=_TUNABLES)
        return [_row(kernels, case, folder, index) for index, case in enumerate(cases)]


def _run(command: Sequence[object], **environment: str) -> None:
    done = subprocess.run(
        list(map(str, command)),
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise NotCountableError(f"{command[0]} failed: {done.stderr.strip()}")


def _row(kernels: Kernels, case: Case, folder: Path, index: int) -> dict[str, Any]:
    # After the call that makes memory, the one with some prompts and the one with twice as many.
    once, twice = (_costs(folder / f"counts.{3 * index + number}") for number in (2, 3))
    groups = case.prompts // _GROUP
    added = twice - once
    instructions = (twice.total() - once.total()) / groups
    # What runs for every group, or more often, is what has to stay in the instruction cache.
    lines = {address // _LINE for address, cost in added.items() if cost >= groups}
    row = dataclasses.asdict(case) | {"instructions": instructions, "code": _LINE * len(lines)}
    if needed := kernels.multiply_adds(case):
        row |= {"multiply_adds": needed, "each": instructions / needed}
    return row


def _costs(file: Path) -> Counter[int]:
    """How often the instruction at each address ran."""
    totals = Counter[int]()
    lines = iter(file.read_text().splitlines())
    for line in lines:
        if line.startswith("calls="):
            next(lines)  # what the called function costs, which stands at that function too
        elif line.startswith("0x"):
            address, _, cost = line.split()
            totals[int(address, 16)] += int(cost)
    return totals


def stored() -> dict[str, Any]:
    """What was counted when the kernels last changed."""
    return json.loads(FILE.read_text())


def changes(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """By label, how many times as many instructions each case takes as it did when stored."""
    before = {_case(row).label: row["instructions"] for row in stored()["rows"]}
    labels = ((_case(row).label, row["instructions"]) for row in rows)
    return {label: now / before[label] for label, now in labels if label in before}


def changed(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Those of the `changes` that are more than 5 % either way."""
    return {label: each for label, each in changes(rows).items() if abs(each - 1) > _SHARE}


def _case(row: dict[str, Any]) -> Case:
    return Case(**{field.name: row[field.name] for field in dataclasses.fields(Case)})


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """The counts beside the stored ones."""
    columns = ("kernel", "instructions,\n8 prompts", "of stored", "multiply-adds\nneeded",
               "instructions\neach", "code, kB")  # fmt: skip
    result = Table(box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1))
    for number, column in enumerate(columns):
        result.add_column(column, justify="right" if number else "left")
    ratios = changes(rows) if FILE.exists() else {}
    for row in rows:
        label = _case(row).label
        result.add_row(
            label,
            f"{row['instructions']:,.0f}",
            f"{ratios[label]:.3f}" if label in ratios else "new",
            f"{row['multiply_adds']:,.0f}" if "multiply_adds" in row else "-",
            f"{row['each']:.2f}" if "each" in row else "-",
            f"{row['code'] / 1000:.1f}",
        )
    return result


def main(
    kernels: Annotated[Path | None, tyro.conf.arg(help="kernels to count, built for AVX2")] = None,
    only: Annotated[str, tyro.conf.arg(help="only cases whose label has these words")] = "",
) -> None:
    """Counts the kernels' instructions, and stores them unless only some are counted."""
    found = Kernels(kernels) if kernels else find_kernels()
    rows = count(found, [case for case in CASES if only in case.label])
    # A file has no width of its own.
    Console(width=None if sys.stdout.isatty() else 100).print(table(rows))
    if not only:
        content = {"schema": 1, "compiler": found.compiler(), "system": platform.machine()}
        FILE.write_text(json.dumps(content | {"rows": rows}, indent=1) + "\n")
        rich.print(f"Stored in {FILE}.")


if __name__ == "__main__":
    tyro.cli(main)

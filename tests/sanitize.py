"""Builds the kernels with sanitizers and runs their properties on them: `make sanitize`.

AddressSanitizer and UndefinedBehaviorSanitizer see random calls of every handler, in arrays of
exactly their size, and the tests of the kernels in Python, where XLA calls them. ThreadSanitizer
sees the random calls, in which several threads call at once: it cannot see into XLA, whose own
threads it would take for races.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = ("native", "objective", "attention", "mlp_attention", "tasks")
INSTRUCTION_SET = "avx2" if platform.machine() in ("x86_64", "AMD64") else "baseline"
SEEDS, CASES = 5, 200  # of the random calls


def main() -> None:
    """Runs everything; the first fault ends it, with what the sanitizer says."""
    compiler = os.environ.get("CXX", "c++")
    for program in ("cmake", "ninja", compiler):
        if shutil.which(program) is None:
            sys.exit(f"make sanitize: there is no {program} here; install it to build the kernels.")
    for sanitizers in ("address,undefined", "thread"):
        check_compiler(compiler, sanitizers)
    address = build("address,undefined")
    thread = build("thread")
    for seed in range(SEEDS):
        run_random_calls(address, seed)
        run_random_calls(thread, seed)
    run_tests(address, compiler)


def check_compiler(compiler: str, sanitizers: str) -> None:
    """Ends with a sentence where the compiler has no runtime of these sanitizers."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "nothing.cpp")
        source.write_text("int main() {}")
        command = [compiler, f"-fsanitize={sanitizers}", source, "-o", source.with_suffix("")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or subprocess.run([source.with_suffix("")], check=False).returncode:
            sys.exit(
                f"make sanitize: {compiler} makes no program with -fsanitize={sanitizers} that "
                "runs here; install the runtimes of its sanitizers, or name another in CXX."
            )


def build(sanitizers: str) -> Path:
    """The folder with the kernels, and the program that calls them."""
    folder = ROOT / "build" / f"sanitize-{sanitizers.partition(',')[0]}"
    options = {"CMAKE_BUILD_TYPE": "Debug", "Python_EXECUTABLE": sys.executable}
    options |= {"ATTNSCAPE_SANITIZE": sanitizers, "ATTNSCAPE_TARGETS": INSTRUCTION_SET}
    words = [f"-D{name}={value}" for name, value in options.items()]
    run(["cmake", "-S", ROOT, "-B", folder, "-G", "Ninja", *words])
    run(["cmake", "--build", folder])
    return folder


def run_random_calls(folder: Path, seed: int) -> None:
    run([folder / "random_calls", folder / f"_kernels_{INSTRUCTION_SET}.so", 1000 * seed, CASES])


def run_tests(folder: Path, compiler: str) -> None:
    """The tests of the kernels in Python, with the sanitizer's runtime loaded before all else."""
    runtimes = [
        subprocess.check_output([compiler, f"-print-file-name={name}"], text=True).strip()
        for name in ("libasan.so", "libstdc++.so")
    ]
    run(
        # What pytest captures is lost when a sanitizer ends the process.
        [sys.executable, "-m", "pytest", "-v", "--capture=no", "-p", "no:xdist"]
        + ["-p", "no:cacheprovider"]
        + [ROOT / "tests" / f"test_{name}.py" for name in TESTS],
        LD_PRELOAD=":".join(runtimes),
        ATTNSCAPE_KERNELS=str(folder / f"_kernels_{INSTRUCTION_SET}.so"),
        PYTHONMALLOC="malloc",
    )


def run(command: list[object], **environment: str) -> None:
    # What Python has not freed when it ends is no leak of the kernels.
    options = {"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1"}
    words = [str(word) for word in command]
    print(f"make sanitize: {' '.join(words)}", flush=True)
    done = subprocess.run(words, cwd=ROOT, env=os.environ | options | environment, check=False)
    if done.returncode:
        sys.exit(f"make sanitize: {Path(words[0]).name} found a fault; it is described above.")


if __name__ == "__main__":
    main()

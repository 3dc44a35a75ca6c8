"""The wheel: a machine without a compiler installs it, and computes the same bits."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from attnscape import native
from support import needs_kernels

ROOT = Path(__file__).parents[1]
TRAINING = """
import functools, hashlib
import jax, numpy as np
import attnscape
from attnscape import LinearTransformer, RegressionTask, train
from attnscape.optimizers import PAPER

init = functools.partial(LinearTransformer.init, layers=3, dim=5)
runs = train(RegressionTask(), init, PAPER, (0.02, 0.1), (0, 1), steps=20, batch=300)
print(attnscape.__file__)
for name in sorted(runs.data_vars):
    print(name, hashlib.sha256(np.asarray(runs[name].values).tobytes()).hexdigest())
"""


@pytest.mark.slow
@needs_kernels
@pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler")
def test_a_machine_without_a_compiler_installs_the_wheel(tmp_path):
    pip = [sys.executable, "-m", "pip", "--quiet"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, ROOT]
    subprocess.run([*pip, *build], check=True)
    (wheel,) = tmp_path.glob("attnscape-*-py3-none-*.whl")
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    python = venv / "bin" / "python"
    subprocess.run(
        [*pip, "--python", python, "install", "--no-deps", "--no-index", wheel], check=True
    )
    # What attnscape needs is taken from here, to save a download.
    (packages,) = (venv / "lib").glob("python3*/site-packages")
    (packages / "here.pth").write_text(sysconfig.get_path("purelib"))
    alone = os.environ | {"PATH": str(venv / "bin")}

    def said(*words):
        words = [str(word) for word in words]
        return subprocess.run(
            words, env=alone, cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    assert f"native kernels, {native.instruction_set()}" in said(
        venv / "bin" / "attnscape", "doctor"
    )
    file, *installed = said(python, "-c", TRAINING).splitlines()
    assert Path(file).is_relative_to(packages)
    assert installed == said(sys.executable, "-c", TRAINING).splitlines()[1:]

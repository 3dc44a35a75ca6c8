"""Commands killed at random moments leave what one leaves that was never stopped."""

import os
import random
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

# Imports everything, and then lets children run the command, each for some seconds.
LIVES = """
import dataclasses, importlib, os, signal, sys, time, warnings
import jax
from attnscape.cli import main
from attnscape.experiments import checkpoints
command = importlib.import_module(f"attnscape.cli.commands.{sys.argv[1]}")
checkpoints._SECONDS, checkpoints._TIMES = 0.05, 1
warnings.simplefilter("ignore")  # of forks: no thread has been started yet
PREPARE
for line in sys.stdin:
    if line == "keep\\n":
        os.rename("out", "whole")
        continue
    child = os.fork()
    if child == 0:
        main.main()
        sys.stdout.flush()
        os._exit(0)
    if float(line) > 0:
        time.sleep(float(line))
        os.kill(child, signal.SIGKILL)
    print("ended", os.waitpid(child, 0)[1], flush=True)
"""
# Runs of the artifacts are computed in the command's own process, and shorter than with --quick.
SHORT = """
from attnscape.experiments.setting import Plan
from attnscape.paper.artifacts import ARTIFACTS
from attnscape.workflows import run_queue
run_queue.processors = lambda: 1
command.QUICK = Plan(seeds=2, steps=1500, evaluations=1)
fig2 = dataclasses.replace(ARTIFACTS["fig2"], settings=ARTIFACTS["fig2"].settings[:1])
command.ARTIFACTS = {**ARTIFACTS, "fig2": fig2}
"""
TRAIN = (
    *("train", "--dim", 2, "--context", 3, "--layers", 1, "--seeds", 3, "--batch", 8),
    *("--evaluation-batch", 8, "--measure-every", 500, "--optimizers", "adam", "sgdm"),
)
BENCH = ("bench", "--settings", "setting-1", "--seeds", 1, "--steps")
REPRODUCE = ("reproduce", "--quick", "table1", "fig2")
CASES = {
    "train": ((*TRAIN, "--steps", 20_000), 5, ""),
    "bench": ((*BENCH, 300), 3, ""),
    "reproduce": (REPRODUCE, 3, SHORT),
    "train-200": ((*TRAIN, "--steps", 1_000_000), 200, ""),
    "bench-200": ((*BENCH, 3_000), 200, ""),
    "reproduce-200": (REPRODUCE, 200, SHORT.replace("1500", "20_000")),
}


# By day a command that trains, and one that draws: bench keeps runs and draws as reproduce does.
DAILY = ("train", "reproduce")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n not in DAILY)) for n in CASES]
)
def test_a_command_killed_at_random_moments_leaves_what_one_leaves_that_was_not(tmp_path, name):
    words, kills, prepare = CASES[name]
    generator = random.Random(kills)
    seconds = [generator.uniform(0.1, 1.5) for _ in range(kills)]
    script = LIVES.replace("PREPARE", prepare)
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, words), "--out", "out"],
        input="".join(f"{line}\n" for line in [0, "keep", *seconds, 0]),
        cwd=tmp_path, capture_output=True, text=True, check=True, timeout=3600,
    )  # fmt: skip
    ends = [int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("ended")]
    assert (ends[0], ends[-1]) == (0, 0)
    assert ends.count(signal.SIGKILL) >= 0.6 * kills
    killed, whole = (contents(tmp_path / folder) for folder in ("out", "whole"))
    assert killed.keys() == whole.keys()
    assert [name for name in whole if killed[name] != whole[name]] == []


def contents(folder):
    """The bytes of all files of a folder, but those that only say who writes there."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in files
        if path.suffix not in (".partial", ".lock")
    }

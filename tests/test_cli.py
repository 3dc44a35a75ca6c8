"""The command line: instant help, sentences for mistakes, a clean end, results found again."""

import functools
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from attnscape import commands, native, results
from attnscape.experiment import Experiment
from attnscape.optimizers import NAMED
from attnscape.paper.settings import Plan

ATTNSCAPE = Path(sys.executable).with_name("attnscape")
TINY = (
    *("--dim", 2, "--context", 3, "--layers", 1, "--seeds", 2),
    *("--steps", 5, "--batch", 8, "--evaluation-batch", 8),
)


def run(*words, **environment):
    """Runs the installed command."""
    return subprocess.run(
        [ATTNSCAPE, *map(str, words)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_help_imports_nothing_that_takes_long():
    script = """
import sys
from attnscape.cli import main
for command in ([], ["reproduce"], ["report"], ["train"], ["check"], ["doctor"]):
    sys.argv = ["attnscape", *command, "--help"]
    try:
        main()
    except SystemExit as end:
        assert end.code == 0
slow = {"jax", "numpy", "scipy", "pandas", "xarray", "matplotlib", "jinja2"}
print("imported:", *slow & sys.modules.keys())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("imported:\n")


def test_help_names_every_optimizer(attnscape, capsys):
    with pytest.raises(SystemExit):
        attnscape("train", "--help")
    assert f"Any of {', '.join(NAMED)}." in " ".join(
        capsys.readouterr().out.replace("│", "").split()
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("reproduce fig99", "There is no artifact 'fig99'; there are fig2, .*"),
        ("reproduce fig2 --seeds 0", "--seeds is 0; it must be at least 1."),
        ("train --optimizers loin", "There is no optimizer 'loin'; there are sgd, sgdm, .*"),
        ("train --optimizers", "No optimizer was given; name at least one."),
        ("train --learning-rates 0", "The learning rate 0.0 is not usable; it must be positive.*"),
        ("train --learning-rates nan", "The learning rate nan is not usable; it must be .*"),
        ("train --learning-rates fast", "The learning rate 'fast' is not a number; write 0.02.*"),
        ("train --learning-rates lion=1", "'lion=1' gives rates for 'lion', but the optimizers.*"),
        ("train --learning-rates sgdm=1", "No learning rate was given for adam; add adam=0.02."),
        ("train --dim 0", "dim is 0; it must be a whole number of at least 1."),
        ("train --context 0", "context is 0; it must be a whole number of at least 1."),
        ("train --layers 0", "layers is 0 and dim 5; both must be at least 1."),
        ("train --seeds 0", "--seeds is 0; it must be at least 1."),
        ("train --steps -1", "--steps is -1; it must be at least 0."),
        ("train --batch 0", "batch is 0; it must be a whole number of at least 1."),
        ("train --clip -1", "--clip is -1.0; it must be positive, or 0 for no clipping."),
        ("train --measure-every 0", "--measure-every is 0; it must be at least 1."),
        ("train --evaluation-seed -1", "The seed -1 is not usable; give whole numbers from 0 .*"),
        ("train --name a/b", "The name 'a/b' does not do for a file; give at most 100 letters.*"),
        ("report", "The folder .* holds nothing that `attnscape reproduce` made; choose another.*"),
    ],
)
def test_a_mistake_gets_one_sentence_and_writes_nothing(attnscape, tmp_path, words, sentence):
    with pytest.raises(SystemExit) as end:
        attnscape(*words.split(), "--out", tmp_path / "out")
    assert re.fullmatch(f"attnscape: {sentence}", str(end.value.code))
    assert str(end.value.code).endswith(".")
    assert not any(tmp_path.rglob("*.*"))


@pytest.mark.parametrize(
    ("law", "reason"),
    [
        ("gamma(", "'(' was never closed"),
        ("gamma", "it is not a call"),
        ("gamma()", "missing 1 required positional argument: 'a'"),
        ("gama(1)", "scipy.stats has no distribution 'gama'"),
        ("gamma(1 + 1)", "1 + 1 is not a plain number"),
        ("gamma(1, **{'scale': 2})", "{'scale': 2} is not a plain number"),
        ("gamma(-1)", "which scipy.stats does not allow"),
        ("norm(0)", "|x|^2 cannot be negative"),
    ],
)
def test_a_malformed_law_gets_its_reason(attnscape, tmp_path, law, reason):
    with pytest.raises(SystemExit) as end:
        attnscape("train", "--covariates", "radial", "--squared-radius", law, "--out", tmp_path)
    assert reason in str(end.value.code)


@pytest.mark.parametrize(
    ("words", "code", "word"),
    [
        ("", 2, "reproduce"),
        ("reproduce fig99", 1, "fig99"),
        ("train --steps few", 2, "few"),
        ("train --covariates cauchy", 1, "cauchy"),
        ("train --speed 9", 2, "--speed"),
        ("train --out {file}/below", 1, "cannot be made"),
    ],
)
def test_the_installed_command_ends_mistakes_without_a_traceback(tmp_path, words, code, word):
    file = tmp_path / "file"
    file.touch()
    done = run(*words.format(file=file).split())
    assert (done.returncode, done.stdout) == (code, "")
    assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.skipif(os.name != "posix", reason="needs SIGINT")
@pytest.mark.parametrize("seconds", [0, 3], ids=["compiling", "training"])
def test_ctrl_c_ends_with_a_sentence_and_leaves_nothing(tmp_path, seconds):
    out = tmp_path / "out"
    # Where the tests run in the background, children would ignore the signal.
    script = (
        "import signal as s; s.signal(s.SIGINT, s.default_int_handler); import attnscape.cli as c"
    )
    words = ("train", *TINY, "--steps", 10**9, "--measure-every", 10**6, "--out", out)
    with subprocess.Popen(
        [sys.executable, "-c", f"{script}; c.main()", *map(str, words)],
        stderr=subprocess.PIPE,
        text=True,
    ) as training:
        while not out.exists():  # made just before training starts
            assert training.poll() is None
            time.sleep(0.05)
        time.sleep(seconds)
        training.send_signal(signal.SIGINT)
        try:
            _, said = training.communicate(timeout=120)
        finally:
            training.kill()
    assert training.returncode == 130
    assert said.endswith("interrupted; finished runs are kept, the one under way is not.\n")
    assert "Traceback" not in said
    assert not any(out.iterdir())


def test_train_shows_a_table_and_the_file_and_finds_it_the_second_time(
    attnscape, tmp_path, monkeypatch
):
    words = ("train", *TINY, "--measure-every", 2, "--out", tmp_path)
    *table, path = attnscape(*words, "--name", "first").splitlines()
    assert [sum(name in line for line in table) for name in ("sgdm", "adam")] == [1, 1]
    assert "diverged" not in "".join(table)
    assert "inf" not in "".join(table)
    assert list(results.load(path).step) == [0, 2, 4, 5]
    monkeypatch.setattr(Experiment, "run", lambda *_: pytest.fail("trained again"))
    assert attnscape(*words, "--name", "second").splitlines() == [*table, path]
    assert list(tmp_path.iterdir()) == [Path(path)]


def test_train_says_how_many_runs_diverged(attnscape, tmp_path):
    shown = attnscape(
        "train", *TINY, "--learning-rates", "sgdm=0.01", "adam=1e30", "--out", tmp_path
    )
    (line,) = (line for line in shown.splitlines() if "1e+30" in line)
    assert "inf" in line
    assert shown.count("diverged") == 1


def test_train_without_kernels_says_so_once(tmp_path):
    done = run("train", *TINY, "--out", tmp_path, ATTNSCAPE_KERNELS="off")
    assert done.returncode == 0
    assert done.stderr == (
        "attnscape: The native kernels are switched off by ATTNSCAPE_KERNELS. "
        "Everything works through XLA, at a fraction of the speed.\n"
    )
    assert Path(done.stdout.splitlines()[-1]).is_file()


def test_reproduce_makes_the_artifact_and_the_page(attnscape, tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "QUICK", Plan(seeds=1, steps=2))
    said = attnscape("reproduce", "fig2", "--quick", "--out", tmp_path)
    assert {f"fig2.{suffix}" for suffix in ("png", "pdf", "csv", "txt")} | {"report.html"} <= {
        path.name for path in tmp_path.iterdir()
    }
    assert said.splitlines()[-1] == str(tmp_path / "report.html")


@pytest.mark.parametrize("off", [False, True])
def test_doctor_names_the_path(attnscape, monkeypatch, off):
    if off:
        monkeypatch.setenv("ATTNSCAPE_KERNELS", "off")
        monkeypatch.setattr(native, "library", lambda: None)  # what is loaded stays loaded
    quick = functools.partial(commands._seconds_a_gradient, runs=1)
    monkeypatch.setattr(commands, "_seconds_a_gradient", quick)
    shown = attnscape("doctor")
    assert re.search(r"attnscape +\d", shown)
    if native.why_unavailable():
        assert re.search(r"path +XLA", shown)
        assert re.search(r"The XLA path takes\s+\d+ us", shown)
    else:
        assert re.search(r"path +native kernels, \d+ bits", shown)
        assert shown.count("%") == 4  # of the peak: two forms, two precisions

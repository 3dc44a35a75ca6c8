"""The command line: instant help, sentences for mistakes, a clean end, results found again."""

import dataclasses
import functools
import importlib.metadata
import inspect
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from attnscape import native
from attnscape.cli import _combinations
from attnscape.cli._ending import orderly
from attnscape.cli.commands import doctor, reproduce
from attnscape.experiments import store
from attnscape.experiments.experiment import Experiment
from attnscape.experiments.setting import Plan
from attnscape.optimizers import NAMED
from attnscape.paper.artifacts import ARTIFACTS
from attnscape.report.manifest import Manifest
from tests.command_lines import COMMANDS, option_documentation

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


# What the sentence says that a stopped command ends with.
KEPT = (
    "finished runs and the checkpoints of those under way are kept: the same command goes on from "
    "there."
)
SLOW = {"jax", "numpy", "scipy", "pandas", "xarray", "matplotlib", "jinja2"}


def test_help_and_version_import_nothing_that_takes_long():
    script = """
import sys
from attnscape.__main__ import main
for words in [["--version"], *([*command, "--help"] for command in [[], *map(list, [COMMANDS])])]:
    sys.argv = ["attnscape", *words]
    try:
        main()
    except SystemExit as end:
        assert end.code == 0
print("imported:", *SLOW & sys.modules.keys())
"""
    commands = ", ".join(f"[{name!r}]" for name in COMMANDS)
    script = script.replace("SLOW", repr(SLOW)).replace("COMMANDS", commands)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("imported:\n")
    assert done.stdout.startswith(f"attnscape {importlib.metadata.version('attnscape')}\n")


def test_an_unknown_artifact_is_refused_before_anything_that_takes_long_is_imported():
    script = f"""
import sys
from attnscape.__main__ import main
sys.argv = ["attnscape", "reproduce", "fig99"]
try:
    main()
except SystemExit as end:
    assert "There is no artifact 'fig99'" in end.code
print("imported:", *{SLOW!r} & sys.modules.keys())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "imported:\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_documents_every_option(attnscape, capsys, name):
    with pytest.raises(SystemExit):
        attnscape(name, "--help")
    shown = " ".join(re.sub(r"[│╭╮╰╯─]", " ", capsys.readouterr().out).split())
    assert " ".join(cli_sentence(COMMANDS[name]).split()) in shown
    for field in dataclasses.fields(COMMANDS[name]):
        documentation = option_documentation(COMMANDS[name], field.name)
        assert documentation.split()
        assert " ".join(documentation.split()[:6]) in shown
        if "Positional" not in field.type:
            assert f"--{field.name.replace('_', '-')}" in shown


def cli_sentence(command):
    return inspect.getdoc(command).splitlines()[0]


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
        ("train --optimizers", "--optimizers was given without a value; give at least one."),
        ("train --optimizers sgd --optimizers adam", "--optimizers was given twice; give all .*"),
        ("bench --settings", "--settings was given without a value; give at least one."),
        ("bench --steps 0", "--steps is 0; it must be at least 1."),
        ("train --squared-radius chi2(5)", "--squared-radius has no effect without --covariates.*"),
        ("train --task my.py:t --target y", "--task replaces --target, but both were given; .*"),
        ("train --task my.py:t --dim 5", "--task replaces --dim, but both were given; leave .*"),
        ("train --learning-rates 0", "The learning rate 0.0 is not usable; it must be positive.*"),
        ("train --learning-rates nan", "The learning rate nan is not usable; it must be .*"),
        ("train --learning-rates fast", "The learning rate 'fast' is not a number; write 0.02.*"),
        ("train --learning-rates lion=1", "'lion=1' gives rates for 'lion', but the optimizers.*"),
        ("train --learning-rates sgdm=1", "No learning rate was given for adam; add adam=0.02."),
        ("train --dim 0", "--dim is 0; it must be at least 1."),
        ("train --context 0", "--context is 0; it must be at least 1."),
        ("train --layers 0", "--layers is 0; it must be at least 1."),
        ("train --seeds 0", "--seeds is 0; it must be at least 1."),
        ("train --steps -1", "--steps is -1; it must be at least 0."),
        ("train --batch 0", "--batch is 0; it must be at least 1."),
        ("train --clip -1", "--clip is -1.0; it must be positive, or 0 for no clipping."),
        ("train --measure-every 0", "--measure-every is 0; it must be at least 1."),
        ("train --evaluation-seed -1", "--evaluation-seed is -1; it must be at least 0."),
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


REFUSED = {
    "--seeds 1000000000000": "--seeds is 1000000000000; it must be at most 1000000.",
    "--steps 1000000000000": "--steps is 1000000000000; it must be at most 2147483646.",
    "--steps 100000000 --measure-every 1": "--measure-every 1 measures at 100000000 steps.*",
    "--batch 10000000000": "--batch is 10000000000; it must be at most 2147483647.",
    "--dim 100000": "--dim is 100000; it must be at most 10000.",
}


def test_numbers_without_measure_are_refused_before_anything_is_imported():
    script = f"""
import sys
from attnscape.__main__ import main
for words in {list(REFUSED)}:
    sys.argv = ["attnscape", "train", *words.split()]
    try:
        main()
    except SystemExit as end:
        print(end.code)
    assert not {SLOW} & sys.modules.keys(), words
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    for said, sentence in zip(done.stdout.splitlines(), REFUSED.values(), strict=True):
        assert re.fullmatch(f"attnscape: {sentence}", said)


def test_rules_name_options_that_there_are():
    options = {field.name for each in COMMANDS.values() for field in dataclasses.fields(each)}
    replaced = {name for others in _combinations._REPLACES.values() for name in others}
    owners = {name for names, _ in _combinations._BELONGS_TO.values() for name in names}
    ranges = {name.rpartition(".")[2] for name in _combinations._RANGES}
    assert {
        *_combinations._REPLACES,
        *replaced,
        *_combinations._BELONGS_TO,
        *owners,
        *ranges,
    } <= options


def test_every_whole_number_has_a_range():
    for command in COMMANDS.values():
        for field in dataclasses.fields(command):
            if type(field.default) is int:
                assert field.name in _combinations._RANGES


@pytest.mark.parametrize(
    ("distribution", "reason"),
    [
        ("gamma(", "'(' was never closed"),
        ("gamma", "it is not a call"),
        ("gamma()", "missing 1 required positional argument: 'a'"),
        ("gama(1)", "scipy.stats has no distribution 'gama'"),
        ("gamma(1 + 1)", "1 + 1 is not a plain number"),
        ("gamma(1, **{'scale': 2})", "{'scale': 2} is not a plain number"),
        ("gamma(-1)", "which scipy.stats does not allow"),
        ("norm(0)", "|x|^2 cannot be negative"),
        ("zipf(1.1)", "scipy.stats cannot find quantiles of zipf(1.1)"),
        ("studentized_range(3, 10)", "studentized_range(3, 10) is too slow to tabulate"),
    ],
)
def test_a_distribution_that_cannot_be_used_gets_its_reason(
    attnscape, tmp_path, monkeypatch, distribution, reason
):
    patience = 0.5 if "studentized" in distribution else 5.0  # this one is at work for all of it
    monkeypatch.setattr("attnscape.tasks.radius._PATIENCE", patience)
    with pytest.raises(SystemExit) as end:
        attnscape(
            "train", "--covariates", "radial", "--squared-radius", distribution, "--out", tmp_path
        )
    assert reason in str(end.value.code)


@pytest.mark.parametrize(
    ("words", "code", "word"),
    [
        ("", 2, "reproduce"),
        ("reproduce fig99", 1, "fig99"),
        ("train --steps few", 2, "few"),
        ("train --speed 9", 2, "--speed"),
        # Others that are found after everything is imported: the platforms below.
        pytest.param("train --out {file}/below", 1, "cannot be made", marks=pytest.mark.slow),
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


@pytest.mark.parametrize("platform", ["cuda", pytest.param("nonsense", marks=pytest.mark.slow)])
def test_where_nothing_computes_a_sentence_says_so(tmp_path, platform):
    done = run("train", *TINY, "--out", tmp_path, JAX_PLATFORMS=platform)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"attnscape: JAX cannot compute on '{platform}', which JAX_PLATFORMS asks for; set "
        "JAX_PLATFORMS to cpu, or install what it needs.\n"
    )


def test_surroundings_that_no_result_depends_on_change_nothing(tmp_path):
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nbackend: nonsense\n")
    words = ("train", *TINY, "--optimizers", "sgd", "--out", tmp_path)
    strange = {
        "MPLBACKEND": "nonsense",
        "MATPLOTLIBRC": str(tmp_path),
        "PYTHONWARNINGS": "error",
        "NO_COLOR": "1",
        "COLUMNS": "40",
        "LC_ALL": "C",
        "PYTHONIOENCODING": "ascii",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
    }
    done = run(*words, **strange)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()
    assert all(len(line) <= 40 for line in done.stdout.splitlines()[:-1])
    assert Path(done.stdout.splitlines()[-1]).is_file()


EXITS = """
import sys
import optax


def factory(rate):
    sys.exit(0)


def update(rate):
    def step(gradient, state, parameters=None):
        sys.exit()  # line 11

    return optax.GradientTransformation(optax.sgd(rate).init, step)
"""


@pytest.mark.parametrize(("thing", "line"), [("factory", 7), ("update", 12), ("missing", 3)])
@pytest.mark.parametrize("command", ["train", "check"])
def test_a_part_that_exits_is_an_error(attnscape, capsys, tmp_path, command, thing, line):
    text = EXITS if thing != "missing" else "import sys\n\nsys.exit(0)\n"
    (tmp_path / "exits.py").write_text(text)
    reference = f"{tmp_path}/exits.py:{thing}"
    words = ("check", "optimizer", reference)
    if command == "train":
        words = ("train", *TINY, "--optimizers", reference, "--out", tmp_path / "out")
    with pytest.raises(SystemExit) as end:
        attnscape(*words)
    sentence = str(end.value.code)
    assert sentence.startswith("attnscape: ")
    if command == "check" and thing != "missing":
        assert "does not keep the contract of an optimizer" in sentence
        sentence = "".join(capsys.readouterr().out.split("FAILS")[1:])
        assert str(line) in sentence
    else:
        assert f"exits.py, line {line})" in sentence
    assert "SystemExit" in sentence


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["report", "--out", "{made}"]])
def test_nobody_reads_the_output_to_its_end(made, words):
    with subprocess.Popen(
        [ATTNSCAPE, *(word.format(made=made) for word in words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as command:
        command.stdout.close()
        assert (command.wait(timeout=120), command.stderr.read()) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    "words",
    [
        *(["--version"], ["--help"]),
        pytest.param(["report", "--out", "{made}"], marks=pytest.mark.slow),
    ],
)
def test_a_full_output_is_an_error(made, words):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [ATTNSCAPE, *(word.format(made=made) for word in words)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == (
        "attnscape: The standard output cannot be written (No space left on device); send it "
        "elsewhere.\n"
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a manifest, as `reproduce` leaves it."""
    folder = tmp_path_factory.mktemp("made")
    Manifest("table1", "The settings").save(folder)
    return folder


def test_a_file_that_cannot_be_used_is_named(capsys):
    with pytest.raises(SystemExit) as end, orderly():
        Path("/proc/1/mem" if os.name == "posix" else "/").read_text()
    assert re.fullmatch(r"attnscape: /\S* cannot be used \(.*\); give the .*\.", end.value.code)


def test_too_little_memory_is_said_to_be_so():
    with pytest.raises(SystemExit, match="The memory of this machine does not suffice"), orderly():
        raise MemoryError


def test_other_errors_keep_their_traceback():
    with pytest.raises(KeyError), orderly():
        raise KeyError


@pytest.mark.skipif(os.name != "posix", reason="needs SIGINT")
def test_ctrl_c_while_everything_is_imported_ends_with_a_sentence():
    script = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "tyro":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
from attnscape.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 130
    assert done.stderr == (f"\nattnscape: interrupted; {KEPT}\n")


@pytest.mark.skipif(os.name != "posix", reason="needs SIGINT")
@pytest.mark.parametrize(
    ("number", "word", "code", "seconds"),
    [
        (signal.SIGINT, "interrupted", 130, 0),  # while it compiles
        (signal.SIGINT, "interrupted", 130, 3),
        (signal.SIGTERM, "terminated", 143, 0),
        pytest.param(signal.SIGTERM, "terminated", 143, 3, marks=pytest.mark.slow),
    ],
    ids=["compiling", "training", "sigterm-compiling", "sigterm-training"],
)
def test_a_stopped_command_ends_with_a_sentence_and_leaves_nothing(
    tmp_path, number, word, code, seconds
):
    out = tmp_path / "out"
    # Where the tests run in the background, children would ignore the signal.
    script = "import signal as s; s.signal(s.SIGINT, s.default_int_handler); import attnscape.cli"
    words = ("train", *TINY, "--steps", 10**9, "--measure-every", 10**6, "--out", out)
    with subprocess.Popen(
        [sys.executable, "-c", f"{script}.main as c; c.main()", *map(str, words)],
        stderr=subprocess.PIPE,
        text=True,
    ) as training:
        while not out.exists():  # made just before training starts
            assert training.poll() is None
            time.sleep(0.05)
        time.sleep(seconds)
        training.send_signal(number)
        try:
            _, said = training.communicate(timeout=120)
        finally:
            training.kill()
    assert training.returncode == code
    assert said.endswith(f"{word}; {KEPT}\n")
    assert "Traceback" not in said
    # What a process that ends at once may leave; the next one removes it. The note is for `status`.
    left = [path for path in out.rglob("*") if path.is_file()]
    assert not [path for path in left if path.suffix not in (".partial", ".lock", ".note")]


def test_train_shows_a_table_and_the_file_and_finds_it_the_second_time(
    attnscape, tmp_path, monkeypatch
):
    words = ("train", *TINY, "--measure-every", 2, "--out", tmp_path)
    *table, path = attnscape(*words, "--name", "first").splitlines()
    assert [sum(name in line for line in table) for name in ("sgdm", "adam")] == [1, 1]
    assert "diverged" not in "".join(table)
    assert "inf" not in "".join(table)
    assert list(store.load(path).step) == [0, 2, 4, 5]
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
    words = ("train", *TINY, "--optimizers", "sgd", "--out", tmp_path)
    done = run(*words, ATTNSCAPE_KERNELS="off")
    assert done.returncode == 0
    assert done.stderr == (
        "attnscape: The native kernels are switched off by ATTNSCAPE_KERNELS. "
        "Everything works through XLA, at a fraction of the speed.\n"
    )
    assert Path(done.stdout.splitlines()[-1]).is_file()


def test_reproduce_makes_the_artifact_and_the_page(attnscape, tmp_path, monkeypatch):
    fig2 = dataclasses.replace(ARTIFACTS["fig2"], settings=ARTIFACTS["fig2"].settings[:1])
    monkeypatch.setattr(reproduce, "ARTIFACTS", {**ARTIFACTS, "fig2": fig2})
    monkeypatch.setattr(reproduce, "QUICK", Plan(seeds=1, steps=2, evaluations=1))
    said = attnscape("reproduce", "fig2", "--quick", "--out", tmp_path)
    assert {f"fig2.{suffix}" for suffix in ("png", "pdf", "csv", "txt")} | {"report.html"} <= {
        path.name for path in tmp_path.iterdir()
    }
    assert said.splitlines()[-1] == str(tmp_path / "report.html")


@pytest.mark.parametrize("off", [False, True])
def test_doctor_names_the_path(attnscape, monkeypatch, off):
    seconds = functools.partial(doctor._seconds_a_gradient, runs=1)
    if off:
        # Its prompts may be drawn by the kernels: XLA is asked for many small programs instead.
        taken = {("block", "float32", "reduced"): seconds("block", "float32", "reduced")}
        seconds = lambda *given: taken[given]  # noqa: E731
        monkeypatch.setenv("ATTNSCAPE_KERNELS", "off")
        monkeypatch.setattr(native, "library", lambda: None)  # what is loaded stays loaded
    monkeypatch.setattr(doctor, "_seconds_a_gradient", seconds)
    shown = attnscape("doctor")
    assert re.search(r"attnscape +\d", shown)
    if native.why_unavailable():
        assert re.search(r"path +XLA", shown)
        assert re.search(r"The XLA path takes\s+\d+ us", shown)
    else:
        assert re.search(r"path +native kernels, (avx512|avx2|baseline)", shown)
        assert shown.count("%") == 4  # of the peak: two forms, two precisions

"""Every code block of the README and of the site runs; long commands up to where work starts."""

import contextlib
import re
import shlex
import shutil
import sys
import tomllib
from pathlib import Path

import jax
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from attnscape.cli.main import main

HERE = Path(__file__).parents[1]
GENERATED = {"reference", "examples", "_build"}
PAGES = sorted(
    path
    for path in [HERE / "README.md", *(HERE / "docs").rglob("*.md")]
    if not GENERATED & set(path.parts) and path != HERE / "docs" / "PAPER.md"
)
FENCE = re.compile(r"^```(\S+)\n(.*?)^```", re.M | re.S)
FILE = re.compile(r"`(\w+\.py)`:\n+```python\n|^```python\n# (\w+\.py)\n", re.M)
# Sizes that a command takes instead of its own; the last of an option that is given twice counts.
SMALL = {
    "train": "--steps 60 --batch 8 --evaluation-batch 8 --seeds 2 --dim 2 --context 3 --layers 1",
    "check": "",
}
# A training of thousands of steps in Python makes a tenth of them.
STEPS = re.compile(r"\bsteps=(\d{3,})0\b")
# What a reader has in mind; the probe of the README is about any network.
ANY_NETWORK = """
import torch
model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), 0.1)
loader = batches = [torch.randn(8, 3) for _ in range(60)]
def loss_fn(model, batch):
    return torch.nn.functional.mse_loss(model(batch[:, :2]), batch[:, 2:])
"""


class WorkStarts(BaseException):
    """Here a long command would begin to compute."""


def blocks(page):
    return [match.groups() for match in FENCE.finditer(page.read_text("utf-8"))]


def needs(page):
    """What blocks of a page need beyond the test extra."""
    return [
        name for name in ("torch", "networks") if f"attnscape.{name} import" in page.read_text()
    ]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with what commands of the pages name: tables, files of the repository."""
    monkeypatch.chdir(tmp_path)
    rows = np.random.default_rng(0).normal(size=(40, 3))
    pd.DataFrame(rows, columns=["rooms", "age", "price"]).to_csv("data.csv", index=False)
    for name in ("docs/tutorials", "examples"):
        shutil.copytree(HERE / name, name)
    shutil.copy("examples/slurm_cluster.py", "slurm_cluster.py")
    monkeypatch.setattr(mpl.rcParams, "backend", "agg", raising=False)
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(HERE)))
def test_python_runs(page, folder, monkeypatch):
    for name in needs(page):
        pytest.importorskip({"torch": "torch", "networks": "transformers"}[name])
    names = {"__name__": page.stem}
    if "networks" in needs(page):
        monkeypatch.setattr("attnscape.networks.train_workload", lambda *_, **__: None)
    with jax.numpy_rank_promotion("allow"):  # pages are written for readers
        for language, text in blocks(page):
            if "Objective(model" in text and "import torch" not in text:
                exec(ANY_NETWORK, names)
            if language == "python":
                exec(compile(STEPS.sub(r"steps=\1", text), f"{page.name}", "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(HERE)))
def test_commands_run(page, folder, monkeypatch, capsys):
    write_files(page)

    def reached(*_, **__):
        raise WorkStarts

    for name in (
        "commands.bench.rank",
        "commands.reproduce.pipeline.reproduce",
        "commands.networks.load_or_run_all",
    ):
        monkeypatch.setattr(f"attnscape.cli.{name}", reached)
    for command in ("bench", "reproduce", "networks", "train"):
        monkeypatch.setattr(
            f"attnscape.cli.commands.{command}.opened", lambda _: contextlib.nullcontext()
        )
    for words in commands(page):
        if words[0].endswith("attnscape"):
            run(words[1:], monkeypatch)
        else:
            assert is_there(words), words


def write_files(page):
    text = page.read_text("utf-8")
    for match in FILE.finditer(text):
        start = match.start() if match[2] else match.end()
        body = text[start:].removeprefix("```python\n").partition("\n```")[0]
        Path(match[1] or match[2]).write_text(body + "\n")


def commands(page):
    for language, text in blocks(page):
        if language == "sh":
            for line in text.replace("\\\n", " ").splitlines():
                if words := shlex.split(line, comments=True):
                    yield words


def run(words, monkeypatch):
    """Runs a command in this process, smaller; one that would take minutes, until it would work."""
    own = {"--table", "--task", "--model"} & set(words)  # their sizes are their own
    small = SMALL.get(words[0], "").partition(" --dim" if own else "\0")[0].split()
    monkeypatch.setattr(sys, "argv", ["attnscape", *words, *small])
    begins = words[0] in ("bench", "reproduce") or words[:2] == ["networks", "train"]
    with pytest.raises(WorkStarts) if begins else contextlib.nullcontext():
        main()


def is_there(words):
    """Whether a target of make, an extra or an option of pip that a page names exists."""
    if words[0] == "make":
        return f"\n{words[1]}:" in (HERE / "Makefile").read_text()
    if words[0].endswith("pip"):
        extras = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]
        named = re.fullmatch(r"attnscape\[(\w+)\]|\.", words[2])
        return named and (not named[1] or named[1] in extras["optional-dependencies"])
    return words in (["python3", "-m", "venv", ".venv"], [".", ".venv/bin/activate"])


def test_pages_are_found():
    assert {"README.md", "five_minutes.md", "optimizer.md", "faq.md"} <= {p.name for p in PAGES}
    assert sum(len(blocks(page)) for page in PAGES) > 40

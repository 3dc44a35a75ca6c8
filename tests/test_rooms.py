"""The layout is what CONTRIBUTING.md says, and files and functions stay short."""

import ast
import importlib
import pkgutil
import re
import tomllib
from pathlib import Path

import pytest

import attnscape
from attnscape import _moved
from attnscape.loading import name_of

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "attnscape"
FILES = sorted(PACKAGE.rglob("*.py"))
MOST_LINES, MOST_LINES_OF_A_FUNCTION = 300, 60


def layers() -> list[set[str]]:
    """The rooms, highest first; those of one layer together."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    (contract,) = config["tool"]["importlinter"]["contracts"]
    return [{room.strip() for room in layer.split("|")} for layer in contract["layers"]]


def test_contributing_lists_all_rooms_in_their_order():
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("## Where to add")[0]
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    listed = [set(re.findall(r"`(\w+)(?:/|\.py)`", row)) for row in rows]
    assert set().union(*listed) == set().union(*layers())
    order = {room: index for index, layer in enumerate(layers()) for room in layer}
    positions = [order[room] for rooms in listed for room in sorted(rooms, key=order.get)]
    assert positions == sorted(positions)


def test_where_to_add_names_files_that_there_are():
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("## Where to add")[2]
    table = text.partition("## ")[0]
    named = [name for name in re.findall(r"`([\w/*.]+)`", table) if "/" in name]
    assert len(named) > 10
    for name in named:
        base = ROOT if name.startswith(("tests", "kernels", "benchmarks", "docs")) else PACKAGE
        assert list(base.glob(name)), name


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_files_and_functions_are_short(file):
    text = file.read_text("utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            docstring = (ast.get_docstring(node, clean=False) or "").count("\n")
            length = (node.end_lineno or 0) - node.lineno + 1 - docstring
            assert length <= MOST_LINES_OF_A_FUNCTION, f"{node.name}: {length} lines of code"


@pytest.mark.parametrize(("old", "new"), _moved.MODULES.items())
def test_a_moved_module_says_where_it_is(old, new):
    importlib.import_module(f"attnscape.{new}")
    with pytest.raises(ImportError, match=f"attnscape.{old} is now attnscape.{new}"):
        importlib.import_module(f"attnscape.{old}")


def test_a_renamed_function_says_its_name():
    with pytest.raises(ImportError, match="value_and_gradient is now attnscape"):
        attnscape.value_and_gradient  # noqa: B018


def test_the_package_reaches_what_it_lists():
    for name in dir(attnscape):
        assert getattr(attnscape, name) is not None or name.startswith("__")


def test_names_of_own_parts_are_unique_without_their_rooms():
    """Results are found by these names, so that a class can move and its results stay."""
    owners: dict[str, str] = {}
    for room in ("tasks", "models", "measures", "optimizers"):
        package = importlib.import_module(f"attnscape.{room}")
        for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(found.name)
            for name, member in vars(module).items():
                own = getattr(member, "__module__", None) == module.__name__
                if own and not name.startswith("_") and callable(member):
                    assert owners.setdefault(name_of(member), found.name) == found.name
    assert len(owners) > 40

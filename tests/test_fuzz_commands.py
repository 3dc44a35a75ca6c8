"""Any words on the command line end in a result or in one sentence, never in a traceback."""

import dataclasses
import importlib.util
import re
import sys

import hypothesis
import pytest
from hypothesis import HealthCheck
from hypothesis import strategies as st

from attnscape.cli.commands import check
from attnscape.cli.main import main
from attnscape.experiments import store
from tests import command_lines
from tests.tiny import TINY

OWN = """
import optax
from attnscape import LinearTransformer, RegressionTask

number = 3


def optimizer(learning_rate):
    return optax.sgd(learning_rate)


def task():
    return RegressionTask(dim=2, context=3)


def model(key):
    return LinearTransformer.init(key, layers=1, dim=2)
"""


class Reached(BaseException):
    """What takes long would begin here."""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """What words on the command line may name."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "own.py").write_text(OWN)
    (folder / "broken.py").write_text("def optimizer(\n")
    (folder / "table.csv").write_text("a,b,y\n1,2,3\n4,5,7\n2,9,1\n")
    store.load_or_run(TINY, folder)
    return {
        "own": folder / "own.py",
        "broken": folder / "broken.py",
        "table": folder / "table.csv",
        "result": store.find(TINY, folder),
        "folder": folder,
    }


@pytest.fixture
def dry(monkeypatch, tmp_path):
    """Commands stop before they compute, start processes or ask another machine."""

    def reach(*given, **named):
        raise Reached

    places = [
        "attnscape.cli.commands.train.store.load_or_run",
        "attnscape.cli.commands.train.RunQueue",
        "attnscape.cli.commands.bench.rank",
        "attnscape.cli.commands.reproduce.pipeline.reproduce",
        "attnscape.cli.commands.networks.search_networks",
        "attnscape.cli.commands.doctor.run",
        "distributed.Client",
        "distributed.LocalCluster",
    ]
    if importlib.util.find_spec("torch"):
        places.append("attnscape.networks.train_workload")
    for place in places:
        monkeypatch.setattr(place, reach)
    checks = dict.fromkeys(check._CHECKS, lambda thing, **others: [])
    monkeypatch.setattr(check, "_CHECKS", checks)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", command_lines.COMMANDS)
@hypothesis.settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@hypothesis.given(data=st.data())
def test_any_words_end_in_a_result_or_a_sentence(name, data, files, dry, tmp_path, capsys):
    words = [word.format_map(files) for word in data.draw(command_lines.command_lines(name))]
    out = tmp_path / "out"
    if any(field.name == "out" for field in dataclasses.fields(command_lines.COMMANDS[name])):
        words += ["--out", str(out)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["attnscape", name, *words])
        try:
            main()
            end = 0
        except SystemExit as error:
            end = error.code
        except Reached:
            end = 0
    if isinstance(end, str):
        assert re.fullmatch(r"attnscape: [^\n]+\.", end)
    else:
        assert end in (0, 2)
    assert "Traceback" not in capsys.readouterr().err
    assert [path for path in tmp_path.rglob("*") if path != out] == []

"""Files of users' own that cannot be loaded, whatever is in them, get one sentence."""

import pytest

from attnscape.errors import UsageError
from attnscape.loading import load_object

FILES = {
    "empty": (b"", "has no 'f'; it defines nothing by a public name."),
    "latin": (b"x = '\xe9'\n", "is not Python: (unicode error) 'utf-8' codec can't decode byte"),
    "null": (b"x = 1\0\n", "source code string cannot contain null bytes"),
    "utf16": ("x = 1\n".encode("utf-16"), "source code string cannot contain null bytes"),
    "syntax": (b"x = 1\ndef f(:\n", "syntax.py is not Python: invalid syntax in line 2."),
    "nested": (b"(" * 500 + b")" * 500, "is not Python: too many nested parentheses in line 1."),
    "coding": (b"# coding: nonsense\n", "is not Python: unknown encoding: nonsense."),
    "deep": (b"-" * 200_000 + b"1", "deep.py failed: "),
    "exits": (b"import sys\nsys.exit(3)\n", "exits.py failed: SystemExit: 3 ("),
    "recursion": (b"def f(): f()\nf()\n", "RecursionError: maximum recursion depth exceeded ("),
    "imports": (b"import nothing_like_it\n", "ModuleNotFoundError: No module named 'nothing_li"),
    "stops": (b"class Stop(BaseException): pass\nraise Stop('x')\n", "failed: Stop: x ("),
    "silent": (b"class E(Exception):\n def __str__(self): return 1 / 0\nraise E\n", "failed: E ("),
    "evaluates": (b"eval('1 +')\n", "evaluates.py failed: SyntaxError: invalid syntax (<string>"),
    "raises": (b"raise SyntaxError('odd')\n", "raises.py failed: SyntaxError: odd ("),
    "gives": (b"def __getattr__(n): raise RuntimeError(n)\n", "gives no 'f': RuntimeError: f ("),
    "leaves": (b"def __getattr__(n): raise SystemExit(2)\n", "gives no 'f': SystemExit: 2 ("),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_be_loaded_gets_a_sentence(tmp_path, name):
    content, sentence = FILES[name]
    path = tmp_path / f"{name}.py"
    path.write_bytes(content)
    with pytest.raises(UsageError) as said:
        load_object(f"{path}:f")
    words = str(said.value)
    assert sentence in words
    assert words.startswith((str(path), f"Running {path}"))
    assert "\n" not in words


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("{folder}/folder.py:f", "There is no file {folder}/folder.py; give the path of a Python"),
        (".os:x", "Importing .os failed: TypeError: the 'package' argument is required"),
        ("os..path:x", "The module 'os..path' cannot be imported ("),
        ("leaves_at_once:x", "Importing leaves_at_once failed: SystemExit: 4 ("),
    ],
)
def test_a_reference_to_nothing_gets_a_sentence(tmp_path, monkeypatch, reference, sentence):
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "leaves_at_once.py").write_text("raise SystemExit(4)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError) as said:
        load_object(reference.format(folder=tmp_path))
    assert str(said.value).startswith(sentence.format(folder=tmp_path))


def test_what_a_file_does_to_its_surroundings_is_not_mistaken_for_an_error(tmp_path, capsys):
    (tmp_path / "own.py").write_text(
        "import os, sys\nprint('here')\ndel sys.modules[__name__]\nf = 1\n"
    )
    assert load_object(f"{tmp_path}/own.py:f") == 1
    assert capsys.readouterr().out == "here\n"

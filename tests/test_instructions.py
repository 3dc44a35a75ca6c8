"""The kernels take as many instructions as are stored: what no noisy machine can hide."""

import copy
from types import SimpleNamespace

import pytest

from attnscape.native import INSTRUCTION_SETS
from benchmarks import instructions
from benchmarks.instructions import CASES, NotCountableError, changed, count, find_kernels, stored


@pytest.fixture(scope="module")
def counted():
    try:
        kernels = find_kernels()
        if (built_by := kernels.compiler()) != (before := stored()["compiler"]):
            pytest.skip(f"The kernels were built by {built_by}, the counts are of {before}.")
        return count(kernels)
    except NotCountableError as error:
        pytest.skip(str(error))


def test_no_kernel_takes_5_percent_more_or_fewer_instructions(counted):
    assert changed(counted) == {}, "If this is meant, store it: python -m benchmarks.instructions"


def test_every_case_is_stored():
    rows = [[row[name] for name in vars(CASES[0])] for row in stored()["rows"]]
    assert rows == [list(vars(case).values()) for case in CASES]


@pytest.mark.parametrize("factor", [0.94, 1.06])
def test_a_change_of_6_percent_is_noticed(factor):
    rows = copy.deepcopy(stored()["rows"])
    assert changed(rows) == {}
    rows[3]["instructions"] *= factor
    assert changed(rows) == {CASES[3].label: pytest.approx(factor)}


def test_only_kernels_for_avx2_are_counted(tmp_path, monkeypatch):
    file = tmp_path / "_kernels_avx2.so"
    with pytest.raises(NotCountableError, match=r"_kernels_avx2\.so was not built"):
        instructions.Kernels(file)
    file.touch()
    for number, name in enumerate(INSTRUCTION_SETS):
        library = SimpleNamespace(attnscape_instruction_set=lambda number=number: number)
        monkeypatch.setattr(instructions.ctypes, "CDLL", lambda _, library=library: library)
        if name == "avx2":
            instructions.Kernels(file)
        else:
            with pytest.raises(NotCountableError, match="are not for AVX2"):
                instructions.Kernels(file)

"""The kernels take as many instructions as are stored: what no noisy machine can hide."""

import copy

import pytest

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


def test_kernels_for_other_registers_are_not_counted(tmp_path, monkeypatch):
    class Library:
        @staticmethod
        def attnscape_register_bits():
            return 512

    monkeypatch.setattr(instructions.ctypes, "CDLL", lambda _: Library)
    with pytest.raises(NotCountableError, match="for registers of 512 bits"):
        instructions.Kernels(tmp_path / "_kernels.so")

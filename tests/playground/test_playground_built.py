"""The built page is what the sources give."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from playground.sources import PAGE, ROOT, built_digest, digest


def test_the_page_is_of_the_present_sources():
    assert built_digest() == digest(), "the playground is stale: run `make playground`"


def test_the_page_is_one_file_of_less_than_400_kB():  # noqa: N802 - the unit
    assert PAGE.stat().st_size < 400_000
    assert not any(file.stem == "playground" for file in PAGE.parent.iterdir() if file != PAGE)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("em++") is None, reason="there is no Emscripten here")
@pytest.mark.skipif(shutil.which("npm") is None, reason="there is no npm here")
def test_the_sources_give_the_page_byte_for_byte():
    before = PAGE.read_bytes()
    shutil.rmtree(ROOT / "playground" / "build", ignore_errors=True)  # nothing is taken from there
    try:
        subprocess.run(["make", "playground"], cwd=ROOT, check=True, timeout=600)
        assert PAGE.read_bytes() == before
    finally:
        PAGE.write_bytes(before)

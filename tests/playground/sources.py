"""The playground's built page, its sources, and how a test opens it."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import browser

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "playground.html"
OWN = ("build.mjs", "kernel.cpp", "package.json", "package-lock.json", "tsconfig.json")
SETTING_1 = {
    "a": "sgdm:0.02:0.9",
    "b": "adam:0.02:0.9:0.9",
    "x": "gaussian",
    "context": 20,
    "dim": 5,
    "layers": 3,
    "batch": 256,
    "clip": 1,
    "seeds": 3,
    "steps": 500,
    "softmax": 0,
}


def digest() -> str:
    """The digest of the sources, as playground/build.mjs computes it."""
    folder = ROOT / "playground"
    files = [folder / name for name in OWN]
    for inside in (folder / "shim", folder / "src"):
        files += [file for file in inside.rglob("*") if file.is_file()]
    files += [*(ROOT / "kernels").glob("*.hpp"), ROOT / "kernels" / "sampler.cpp"]
    total = hashlib.sha256()
    for name in sorted(file.relative_to(ROOT).as_posix() for file in files):
        total.update(name.encode() + b"\0" + (ROOT / name).read_bytes() + b"\0")
    return total.hexdigest()


def built_digest() -> str:
    """The digest of the sources that the built page was made of."""
    found = re.search(r'<meta name="sources" content="([0-9a-f]{64})">', PAGE.read_text("utf-8"))
    assert found
    return found[1]


def address(**changes: object) -> str:
    """The page in Setting 1, with these parts of its state changed."""
    parts: Mapping[str, object] = SETTING_1 | changes
    return f"{PAGE.as_uri()}#" + "&".join(f"{key}={value}" for key, value in parts.items())


@contextlib.contextmanager
def playground(
    width: int = 1280, scheme: Literal["light", "dark"] = "light", **changes: object
) -> Iterator[browser.Tab]:
    """The page in a browser, once the training is done."""
    with browser.opened(address(**changes), width, scheme, bypass_csp=True) as tab:
        wait_until_done(tab)
        yield tab


def wait_until_done(tab: browser.Tab) -> None:
    tab.page.wait_for_function("playground.picture.done", timeout=120_000)


def losses(tab: browser.Tab) -> dict[int, Any]:
    """Losses of the page, by step, as [method][seed]."""
    found = tab.page.evaluate("[...playground.picture.losses]")
    return {int(step): values for step, values in sorted(found)}

"""The playground as people use it, in a real browser."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Literal
from urllib.parse import urlparse

import numpy as np
import pytest
import xarray as xr

import browser
from playground.sources import SETTING_1, address, losses, playground, wait_until_done

pytestmark = [
    pytest.mark.skipif(browser.binary() is None, reason="there is no Chromium here"),
    pytest.mark.usefixtures("one_browser"),
]

QUICK = {"steps": 50, "batch": 16, "seeds": 1}
LONG = {"steps": 2000, "batch": 1024, "seeds": 1}
PRESETS = [
    *("setting-1", "setting-2", "setting-3", "sphere"),
    *("depth-2", "depth-4", "depth-6", "depth-8", "softmax"),
]
# Milliseconds from an input to the frame that shows its effect, again and again.
RESPONSES = """async () => {
  const times = [];
  for (let i = 0; i < 15; i++) {
    await new Promise(resolve => setTimeout(resolve, 60));
    const began = performance.now();
    document.getElementById('loss').dispatchEvent(
      new KeyboardEvent('keydown', {key: i % 2 ? 'End' : 'Home', bubbles: true}));
    await new Promise(requestAnimationFrame);
    await new Promise(resolve => setTimeout(resolve));
    times.push(performance.now() - began);
  }
  return times;
}"""


def hash_of(tab: browser.Tab) -> dict[str, str]:
    tab.page.wait_for_timeout(400)  # the page waits before it writes the address again
    text = urlparse(tab.page.url).fragment
    return dict(part.split("=") for part in text.split("&"))


def assert_quiet(tab: browser.Tab) -> None:
    """Nothing was fetched but the page, and the console is empty."""
    schemes = [urlparse(url).scheme for url in tab.requests]
    assert [scheme for scheme in schemes if scheme != "blob"] == ["file"]
    assert tab.complaints == []


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        *[(400, "light"), (768, "light"), (1280, "dark")],
        pytest.param(400, "dark", marks=pytest.mark.slow),
        pytest.param(768, "dark", marks=pytest.mark.slow),
        pytest.param(1280, "light", marks=pytest.mark.slow),
    ],
)
def test_it_fits_any_screen_and_asks_for_nothing(width: int, scheme: Literal["light", "dark"]):
    with playground(width, scheme, **QUICK) as tab:
        assert tab.page.evaluate("innerWidth") == width
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= width
        for panel in ("loss", "sensitivity", "spectrum", "smoothness", "noise", "heat"):
            tab.page.wait_for_function(f"document.querySelectorAll('#{panel} > *').length > 5")
        assert_quiet(tab)


def test_its_own_policy_lets_it_run_and_nothing_else():
    with browser.opened(address(**QUICK)) as tab:  # with the page's content security policy
        tab.page.get_by_text("50 / 50").wait_for()
        assert_quiet(tab)


def test_every_preset_trains_and_names_itself():
    with playground(**QUICK) as tab:
        for name in PRESETS:
            tab.page.select_option("#preset", name)
            wait_until_done(tab)
            shown = losses(tab)
            assert np.isfinite(shown[0]).all()
            assert np.isfinite(shown[50]).all()
            assert tab.page.input_value("#preset") == name
            assert hash_of(tab)["batch"] == "16"  # a preset leaves the effort as it is
        assert_quiet(tab)


def test_every_control_changes_the_address_and_the_runs():
    with playground(**QUICK, x="radial", tail=0.1) as tab:
        names = tab.page.evaluate(
            "[...document.querySelectorAll('#sliders input[type=range]')]"
            ".map(each => each.closest('label').dataset.explain)"
        )
        assert len(names) == 8
        before, old = losses(tab), hash_of(tab)
        for name in names:
            slider = tab.page.locator(f"#sliders label[data-explain={name}] input")
            slider.focus()
            slider.press("ArrowRight")
            wait_until_done(tab)
            after, new = losses(tab), hash_of(tab)
            assert new[name] != old[name]
            assert after != before, name
            before, old = after, new
        for side in (0, 1):
            for each in range(2):
                tab.page.locator(".method").nth(side).locator("input").nth(each).press("ArrowLeft")
                wait_until_done(tab)
                after, new = losses(tab), hash_of(tab)
                assert new != old
                assert after != before
                before, old = after, new
        assert_quiet(tab)


def test_the_address_brings_everything_back():
    changes = {
        "a": "lion:0.003:0.8:0.95", "b": "muon:0.07:0.9", "x": "radial", "tail": 0.3,
        "context": 7, "dim": 3, "layers": 2, "batch": 100, "clip": 0.3, "seeds": 2, "steps": 60,
        "at": 12,
    }  # fmt: skip
    with playground(**changes) as tab:
        given = {key: str(value) for key, value in (SETTING_1 | changes).items()}
        assert hash_of(tab) == given
        first, state = losses(tab), tab.page.evaluate("playground.state")
        tab.page.evaluate("location.hash = '#steps=50&batch=16'")
        wait_until_done(tab)
        assert tab.page.evaluate("playground.state.at") is None
        link = "&".join(f"{key}={value}" for key, value in given.items())
        tab.page.evaluate("fragment => { location.hash = fragment }", link)
        tab.page.wait_for_function("playground.state.steps === 60")
        wait_until_done(tab)
        assert tab.page.evaluate("playground.state") == state
        assert losses(tab) == first


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch": "many"}, "The link says batch=many, which must be whole and from 16 to 1024."),
        ({"a": "adamw:0.1"}, "The link says a=adamw:0.1, which must be an optimizer"),
        ({"layers": 99}, "The link says layers=99, which must be whole and from 1 to 8."),
        ({"speed": 3}, "The link has a part speed=3 that the playground does not know."),
        ({"x": "<b>x</b>"}, "The link says x=<b>x</b>, which must be gaussian"),
    ],
    ids=["text", "optimizer", "range", "unknown", "markup"],
)
def test_a_link_that_cannot_be_used_is_said_in_a_sentence(changes: dict[str, object], words: str):
    with playground(**(QUICK | changes)) as tab:
        assert words in tab.page.inner_text(".complaint")
        assert np.isfinite(losses(tab)[50]).all()
        assert_quiet(tab)


def test_a_click_on_the_loss_moves_the_other_pictures():
    with playground(**QUICK) as tab:
        tab.page.click("#loss", position={"x": 300, "y": 100})
        at = tab.page.evaluate("playground.state.at")
        assert 0 < at < 50
        assert hash_of(tab)["at"] == str(at)
        for shown in ("spectrum", "noise", "iterate"):
            tab.page.wait_for_function(f"playground.picture.{shown}?.step === {at}")
        assert f"at step {at}" in tab.page.inner_text("#condition")
        tab.page.press("#loss", "ArrowRight")
        assert tab.page.evaluate("playground.state.at") > at
        tab.page.press("#loss", "Escape")
        assert tab.page.evaluate("playground.state.at") is None


def test_it_pauses_steps_and_begins_again():
    some_seconds = LONG | {"batch": 512}
    with playground(**some_seconds) as tab:
        first = losses(tab)
    with browser.opened(address(**some_seconds), bypass_csp=True) as tab:
        tab.page.wait_for_function("playground.picture.step > 0")
        tab.page.keyboard.press("Space")
        tab.page.wait_for_timeout(200)
        stopped = tab.page.evaluate("playground.picture.step")
        tab.page.wait_for_timeout(300)
        assert tab.page.evaluate("playground.picture.step") == stopped < 2000
        tab.page.keyboard.press("s")
        tab.page.wait_for_function(f"playground.picture.step === {stopped + 1}")
        assert str(stopped + 1) in tab.page.inner_text("#clock")
        tab.page.keyboard.press("r")
        wait_until_done(tab)
        assert losses(tab) == first
        assert_quiet(tab)


def test_a_drag_over_learning_rates_runs_the_sweep():
    with playground(**QUICK) as tab:
        box = tab.page.locator("#sensitivity").bounding_box()
        assert box
        y = box["y"] + box["height"] / 2
        tab.page.mouse.move(box["x"] + 0.45 * box["width"], y)
        tab.page.mouse.down()
        tab.page.mouse.move(box["x"] + 0.75 * box["width"], y, steps=5)
        tab.page.mouse.up()
        tab.page.wait_for_function("playground.picture.sweep.size > 2")
        tab.page.wait_for_function("!document.querySelector('#sensitivity .waiting')")
        sweep = dict(tab.page.evaluate("[...playground.picture.sweep]"))
        assert {point["step"] for point in sweep.values()} == {50}
        rate = 0.02
        if rate not in sweep:
            pytest.fail(f"0.02 is not among {sorted(sweep)}")
        np.testing.assert_array_equal(sweep[rate]["losses"], losses(tab)[50])
        mark = tab.page.locator("#sensitivity circle[data-rate='0.05']")
        mark.click()
        assert hash_of(tab)["a"] == "sgdm:0.05:0.9"
        wait_until_done(tab)
        np.testing.assert_array_equal(sweep[0.05]["losses"][0], losses(tab)[50][0])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"x": "sphere", "clip": 0, "a": "sgdm:0.1:0.9"},
        {"x": "radial", "tail": 0.2, "a": "adam:0.01:0.9:0.9", "b": "adam:0.03:0.9:0.9"},
        # Rounding errors grow 100-fold every 10 steps where Muon's steps are ten times as long.
        {"a": "lion:0.003:0.8:0.95", "b": "muon:0.005:0.9", "layers": 2, "dim": 3},
        {"softmax": 1, "a": "sgd:0.5"},
    ],
    ids=["setting-1", "sphere", "two-rates", "own-betas", "softmax"],
)
def test_the_copied_command_and_lines_give_the_curve(
    changes: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attnscape
):
    with playground(**(QUICK | changes)) as tab:
        shown = losses(tab)
        copied = {}
        for button in ("command", "python"):
            tab.page.click(f"#{button}")
            copied[button] = tab.page.inner_text("#copied")
    monkeypatch.chdir(tmp_path)
    name, *words = shlex.split(copied["command"].replace("\\\n", " "), comments=True)
    if name == "attnscape":
        attnscape(*words)
    else:  # in a shell, as it writes a file of optimizers first
        folders = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        shell = ["bash", "-e", "-c", copied["command"]]
        subprocess.run(shell, env=os.environ | {"PATH": folders}, check=True, capture_output=True)
    (file,) = (tmp_path / "results").rglob("*.nc")
    lines: dict[str, xr.Dataset] = {}
    exec(copied["python"], lines)
    by_python = lines["result"]["loss"].values
    with xr.open_dataset(file, engine="h5netcdf") as dataset:
        by_command = dataset["loss"].values
        steps = list(dataset["step"].values)
    np.testing.assert_allclose(by_command, by_python, rtol=1e-5)
    assert steps == list(shown)
    ours = np.array([shown[step] for step in steps])[:, :, 0]  # step, method
    theirs = by_command.reshape(-1, len(steps)) if by_command.ndim == 4 else by_command
    for method in range(2):
        close = [np.allclose(ours[:, method], row, rtol=1e-5) for row in theirs]
        assert sum(close) == 1


def test_the_page_answers_within_50_ms_while_it_trains():
    with browser.opened(address(**LONG), bypass_csp=True) as tab:
        tab.page.wait_for_function("playground.picture.step > 200")
        responses = tab.page.evaluate(RESPONSES)
        assert tab.page.evaluate("playground.state.at") == 0  # the inputs had their effect
        assert not tab.page.evaluate("playground.picture.done")
        tab.page.click("#play")
        tab.page.wait_for_function("playground.picture.spectrum.seeds.length === 1")
        at_rest = tab.page.evaluate(RESPONSES)
        # A machine that has no time for the page at rest either says nothing about the training.
        assert np.median(responses) < max(50, 2 * np.median(at_rest))


def test_what_you_see_follows_the_numbers():
    a, b = "sgdm:0.02:0.9", "adam:0.02:0.9:0.9"
    for names, changes in (
        (["SGDM", "Adam"], {"a": a, "b": b}),
        (["Adam", "SGDM"], {"a": b, "b": a}),
    ):
        with playground(seeds=2, steps=50, batch=64, **changes) as tab:
            means = np.mean(losses(tab)[50], axis=1)
            tab.page.locator("#words", has_text="After 50 steps").wait_for()
            text = tab.page.inner_text("#words")
            assert f"{names[int(means.argmin())]} has a loss of" in text
            assert f"that of {names[int(means.argmax())]} is" in text
            assert "in 2 of 2 seeds" in text or "in 1 of 2 seeds" in text
    with playground(**QUICK, clip=0, a="sgdm:10:0.9") as tab:
        assert np.isnan(losses(tab)[50][0]).all()
        tab.page.locator("#words", has_text="After 50 steps, SGDM has diverged:").wait_for()
        tab.page.press("#loss", "End")
        tab.page.wait_for_function("playground.picture.noise?.step === 50")
        assert tab.page.evaluate("playground.picture.noise.methods") == [1]  # of Adam alone
        assert_quiet(tab)


def test_the_tour_goes_through_all_stops():
    with playground(**QUICK) as tab:
        tab.page.get_by_text("Why? Six stops").click()
        for stop in range(1, 7):
            tab.page.locator("#sentence h2", has_text=f"{stop}. ").wait_for()
            wait_until_done(tab)
            assert tab.page.locator(".panel.pointed").count() == 1
            if stop < 6:
                tab.page.get_by_text("Next").click()
        assert tab.page.get_by_text("Next").count() == 0
        tab.page.get_by_text("Leave the tour").click()
        tab.page.locator("#sentence h2").wait_for(state="detached")
        assert tab.page.locator(".panel.pointed").count() == 0
        assert_quiet(tab)


@pytest.mark.parametrize("width", [400, 1280])
def test_explanations_appear_where_the_pointer_or_the_keyboard_is(width: int):
    with playground(width, **QUICK) as tab:
        tip = tab.page.locator("#tip")
        assert not tip.is_visible()
        explained = "[...document.querySelectorAll('[data-explain]')].map(e => e.dataset.explain)"
        for name in dict.fromkeys(tab.page.evaluate(explained)):
            owner = tab.page.locator(f"[data-explain='{name}']").first
            if not owner.is_visible():
                continue
            if width > 600:
                owner.hover()
            else:
                focused = owner.locator("input, select").or_(owner).last
                focused.focus()
                tab.page.keyboard.press("Shift")  # the keyboard is in use: focus is shown
                focused.blur()
                focused.focus()
            tip.wait_for(state="visible", timeout=3000)
            assert len(tip.inner_text()) > 15
            box = tip.bounding_box()
            assert box
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
            tab.page.keyboard.press("Escape")
            assert not tip.is_visible()
        tab.page.locator("label[data-explain=batch] span").click()  # as a finger does
        tab.page.wait_for_timeout(100)
        assert "Fresh prompts" in tip.inner_text()

"""A headless Chromium with one tab at a time, driven by Playwright."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from typing import Literal

from playwright.sync_api import Browser, Page, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def binary() -> str | None:
    """Where Chromium or Chrome is, or None."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


class Tab:
    """A page as a screen of one width and colour scheme shows it, and what it asked for.

    Attributes:
        page: Playwright's page.
        complaints: Errors and warnings of the console.
        requests: Everything that was asked for, data in the page apart.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", self._on_message)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self._on_request(request.url))

    def _on_message(self, message) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _on_request(self, url: str) -> None:
        if not url.startswith("data:"):
            self.requests.append(url)


_running: list[Browser] = []


@contextlib.contextmanager
def started() -> Iterator[None]:
    """The browser whose tabs are opened inside."""
    with sync_playwright() as playwright:
        launch = playwright.chromium.launch
        with launch(executable_path=binary(), args=["--no-sandbox"]) as browser:
            _running.append(browser)
            yield
            _running.remove(browser)


@contextlib.contextmanager
def opened(
    url: str,
    width: int = 1200,
    scheme: Literal["light", "dark"] = "light",
    *,
    bypass_csp: bool = False,
) -> Iterator[Tab]:
    """A tab that shows `url`, alone: with cookies, storage and a cache of its own.

    A page that forbids `eval` has to be asked with `bypass_csp`.
    """
    (browser,) = _running
    with browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme=scheme,
        is_mobile=width < 600,
        bypass_csp=bypass_csp,
    ) as context:
        tab = Tab(context.new_page())
        tab.page.goto(url)
        yield tab

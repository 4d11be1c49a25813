"""Pages in a real browser. A test fails on any error in the console and on any request that a page makes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium, else Playwright's own. Without one its tests are skipped, and fail where
    LAB_REQUIRE_GUESTS is set."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    with sync_playwright() as playwright:
        if found is None and not Path(playwright.chromium.executable_path).exists():
            refuse = pytest.fail if os.environ.get("LAB_REQUIRE_GUESTS") else pytest.skip
            refuse("there is no Chromium: `make chromium`")
        started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


Opened = Callable[..., Page]


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Iterator[Opened]:
    """``show(html)`` opens a page; ``scheme="dark"``, ``width=420``. What goes wrong in it fails the test."""
    wrong: list[str] = []
    contexts = []

    def opened(html: str, scheme: str = "light", width: int = 1400) -> Page:
        file = tmp_path / f"page-{len(contexts)}.html"
        file.write_text(html, encoding="utf-8")
        context = browser.new_context(
            viewport={"width": width, "height": 900}, reduced_motion="reduce",
            color_scheme="dark" if scheme == "dark" else "light",
        )  # fmt: skip
        contexts.append(context)
        page = context.new_page()

        def asked(request: Request) -> None:
            if request.url.partition("#")[0] != file.as_uri():
                wrong.append(f"request: {request.url}")

        page.on("request", asked)
        page.on("console", lambda said: wrong.append(f"console: {said.text}") if said.type != "log" else None)
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}"))
        page.goto(file.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not wrong, "\n".join(wrong)

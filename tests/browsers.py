"""A real Chromium that must stay silent and off the network: one for all tests, because Playwright allows no second."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

_ARGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    place = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if place is None:
        pytest.skip("no Chromium on the PATH")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=place, args=list(_ARGS))
        yield started
        started.close()


class Watched:
    """A page, and everything it should not have done."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.said: list[str] = []
        self.asked: list[str] = []
        page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        page.on("request", lambda request: self.asked.append(request.url))

    def silent(self) -> None:
        assert self.said == []
        outside = [u for u in self.asked if not u.startswith(("file:", "data:", "blob:", "http://127.0.0.1:"))]
        assert outside == []


@pytest.fixture
def watch(browser: Any) -> Iterator[Any]:
    """`watch(address, width, height, dark)` opens a page and gives a `Watched`."""
    contexts = []

    def open_page(address: str, width: int = 1280, height: int = 900, dark: bool = False) -> Watched:
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", accept_downloads=True
        )
        contexts.append(context)
        watched = Watched(context.new_page())
        watched.page.goto(address)
        watched.page.wait_for_selector("html[data-ready=yes]", timeout=30_000)
        return watched

    yield open_page
    for context in contexts:
        context.close()

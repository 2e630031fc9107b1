"""The dashboard in a real browser: Debian's Chromium, headless, driven by Playwright, loopback only."""

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import ConsoleMessage, Page, Request, expect, sync_playwright

from tests.e2e.http.apps import KEY, App

WAIT_MS = 20_000
PAUSE_MS = 3_100  # between two looks of the page at the app, and a little more
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
]


def program() -> str | None:
    """The browser; None where there is none."""
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


wants_a_browser = pytest.mark.skipif(
    program() is None and os.environ.get("CI", "").lower() != "true",
    reason="there is no chromium here: apt-get install chromium, or name one in CHROMIUM",
)


class Dashboard:
    """The page of an app, and all that went wrong in it.

    Attributes:
        page: Playwright's.
        problems: what the console or an uncaught error said.
        asked: every address that the page has asked for.
    """

    def __init__(self, app: App, page: Page) -> None:
        self.app = app
        self.page = page
        self.problems: list[str] = []
        self.asked: list[str] = []
        page.clock.install()  # it goes as clocks do, but can be put forward
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("request", self._sent)

    def _heard(self, message: ConsoleMessage) -> None:
        # A refusal is shown on the page; that the browser also logs each is no fault of the page.
        if message.type in {"error", "warning"} and "Failed to load resource" not in message.text:
            self.problems.append(message.text)

    def _sent(self, request: Request) -> None:
        self.asked.append(request.url)

    def looks_again(self, times: int = 1) -> None:
        """Put the page's clock forward, so that it looks at the app now; as often as asked."""
        for _ in range(times):
            with self.page.expect_response(re.compile("/api/status")):
                self.page.clock.run_for(PAUSE_MS)

    def open(self) -> None:
        """Load the page, as somebody without a key."""
        self.page.goto(f"{self.app.base}/api/dashboard")

    def enter(self, key: str = KEY) -> None:
        """Load the page and type the key."""
        self.open()
        self.page.get_by_label("Function key").fill(key)
        self.page.get_by_role("button", name="Show the status").click()

    def tile(self, name: str, figure: str) -> None:
        """Wait until a tile shows this figure."""
        expect(self.page.locator(f"#tile-{name} .figure")).to_have_text(figure)

    def letters(self, count: int) -> None:
        """Wait until so many dead letters are listed."""
        expect(self.page.locator("#letters > li")).to_have_count(count)

    def sees(self, text: str | re.Pattern[str]) -> None:
        """Wait until the text is to be seen."""
        expect(self.page.get_by_text(text).filter(visible=True).first).to_be_visible()

    def word(self, word: str) -> None:
        """Wait until the verdict is this word."""
        expect(self.page.locator("#word")).to_have_text(word)

    def chooses(self, target: str) -> None:
        """Choose another target, and wait until it is shown."""
        self.page.get_by_role("navigation").get_by_role("button", name=target, exact=True).click()
        expect(self.page.locator("#whose")).to_have_text(target)
        expect(self.page.locator(".fresh")).to_be_visible()

    def discards(self, who: str = "Ada", why: str = "a test") -> None:
        """Say why and who one is, and discard."""
        self.page.get_by_label("Why are they discarded?").fill(why)
        self.page.get_by_label("Who are you?").fill(who)
        self.press("Discard")

    def press(self, name: str) -> None:
        """Press the button that is to be seen with this name."""
        self.page.get_by_role("button", name=name, exact=True).click()


@contextmanager
def browsing(directory: Path) -> Iterator[Any]:
    """A browser with a profile of its own; gives how to make a page with options of its own."""
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program(), headless=True, args=FLAGS, env={**os.environ, "HOME": str(directory)}
        )
        try:
            yield browser
        finally:
            browser.close()


def violations(page: Page) -> Sequence[str]:
    """What axe-core finds wrong with the page as it is now."""
    from axe_playwright_python.sync_playwright import Axe  # noqa: PLC0415  # only where there is a browser

    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {one['help']}: {[node['html'][:200] for node in one['nodes']]}" for one in found]

"""The dashboard for everybody: axe, keyboard alone, screen readers."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.e2e.http.apps import KEY, TARGET, App
from tests.e2e.http.browser import Dashboard, violations, wants_a_browser
from tests.e2e.http.letters import dead
from tests.support import Client, given, held, pending_count, tweet

pytestmark = wants_a_browser


LOOKS = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"color_scheme": "light", "viewport": {"width": 360, "height": 740}, "has_touch": True},
}


@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_nothing_wrong(app: App, client: Client, visit: Callable[..., Dashboard], look: str) -> None:
    """Contrast, names, landmarks, order: at the gate, with everything there is to show, and in each dialog."""
    ids = given(client, TARGET, *held(range(8)), *held(range(8, 12), consumer="another"))
    client.execute_command("XDEL", TARGET.stream, ids[1])
    app.post("runs")
    dead(client, tweet(1), [b"user", b"no id", b"text", b"x" * 5000])
    given(client, TARGET, *held(range(20, 24), idle_ms=0))
    # axe puts a script into the page, which the page's policy would forbid.
    dashboard = visit(app, bypass_csp=True, reduced_motion="reduce", **LOOKS[look])
    page = dashboard.page
    dashboard.open()
    assert violations(page) == []
    dashboard.enter()
    dashboard.sees("2 dead letters wait")
    page.locator("#letters summary").last.click()
    assert violations(page) == []
    for button, answer in (("Open the circuit…", "Cancel"), ("Replay all…", "Cancel"), ("Discard all…", "Keep them")):
        dashboard.press(button)
        assert violations(page) == []
        dashboard.press(answer)
    app.post("circuit", action="open", reason="a test", who="Ada")
    dashboard.looks_again()
    dashboard.word("Failing")
    dashboard.sees(re.compile("until a person closes it"))
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_it_can_be_used_with_the_keyboard_alone(app: App, client: Client, visit: Callable[..., Dashboard]) -> None:
    """From the key to a discarded letter, and Escape closes a dialog."""
    given(client, TARGET)
    dead(client, tweet(1))
    dashboard = visit(app)
    page = dashboard.page
    dashboard.open()
    page.keyboard.type(KEY)
    page.keyboard.press("Enter")
    dashboard.sees("1 dead letter waits")

    def tab_to(name: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.textContent").strip() == name:
                return
        raise AssertionError(f"{name} was not reached")

    tab_to("Open the circuit…")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "circuit-open"
    tab_to("Discard all…")
    page.keyboard.press("Enter")
    for _ in range(3):
        page.keyboard.press("Shift+Tab")
    page.keyboard.type("a test")
    page.keyboard.press("Tab")
    page.keyboard.type("Ada")
    tab_to("Discard")
    page.keyboard.press("Enter")
    dashboard.sees("1 dead letter is discarded.")
    assert pending_count(client, TARGET) == 0


def test_a_change_for_the_worse_is_announced(app: App, client: Client, visit: Callable[..., Dashboard]) -> None:
    """Once, in a polite live region; figures that change all the time are not read out."""
    given(client, TARGET)
    app.post("runs")
    dashboard = visit(app)
    dashboard.enter()
    dashboard.word("Healthy")
    region = dashboard.page.locator("#announce")
    assert region.get_attribute("aria-live") == "polite"

    app.post("circuit", action="open", reason="a test", who="Ada")
    dashboard.looks_again()

    dashboard.word("Failing")
    expect(region).to_contain_text("Failing. The circuit has been open")

"""Numbers, moments and what was done, as they are seen on the dashboard, on a phone too."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import expect

from tests.e2e.http.apps import TARGET, App
from tests.e2e.http.browser import Dashboard, violations, wants_a_browser
from tests.e2e.http.letters import dead, lose
from tests.support import Client, given, held, tweet

pytestmark = wants_a_browser


CUT = """
() => [...document.querySelectorAll(".figure, .more, .num, .scroll, dd, .word, .sentence, button")]
  .filter((one) => one.checkVisibility() && getComputedStyle(one).display !== "inline")
  .filter((one) => one.scrollWidth > one.clientWidth + 1)
  .map((one) => `${one.id || one.className}: ${one.textContent.slice(0, 60)}`)
"""
LABELS = """
() => [...document.querySelectorAll("svg.chart text")]
  .filter((one) => one.getBBox().x < 0).map((one) => one.textContent)
"""


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_no_number_is_cut(app: App, client: Client, visit: Callable[..., Dashboard], width: int) -> None:
    """A number that is cut reads as another number: of every figure all is to be seen, on a phone too."""
    given(client, TARGET, *held(range(3), consumer="consumer-of-orders-7d9c5b6f4-x2x9q", idle_ms=0))
    dead(client, *[tweet(number) for number in range(3)])
    lose(client, *range(30), consumer="consumer-of-orders-7d9c5b6f4-x2x9q")
    gone = ("consumer", "", "idle_ms", 0, "deliveries", 0, "at", 1_767_323_045_678, "at_most", 10_000_000)
    client.execute_command("XADD", TARGET.keys.lost, "*", "id", "18446744073709551615-18446744073709551614", *gone)
    big = {"claimed": 10_000_000, "stored": 9_999_000, "parked": 60_000, "lost": 5000, "failed": 12_345}
    pending = {"consumer-of-orders-7d9c5b6f4-x2x9q": 10_000_000}
    report = {"outcome": "completed", "reason": "", "started_at": "2026-01-02T03:04:05.678+00:00", "seconds": 1.5}
    for outcome in ("completed", "dead_letters_full"):
        said = json.dumps(report | big | {"outcome": outcome, "pending_before": pending, "run_id": "93d1a77792b1"})
        client.execute_command("XADD", TARGET.keys.runs, "*", "report", said)
    dashboard = visit(app, viewport={"width": width, "height": 844})
    page = dashboard.page
    dashboard.enter()
    dashboard.letters(3)
    dashboard.sees("9,999,000")
    for chosen in ("week", "day", "latest"):
        page.get_by_role("button", name=chosen, exact=True).click()
    page.get_by_text("Which entries, and why they wait").click()
    expect(page.locator("#waiting-list > li")).to_have_count(3)
    expect(page.locator("#lost-rows")).to_contain_text("10,000,000")

    assert page.evaluate(CUT) == []
    assert page.evaluate(LABELS) == []
    expect(page.locator("#pending-chart")).to_contain_text("10,000,000")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_what_was_done_is_said_where_one_is(app: App, client: Client, visit: Callable[..., Dashboard]) -> None:
    """Far down in a long list too."""
    given(client, TARGET)
    dead(client, *[tweet(number) for number in range(20)])
    dashboard = visit(app, viewport={"width": 390, "height": 844})
    page = dashboard.page
    dashboard.enter()
    dashboard.letters(20)

    page.locator("#letters > li").last.locator("summary").click()
    dashboard.press("Discard this one…")
    dashboard.discards()

    expect(page.locator("#said-text")).to_contain_text(f"{TARGET.name}: 1 dead letter is discarded.")
    expect(page.locator("#said-text")).to_be_in_viewport()


def test_a_run_that_lost_or_buried_entries_has_no_green_tick(
    app: App, client: Client, visit: Callable[..., Dashboard]
) -> None:
    """It did what it should, but a person has to look; its row unfolds to the run's ID and all its reasons."""
    given(client, TARGET)
    report = {"outcome": "completed", "reason": "", "started_at": "2026-01-02T03:04:05.678+00:00", "seconds": 1.5}
    reasons = {f"{'x' * 90} (order {number})": 1 for number in range(5)}
    for more in ({"claimed": 60, "parked": 60, "reasons": reasons, "run_id": "93d1a77792b1"}, {"lost": 1, "stored": 5}):
        client.execute_command("XADD", TARGET.keys.runs, "*", "report", json.dumps(report | more))
    dashboard = visit(app, timezone_id="Asia/Kolkata")
    page = dashboard.page
    dashboard.enter()

    rows = page.locator("#runs-rows tr")
    expect(rows).to_have_count(2)
    kinds = [rows.nth(at).locator("svg.mini").get_attribute("class") for at in (0, 1)]
    assert sorted(kinds) == ["mini fail", "mini warn"]
    details = page.locator("#runs-rows details").filter(visible=True, has_text="order 4")
    details.locator("summary").click()
    expect(details).to_contain_text("run 93d1a77792b1")
    expect(details).to_contain_text("2 Jan 2026, 08:34:05 (2026-01-02 03:04:05 UTC)")


def test_charts_are_read_by_keyboard_and_by_touch(app: App, client: Client, visit: Callable[..., Dashboard]) -> None:
    """What was pending a day ago is found without a mouse."""
    given(client, TARGET, *held(range(3), idle_ms=0))
    now = datetime.now(UTC)
    for minutes in (300, 200, 2):
        report = {
            "outcome": "completed",
            "reason": "",
            "started_at": (now - timedelta(minutes=minutes)).isoformat(timespec="milliseconds"),
            "seconds": 1.5,
            "stored": minutes,
            "pending_before": {"w": 1000 + minutes},
        }
        client.execute_command("XADD", TARGET.keys.runs, "*", "report", json.dumps(report))
    dashboard = visit(app, has_touch=True, bypass_csp=True)  # which axe needs
    page = dashboard.page
    dashboard.enter()
    expect(page.locator("#runs-rows tr")).to_have_count(3)

    page.get_by_role("button", name="hour", exact=True).click()
    expect(page.locator("#pending-span")).to_have_text("last 60 min")
    page.get_by_role("button", name="day", exact=True).click()
    expect(page.locator("#pending-span")).to_have_text("last 24 h")
    page.get_by_label("Moment of the chart of pending entries").focus()
    page.keyboard.press("Home")
    expect(page.locator("#pending-read")).to_contain_text("1,300 pending (w 1,300)")
    page.get_by_label("Bar of the chart of runs").focus()
    page.keyboard.press("End")
    expect(page.locator("#runs-read")).to_contain_text("2 stored or moved")
    page.locator("#pending-chart").tap()
    expect(page.locator("#pending-read")).to_contain_text("pending")
    assert violations(page) == []

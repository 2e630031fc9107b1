"""The dashboard's status as a person reads it: the key, figures, runs, lost entries, checks."""

import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import expect

from tests.e2e.http.apps import KEY, TARGET, App
from tests.e2e.http.browser import Dashboard, wants_a_browser
from tests.e2e.http.letters import dead, lose
from tests.support import Client, given, held, tweet

pytestmark = wants_a_browser


def test_the_key_is_typed_once_and_kept_in_the_tab(app: App, client: Client, visit: Callable[..., Dashboard]) -> None:
    """Not in the address, not in a cookie, not in what outlives the tab; a wrong one is refused and not kept."""
    given(client, TARGET)
    dashboard = visit(app)
    page = dashboard.page

    dashboard.enter("wrong")
    dashboard.sees("This key is not accepted.")
    dashboard.enter("no key: ключ")
    dashboard.sees("characters that cannot be sent")
    dashboard.enter()
    dashboard.sees("nothing waits")
    page.reload()
    dashboard.sees("nothing waits")

    assert page.evaluate("[document.cookie, localStorage.length, location.search]") == ["", 0, ""]
    assert page.evaluate("Object.values(sessionStorage)") == [KEY]

    dashboard.press("Forget the key")
    expect(page.get_by_label("Function key")).to_be_visible()
    expect(page.locator("#board")).to_be_hidden()
    assert page.evaluate("sessionStorage.length") == 0
    page.reload()
    expect(page.get_by_label("Function key")).to_be_visible()


def test_all_is_well(app: App, client: Client, visit: Callable[..., Dashboard]) -> None:
    """A word, a sentence, and the figures."""
    entries = held(range(6))
    given(client, TARGET, *entries)
    app.post("runs")
    given(client, TARGET, *held(range(6, 9), consumer="slow", idle_ms=10))
    dashboard = visit(app)

    dashboard.enter()

    dashboard.word("Healthy")
    dashboard.sees("All is well")
    page = dashboard.page
    dashboard.tile("pending", "3")
    dashboard.tile("circuit", "Closed")
    expect(page.locator("#consumers tr").first).to_contain_text("slow")
    expect(page.locator("#runs-rows tr").first).to_contain_text("6")
    assert page.locator("#pending-chart polygon").count() > 0
    assert page.locator("#runs-chart rect").count() > 0
    assert "3" in page.locator("#pending-chart").get_attribute("aria-label")
    assert page.title() == "reclaim"
    page.locator("#pending-chart").hover()
    assert re.search(r"\d+ pending", page.locator("#pending-read").text_content())


def test_the_page_is_live(app: App, client: Client, visit: Callable[..., Dashboard]) -> None:
    """What changes is seen without anybody doing anything."""
    given(client, TARGET)
    dashboard = visit(app)
    dashboard.enter()
    dashboard.sees("nothing waits")

    dead(client, tweet(1))
    given(client, TARGET, *held(range(4), idle_ms=0))
    dashboard.looks_again()

    dashboard.word("Needs a look")
    dashboard.sees("1 dead letter waits")
    dashboard.tile("pending", "4")
    dashboard.letters(1)
    expect(dashboard.page).to_have_title("Needs a look \N{EN DASH} reclaim")


def test_of_very_many_consumers_the_rest_is_one_row(app: App, client: Client, visit: Callable[..., Dashboard]) -> None:
    """Those that hold most have rows of their own."""
    for number in range(60):
        given(client, TARGET, *held(range(1 if number < 10 else 3), consumer=f"w{number}"))
    dashboard = visit(app)
    dashboard.enter()

    rows = dashboard.page.locator("#consumers tr")
    expect(rows.last).to_contain_text("48 other consumers")
    expect(rows.last.locator(".num").first).to_have_text("124")
    expect(rows.filter(has_text="w")).to_have_count(12)
    expect(dashboard.page.locator("#tile-pending")).to_contain_text("for 60 consumers")


def test_lost_entries_are_listed(app: App, client: Client, visit: Callable[..., Dashboard]) -> None:
    """Which, whose, and what that means."""
    ids = given(client, TARGET, *held(range(3)))
    client.execute_command("XDEL", TARGET.stream, ids[1])
    app.post("runs")
    dashboard = visit(app)

    dashboard.enter()

    dashboard.sees("1 entry was trimmed from the stream or deleted")
    expect(dashboard.page.locator("#lost-rows")).to_contain_text("2-0")


def test_earlier_lost_entries_can_be_had(app: App, client: Client, visit: Callable[..., Dashboard]) -> None:
    """Page after page, down to the first; what is lost meanwhile comes on top."""
    given(client, TARGET)
    lose(client, *range(1, 151))
    dashboard = visit(app)
    dashboard.enter()
    rows = dashboard.page.locator("#lost-rows tr")
    dashboard.sees("150 entries were trimmed")
    expect(rows).to_have_count(20)

    dashboard.press("Earlier ones")
    expect(rows).to_have_count(100)
    lose(client, 151)
    dashboard.looks_again()
    dashboard.sees("151 entries were trimmed")
    dashboard.press("Earlier ones")

    expect(rows).to_have_count(151)
    expect(rows.first).to_contain_text("151-0")
    expect(rows.last).to_contain_text("1-0")
    expect(dashboard.page.locator("#lost-older")).to_be_hidden()


def test_what_the_doctor_found_is_shown(
    serve: Callable[..., Any], embedded: Any, visit: Callable[..., Dashboard]
) -> None:
    """What is not well stands open, with what to do about it; the rest can be unfolded."""
    with serve(embedded.port, HASH_KEYS="x") as app:
        dashboard = visit(app)

        dashboard.enter()

        checks = dashboard.page.locator("#checks")
        expect(checks).to_contain_text("HASH_KEYS is no setting of ours")
        expect(checks).to_contain_text("To do: if HASH_KEY is meant, call it that")
        expect(checks).to_contain_text(f"the stream {TARGET.stream} is not there")
        expect(checks).to_contain_text(re.compile(r"2 of \d+ checks need a look"))
        expect(dashboard.page.locator("#checks-ok")).not_to_be_visible()
        checks.get_by_text("What was looked at").click()
        expect(dashboard.page.locator("#checks-ok")).to_contain_text("the user may run every command")


def test_older_runs_can_be_had(app: App, client: Client, visit: Callable[..., Dashboard]) -> None:
    """Page after page, down to the first."""
    given(client, TARGET)
    for number in range(1, 91):
        report = (
            f'{{"run_id": "r{number}", "outcome": "completed", "claimed": {number}, "stored": {number}, "reason": "",'
            f' "started_at": "2026-01-02T03:{number // 60:02}:{number % 60:02}.000+00:00", "seconds": 0.5,'
            f' "pending_before": {{"a": {number}}}, "pending_after": {{}}}}'
        )
        client.execute_command("XADD", TARGET.keys.runs, f"{number}-0", "report", report)
    dashboard = visit(app)
    dashboard.enter()
    rows = dashboard.page.locator("#runs-rows tr")
    dashboard.sees("Older runs")
    expect(rows).to_have_count(8)

    for _ in range(6):
        if dashboard.page.locator("#runs-older").is_visible():
            before = rows.count()
            dashboard.press("Older runs")
            expect(rows.nth(before)).to_be_visible()

    expect(rows).to_have_count(90)
    expect(dashboard.page.locator("#runs-older")).to_be_hidden()

"""The page's list of pending entries: why each waits, what is in it, and whose it is. It changes nothing."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from reclaim.run.order import digest
from reclaim.state.tries import Try
from tests.e2e.http.apps import OTHER, TARGET, App
from tests.e2e.http.browser import Dashboard, violations, wants_a_browser
from tests.support import Client, Held, given, held, state, tweet

pytestmark = wants_a_browser


def listed(dashboard: Dashboard) -> list[tuple[str, str, str]]:
    """The word, the reason and the ID of each entry that is listed."""
    items = dashboard.page.locator("#waiting-list > li").all()
    return [
        (
            one.locator(".wait").text_content() or "",
            one.locator(".why").text_content() or "",
            one.locator(".mono").text_content() or "",
        )
        for one in items
    ]


def opens_list(dashboard: Dashboard, count: int) -> None:
    """Open the list, and wait until so many entries are in it."""
    dashboard.page.get_by_text("Which entries, and why they wait").click()
    expect(dashboard.page.locator("#waiting-list > li")).to_have_count(count)


@pytest.fixture
def waiting(client: Client) -> list[str]:
    """Entries that wait for different reasons: one failed, one is behind it, one has left the stream; their IDs."""
    ids = given(client, TARGET, *(Held([b"id", b"7", b"text", text], idle_ms=5000) for text in (b"first", b"later")))
    ids += given(client, TARGET, *held([8, 9], consumer="slow", idle_ms=5000))
    client.execute_command("XDEL", TARGET.stream, ids[2])
    client.execute_command("XACK", TARGET.stream, TARGET.group, ids.pop())
    at_ms = 1_700_000_000_000
    record = Try(1, at_ms, at_ms, 1, "fail", digest(b"tweet:7"), "KeyError: 'sku'")
    client.execute_command("HSET", TARGET.keys.tries, ids[0], record.to_bytes())
    return [one.decode() for one in ids]


def test_each_entry_says_why_it_waits_and_what_is_in_it(
    app: App, client: Client, waiting: list[str], visit: Callable[..., Dashboard]
) -> None:
    first, later, gone = waiting
    before = state(client, TARGET)
    dashboard = visit(app)
    dashboard.enter()
    opens_list(dashboard, 3)

    said = listed(dashboard)
    assert [one[::2] for one in said] == [("waiting", first), ("held", later), ("gone", gone)]
    assert re.fullmatch(r"It is tried again in \d+ s: KeyError: 'sku'", said[0][1])
    assert said[1][1] == f"It waits behind {first} of its order key"
    dashboard.page.locator("#waiting-list summary").first.click()
    body = dashboard.page.locator("#waiting-list .body").first
    expect(body).to_contain_text("1 try counts against it")
    assert body.locator("th").all_text_contents() == ["id", "text"]
    assert body.locator("pre").all_text_contents() == ["7", "first"]
    assert state(client, TARGET) == before


def test_a_consumers_entries_have_a_link_of_their_own(
    app: App, waiting: list[str], visit: Callable[..., Dashboard]
) -> None:
    """It survives a reload; and the way back is a press."""
    dashboard = visit(app)
    page = dashboard.page
    dashboard.enter()
    page.locator("#consumers").get_by_role("button", name="slow", exact=True).click()

    expect(page.locator("#waiting-h")).to_have_text("Pending entries of slow")
    expect(page.locator("#waiting-list > li")).to_have_count(1)
    assert page.evaluate("location.hash") == f"#target={TARGET.stream}/{TARGET.group}&consumer=slow"
    page.reload()
    expect(page.locator("#waiting-h")).to_have_text("Pending entries of slow")
    expect(page.locator("#waiting-list > li")).to_have_count(1)
    assert listed(dashboard)[0][2] == waiting[2]
    expect(page.locator("#waiting-seen")).to_have_text(re.compile("^1 entry, last seen"))

    dashboard.press("Those of all consumers")
    expect(page.locator("#waiting-list > li")).to_have_count(3)
    assert page.evaluate("location.hash") == f"#target={TARGET.stream}/{TARGET.group}"


def test_another_target_begins_with_all_consumers(two: App, client: Client, visit: Callable[..., Dashboard]) -> None:
    given(client, TARGET, *held(range(2), consumer="w1", idle_ms=10))
    given(client, OTHER, *held(range(3), consumer="w2", idle_ms=10))
    dashboard = visit(two)
    dashboard.enter()
    dashboard.chooses(f"{TARGET.stream}/{TARGET.group}")
    dashboard.page.locator("#consumers").get_by_role("button", name="w1", exact=True).click()
    expect(dashboard.page.locator("#waiting-list > li")).to_have_count(2)

    dashboard.chooses(f"{OTHER.stream}/{OTHER.group}")

    expect(dashboard.page.locator("#waiting-h")).to_have_text("Pending entries")
    opens_list(dashboard, 3)


def test_a_long_list_is_read_page_by_page_and_stays_where_it_was(
    app: App, client: Client, visit: Callable[..., Dashboard]
) -> None:
    """What is open stays open when it is read again; what is done meanwhile leaves the list."""
    ids = given(client, TARGET, *held(range(45), consumer="w1", idle_ms=10))
    dashboard = visit(app)
    page = dashboard.page
    dashboard.enter()
    opens_list(dashboard, 20)
    page.locator("#waiting-more").click()
    expect(page.locator("#waiting-list > li")).to_have_count(40)
    page.locator("#waiting-list summary").nth(1).click()

    client.execute_command("XACK", TARGET.stream, TARGET.group, ids[0])
    dashboard.looks_again(3)

    expect(page.locator(f'#waiting-list [data-id="{ids[0].decode()}"]')).to_have_count(0)
    expect(page.locator("#waiting-list details[open]")).to_have_count(1)
    assert page.locator("#waiting-list details[open]").locator("pre").first.text_content() == "1"


def test_hostile_fields_and_names_are_shown_and_not_run(
    app: App, client: Client, visit: Callable[..., Dashboard]
) -> None:
    given(client, TARGET, Held([b"<b>", b"<script>document.title='x'</script>"], consumer="<i>w</i>", idle_ms=10))
    dashboard = visit(app)
    page = dashboard.page
    dashboard.enter()
    page.locator("#consumers").get_by_role("button").first.click()

    expect(page.locator("#waiting-h")).to_have_text("Pending entries of <i>w</i>")
    page.locator("#waiting-list summary").first.click()
    assert page.locator("#waiting-list pre").text_content() == "<script>document.title='x'</script>"
    assert page.locator("#waiting b, #waiting i, #waiting script").count() == 0
    assert page.title() != "x"


@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_and_axe_finds_nothing_wrong(
    app: App, client: Client, waiting: list[str], visit: Callable[..., Dashboard], width: int
) -> None:
    given(client, TARGET, Held(tweet(5), consumer="consumer-of-orders-7d9c5b6f4-x2x9q", idle_ms=10))
    dashboard = visit(app, viewport={"width": width, "height": 844}, bypass_csp=True, reduced_motion="reduce")
    page = dashboard.page
    dashboard.enter()
    opens_list(dashboard, len(waiting) + 1)
    page.locator("#waiting-list summary").first.click()

    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("button", name=re.compile("^consumer-of-orders")).click()
    expect(page.locator("#waiting-list > li")).to_have_count(1)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_an_entry_that_cannot_be_read_is_said(app: App, client: Client, visit: Callable[..., Dashboard]) -> None:
    given(client, TARGET, *held([1], idle_ms=10))
    dashboard = visit(app)
    answer: dict[str, Any] = {"error": {"code": "redis_away", "message": "Redis does not answer."}}
    dashboard.page.route("**/api/pending*", lambda route: route.fulfill(status=503, json=answer))
    dashboard.enter()
    dashboard.page.get_by_text("Which entries, and why they wait").click()

    dashboard.sees("They could not be read: Redis does not answer.")

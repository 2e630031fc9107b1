"""The dashboard on who did what, and for whom nothing may be changed."""

import re
from collections.abc import Callable

from playwright.sync_api import expect

from tests.e2e.http.apps import TARGET, App
from tests.e2e.http.browser import Dashboard, wants_a_browser
from tests.e2e.http.letters import dead
from tests.support import Client, given, tweet

pytestmark = wants_a_browser


def test_what_people_did_is_listed(app: App, client: Client, visit: Callable[..., Dashboard]) -> None:
    """Who, when, why and how it ended; as soon as it is done, and what others did too."""
    given(client, TARGET)
    dead(client, tweet(1), tweet(2))
    dashboard = visit(app)
    rows = dashboard.page.locator("#audit-rows tr")
    dashboard.enter()
    dashboard.letters(2)
    dashboard.sees("Nobody has done anything that is on record.")

    dashboard.press("Discard all…")
    dashboard.page.get_by_label("Why are they discarded?").fill("")
    dashboard.press("Discard")  # which the browser refuses: it wants a reason
    assert app.get("status")["targets"][0]["dead_letters"] == 2
    dashboard.discards(who="Grace", why="the old format")

    expect(rows).to_have_count(1)
    for words in ("Grace", "discard", "the old format", "done", "2 discarded"):
        expect(rows.first).to_contain_text(words)
    app.post("circuit", action="open", reason="a test", who="Ada")
    dashboard.looks_again(times=10)
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("Ada")


def test_a_key_that_only_reads_sees_no_button_that_changes_anything(
    app: App, client: Client, visit: Callable[..., Dashboard]
) -> None:
    """Such a key is set on the functions that answer GET, and on no other: there it is refused."""
    given(client, TARGET)
    dead(client, tweet(1))
    dashboard = visit(app)
    page = dashboard.page
    page.route(lambda address: address.endswith("/api/access"), lambda route: route.fulfill(status=401))
    dashboard.enter()
    dashboard.letters(1)
    page.locator("#letters summary").click()

    dashboard.sees("this key only reads")
    expect(page.get_by_role("button", name=re.compile("Run now|Open|Close|Replay|Discard"))).to_have_count(0)
    expect(page.get_by_role("button", name="Save as CSV")).to_be_visible()

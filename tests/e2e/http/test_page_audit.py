"""The dashboard on who did what, and for whom nothing may be changed."""

import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Route, expect

from tests.e2e.http.apps import TARGET, App
from tests.e2e.http.browser import PAUSE_MS, Dashboard, wants_a_browser
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


def test_what_was_under_way_and_is_done_is_listed_once(
    app: App, client: Client, visit: Callable[..., Dashboard]
) -> None:
    """A record with the outcome takes the place of the one that was written before the act."""
    given(client, TARGET)
    about = ["what", "replay", "who", "Ada", "door", "cli", "place", "", "why", "", "meant", "{}", "begun_ms", 1_000]
    add = ("XADD", TARGET.keys.audit, "*", *about)
    for _ in range(25):  # more than are read at once
        client.execute_command(*add, "ended_ms", 2_000, "outcome", "done", "error", "", "counts", "{}")
    begun = client.execute_command(*add)
    dashboard = visit(app)
    rows = dashboard.page.locator("#audit-rows tr")
    dashboard.enter()
    expect(rows).to_have_count(20)
    expect(rows.first).to_contain_text("begun")
    dashboard.page.locator("#audit-older").click()
    expect(rows).to_have_count(26)

    client.execute_command(*add, "ended_ms", 2_000, "outcome", "failed", "error", "", "counts", "{}")
    client.execute_command("XDEL", TARGET.keys.audit, begun)
    dashboard.looks_again(times=10)

    expect(rows.first).to_contain_text("failed")
    expect(rows.filter(has_text="begun")).to_have_count(0)
    expect(rows).to_have_count(26)


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


def test_whom_the_platform_has_signed_in_is_not_asked_for_a_name(
    serve: Callable[..., Any], embedded: Any, client: Client, visit: Callable[..., Dashboard]
) -> None:
    """The platform knows a person by a cookie, which the page's requests have, and adds the name to each request."""
    given(client, TARGET)
    dead(client, tweet(1))
    with serve(embedded.port, WEBSITE_AUTH_ENABLED="True") as app:
        dashboard = visit(app)
        page = dashboard.page
        page.context.add_cookies([{"name": "AppServiceAuthSession", "value": "ann", "url": app.base}])

        def front_end(route: Route) -> None:
            headers = route.request.all_headers()
            assert "AppServiceAuthSession=ann" in headers["cookie"]
            route.continue_(headers={**headers, "x-ms-client-principal-name": "ann@example.com"})

        page.route(lambda address: "/api/" in address and "/dashboard" not in address, front_end)
        dashboard.enter()
        dashboard.letters(1)
        dashboard.press("Discard all…")
        name = page.get_by_label("Who are you?")
        expect(name).to_have_value("ann@example.com")
        expect(name).not_to_be_editable()
        page.get_by_label("Why are they discarded?").fill("a test")
        dashboard.press("Discard")

        dashboard.sees("1 dead letter is discarded.")
        (record,) = app.get("audit")["records"]
        assert record["who"] == "ann@example.com"


def test_who_is_signed_out_is_told_to_sign_in_again(app: App, client: Client, visit: Callable[..., Dashboard]) -> None:
    """The platform leads a request without its cookie to the place where people sign in."""
    given(client, TARGET)
    dashboard = visit(app)
    dashboard.enter()
    dashboard.word("Needs a look")
    to_sign_in = {"Location": "https://login.example/"}
    dashboard.page.route("**/api/status*", lambda route: route.fulfill(status=302, headers=to_sign_in))
    dashboard.page.clock.run_for(PAUSE_MS)

    dashboard.sees(re.compile("The app wants you to sign in again: reload the page"))

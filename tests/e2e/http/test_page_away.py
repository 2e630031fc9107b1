"""The dashboard while the app or Redis is away, slow or refuses."""

import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Route, expect

from dev.server import Server
from tests.e2e.http.apps import TARGET, App
from tests.e2e.http.browser import PAUSE_MS, Dashboard, wants_a_browser
from tests.e2e.http.letters import dead
from tests.support import Client, given, held, raw_client, tweet

pytestmark = wants_a_browser


def test_redis_away_is_said_and_passes(serve: Callable[..., Any], visit: Callable[..., Dashboard]) -> None:
    """What was seen last stays in sight, marked as old; when the server is back the page is live again."""
    with Server() as server, serve(server.port) as app:
        with raw_client(server.port) as client:
            given(client, TARGET, *held(range(3), idle_ms=0))
        dashboard = visit(app)
        dashboard.enter()
        dashboard.sees("for 1 consumer")

        server.stop()
        dashboard.looks_again()

        dashboard.word("Redis does not answer")
        dashboard.sees("What is shown below was so at")
        expect(dashboard.page.locator("#run")).to_be_disabled()
        dashboard.tile("pending", "3")

        server.start()
        with raw_client(server.port) as client:
            given(client, TARGET, *held(range(2), idle_ms=0))
        dashboard.looks_again()

        dashboard.word("Needs a look")
        dashboard.tile("pending", "2")


def test_the_app_away_is_said(serve: Callable[..., Any], embedded: Any, visit: Callable[..., Dashboard]) -> None:
    """In another colour and another word than a failing target."""
    with raw_client(embedded.port) as client:
        given(client, TARGET)
    with serve(embedded.port) as app:
        dashboard = visit(app)
        dashboard.enter()
        dashboard.sees("nothing waits")

    dashboard.page.clock.run_for(PAUSE_MS)
    dashboard.word("Cannot reach the app")
    dashboard.sees("not live; last seen")
    dashboard.problems.clear()


def test_a_wrong_password_is_no_server_that_is_away(serve: Callable[..., Any], visit: Callable[..., Dashboard]) -> None:
    """Waiting does not help; a person has to put the setting right."""
    with Server(requirepass="right") as server, serve(server.port, REDIS_PASSWORD="wrong") as app:
        dashboard = visit(app)
        dashboard.enter()

        dashboard.word("The app cannot use Redis")
        dashboard.sees("refused the user name or password")


def test_the_status_goes_on_while_the_dead_letters_take_long(
    app: App, client: Client, visit: Callable[..., Dashboard]
) -> None:
    """Longer than the pause between two looks; and what fails in the page ends no loop."""
    given(client, TARGET)
    dead(client, tweet(1))
    dashboard = visit(app)
    page = dashboard.page

    def late(route: Route) -> None:
        waiting.append(route)

    waiting: list[Route] = []
    page.route("**/api/dead-letters?**", late)
    dashboard.enter()
    dashboard.sees("1 dead letter waits")
    for count in (2, 3, 4):
        dashboard.looks_again()
        assert sum("/api/status" in address for address in dashboard.asked) > count
    assert len(waiting) == 1
    dead(client, tweet(2))
    dashboard.looks_again()
    dashboard.sees("2 dead letters wait")
    waiting.pop().continue_()
    page.unroute("**/api/dead-letters?**", late)
    with page.expect_response("**/api/dead-letters?**"):
        page.clock.run_for(PAUSE_MS)

    dashboard.letters(2)


def test_an_answer_that_is_late_turns_the_verdict(app: App, client: Client, visit: Callable[..., Dashboard]) -> None:
    """What is shown in green is not to be taken for what is so now."""
    given(client, TARGET)
    app.post("runs")
    dashboard = visit(app)
    page = dashboard.page
    dashboard.enter()
    dashboard.word("Healthy")
    page.wait_for_load_state("networkidle")  # what is asked for already must not be given up when the clock goes on

    page.evaluate("void (window.fetch = () => new Promise(() => {}))")
    page.clock.run_for(20_000)

    dashboard.word("Not live")
    expect(page.locator("#page")).to_have_class(re.compile("stale"))


def test_others_in_the_place_of_some_are_seen(app: App, client: Client, visit: Callable[..., Dashboard]) -> None:
    """The number is the same."""
    given(client, TARGET)
    first, second = dead(client, tweet(1), tweet(2))
    dashboard = visit(app)
    dashboard.enter()
    dashboard.letters(2)

    client.execute_command("XDEL", TARGET.keys.dead, first)
    (third,) = dead(client, tweet(3))
    dashboard.looks_again(times=3)

    items = dashboard.page.locator("#letters > li")
    expect(items.nth(0)).to_have_attribute("data-id", third)
    expect(items.nth(1)).to_have_attribute("data-id", second)


def test_with_an_open_circuit_a_replay_has_to_be_meant(
    app: App, client: Client, visit: Callable[..., Dashboard]
) -> None:
    """The dialog says who opened it; a run by hand says what kept it."""
    given(client, TARGET, *held(range(3)))
    dead(client, tweet(1))
    app.post("circuit", action="open", reason="a test", who="Ada")
    dashboard = visit(app)
    page = dashboard.page
    dashboard.enter()
    dashboard.letters(1)

    dashboard.press("Run now")
    dashboard.sees(re.compile("Nothing was taken over: the circuit is open .*a test"))

    dashboard.press("Replay all…")
    dashboard.sees("Ada opened it: a test.")
    expect(page.locator("#replay-go")).to_be_disabled()
    page.get_by_label("Replay all the same").check()
    dashboard.press("Replay")
    dashboard.sees("1 of 1 replayed.")
    dashboard.letters(0)


def test_a_replay_that_fails_can_be_tried_again(app: App, client: Client, visit: Callable[..., Dashboard]) -> None:
    """The bar is gone, the options are back, and the reason is there."""
    given(client, TARGET)
    dead(client, tweet(1))
    dashboard = visit(app)
    page = dashboard.page
    dashboard.enter()
    dashboard.press("Replay all…")
    app.post("circuit", action="open", reason="a test", who="Ada")  # before the page has seen it
    dashboard.press("Replay")

    expect(page.locator("#replay-error")).to_contain_text("Ada opened it: a test")
    expect(page.locator("#replay-progress")).to_be_hidden()
    expect(page.locator("#replay-options")).to_be_visible()
    expect(page.locator("#replay-go")).to_be_disabled()
    page.get_by_label("Replay all the same").check()
    dashboard.press("Replay")
    dashboard.sees("1 of 1 replayed.")

"""The dashboard, as a person uses it: in a browser, on the app in the stand-in host, on a real server."""

import csv
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Route, expect

from dev.server import Server
from reclaim.ops.saved import letter_of
from tests.e2e.http.apps import KEY, OTHER, TARGET, App
from tests.e2e.http.browser import PAUSE_MS, Dashboard, violations, wants_a_browser
from tests.e2e.http.letters import dead, lose
from tests.support import Client, a_target, given, held, pending_count, raw_client, state, stored, tweet

pytestmark = wants_a_browser


# --- the key ---------------------------------------------------------------------------------------------------------


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


# --- what is shown ---------------------------------------------------------------------------------------------------


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


# --- what is done ----------------------------------------------------------------------------------------------------


def test_run_now_runs_and_says_what_came_of_it(app: App, client: Client, visit: Callable[..., Dashboard]) -> None:
    """And that another run was at work, where it was."""
    entries = held(range(5))
    given(client, TARGET, *entries)
    dashboard = visit(app)
    dashboard.enter()

    dashboard.press("Run now")

    dashboard.sees("The run: completed, 5 claimed, 5 stored")
    assert state(client, TARGET).hashes == stored(*entries)
    dashboard.press("Dismiss")
    expect(dashboard.page.locator("#said")).to_be_hidden()

    client.execute_command("SET", TARGET.keys.lease, "somebody else", "PX", 60_000)
    dashboard.press("Run now")
    dashboard.sees("Skipped: somebody else has the lease")


def test_the_circuit_is_opened_and_closed_with_a_reason(
    app: App, client: Client, visit: Callable[..., Dashboard]
) -> None:
    """Cancelling does nothing; who did it and why is shown."""
    given(client, TARGET, *held(range(5)))
    dashboard = visit(app)
    page = dashboard.page
    dashboard.enter()

    dashboard.press("Open the circuit…")
    dashboard.press("Cancel")
    dashboard.press("Open the circuit…")
    page.get_by_label("Reason").fill("the database <b>moves</b>")
    page.get_by_label("Your name").fill("Ada")
    dashboard.press("Open it")

    dashboard.sees("The circuit is open.")
    dashboard.word("Failing")
    dashboard.sees(re.compile("until a person closes it"))
    expect(page.locator("#circuit-facts")).to_contain_text("Ada")
    expect(page.locator("#circuit-facts")).to_contain_text("the database <b>moves</b>")
    expect(page.locator("#circuit-open")).to_be_hidden()
    assert app.post("runs")["runs"][0]["outcome"] == "circuit_open"

    page.locator("#verdict-close").click()
    expect(page.get_by_label("Your name")).to_have_value("Ada")
    page.get_by_label("Reason").fill("it has moved")
    page.keyboard.press("Enter")

    dashboard.sees("The circuit is closed.")
    dashboard.tile("circuit", "Closed")
    assert app.post("runs")["runs"][0]["acknowledged"] == 5


HOSTILE = {
    "script": b"<script>document.title='broken'</script>",
    "html": b"<img src=x onerror=document.title='broken'><b>bold</b>",
    "rtl": "שלום עולם \u202eevil\u202c مرحبا".encode(),
    "nul": b"a\0b\x1b[31mred",
    "not-utf-8": bytes(range(256)),
    "large": ("0123456789" * 10_240).encode(),
    "</textarea><script>": b"name",
    "": b"",
}


def test_any_bytes_are_shown_and_none_is_run(app: App, client: Client, visit: Callable[..., Dashboard]) -> None:
    """As text, whole or its beginning, and as bytes."""
    given(client, TARGET)
    dead(client, [part for name, value in HOSTILE.items() for part in (name.encode(), value)])
    dashboard = visit(app)
    page = dashboard.page
    dashboard.enter()
    page.locator("#letters summary").click()

    shown = dict(zip(page.locator(".body th bdi").all_text_contents(), page.locator(".body pre").all(), strict=True))

    assert shown["script"].text_content() == "<script>document.title='broken'</script>"
    assert shown["html"].text_content() == HOSTILE["html"].decode()
    assert shown["rtl"].text_content() == "שלום עולם \\u202eevil\\u202c مرحبا"
    assert shown["nul"].text_content() == "a\\x00b\\x1b[31mred"
    assert "\\xff" in shown["not-utf-8"].text_content()
    assert shown["(empty name)"].text_content() == "(empty)"
    assert shown["large"].text_content() == "0123456789" * 100 + "…"
    page.get_by_role("button", name="Show all 102,400 bytes").click()
    assert shown["large"].text_content() == HOSTILE["large"].decode()
    page.get_by_role("button", name="As bytes").nth(3).click()
    assert shown["nul"].text_content() == f"000000  {'61 00 62 1b 5b 33 31 6d 72 65 64':47}  a.b.[31mred"
    page.get_by_role("button", name="As text").click()
    assert shown["nul"].text_content() == "a\\x00b\\x1b[31mred"
    assert page.title() != "broken"
    assert page.locator(".body script, .body img, .body b").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_dead_letters_are_replayed(app: App, client: Client, visit: Callable[..., Dashboard]) -> None:
    """All of them, after a look at how many; what fails again stays."""
    given(client, TARGET)
    dead(client, *(tweet(number) for number in range(24)), [b"user", b"no id"])
    dashboard = visit(app)
    page = dashboard.page
    dashboard.enter()
    dashboard.sees("20 of 25 are shown")
    dashboard.press("More")
    dashboard.letters(25)

    dashboard.press("Replay all…")
    dashboard.sees("25 would be replayed.")
    page.get_by_label("Each second").fill("1000")
    dashboard.press("Replay")

    dashboard.sees("24 of 25 replayed, 1 failed again.")
    dashboard.letters(1)
    assert state(client, TARGET).hashes == stored(*(tweet(number) for number in range(24)))


def test_a_replay_shows_its_progress_and_can_be_stopped(
    app: App, client: Client, visit: Callable[..., Dashboard]
) -> None:
    """What was replayed until then is counted."""
    given(client, TARGET)
    dead(client, *(tweet(number) for number in range(60)))
    dashboard = visit(app)
    page = dashboard.page
    dashboard.enter()

    dashboard.press("Replay all…")
    page.get_by_label("Each second").fill("2")
    dashboard.press("Replay")

    expect(page.get_by_role("progressbar")).to_be_visible()
    dashboard.sees(re.compile(r"[1-9]\d* of 60 replayed; [12]\.\d a second, about \d+ s left\."))
    bar = page.get_by_role("progressbar")
    done = page.evaluate("document.querySelector('#replay-bar').value")
    expect(bar).to_have_js_property("max", 60)
    expect(page.locator("#replay-count")).to_contain_text(f"{done:g} of 60 replayed")
    dashboard.press("Stop")
    expect(page.locator("#replay-dialog")).to_be_hidden()
    assert 0 < app.get("status")["targets"][0]["dead_letters"] < 60


def in_short_passes(route: Route) -> None:
    """Send a request for a replay on, but for five seconds: the page asks for fifteen at a time."""
    asked = route.request.post_data_json
    route.continue_(post_data=json.dumps(asked | ({"budget_sec": 5} if "budget_sec" in asked else {})))


def test_a_replay_that_was_stopped_is_not_taken_up_by_the_next(
    app: App, client: Client, visit: Callable[..., Dashboard]
) -> None:
    """The next one waits for what is in work; then it is of what was chosen, and of nothing else."""
    given(client, TARGET)
    dead(client, *(tweet(number) for number in range(40)))
    dashboard = visit(app)
    page = dashboard.page
    page.route("**/api/dead-letters/replay", in_short_passes)
    dashboard.enter()
    dashboard.press("Replay all…")
    page.get_by_label("Each second").fill("2")
    dashboard.press("Replay")
    dashboard.sees(re.compile(r"[1-9]\d* of 40 replayed"))

    dashboard.press("Stop")
    dashboard.sees("The replay is stopping")
    dashboard.press("Replay all…")
    dashboard.sees("The replay before this one is still ending")
    expect(page.locator("#said")).to_contain_text(re.compile(r"\d+ of 40 replayed"))
    left = app.get("status")["targets"][0]["dead_letters"]
    page.locator("#letters summary").first.click()
    dashboard.press("Replay this one…")
    dashboard.press("Replay")

    dashboard.sees("1 of 1 replayed.")
    assert 0 < left < 40
    assert app.get("status")["targets"][0]["dead_letters"] == left - 1


def test_a_replay_goes_on_after_a_reload(app: App, client: Client, visit: Callable[..., Dashboard]) -> None:
    """With what was meant when it was asked for: what became a dead letter since then is left alone."""
    given(client, TARGET)
    dead(client, *(tweet(number) for number in range(30)))
    dashboard = visit(app)
    page = dashboard.page
    dashboard.enter()
    dashboard.letters(20)
    dashboard.press("Replay all…")
    page.get_by_label("Each second").fill("3")
    dashboard.press("Replay")
    dashboard.sees(re.compile(r"[1-9]\d* of 30 replayed; "))
    (later,) = dead(client, tweet(99))

    page.reload()

    dashboard.sees(f"The replay of dead letters of {TARGET.name} goes on")
    expect(page.locator("#said-text")).to_contain_text(re.compile(r"\d+ of 30 replayed"), timeout=40_000)
    assert [one["id"] for one in app.get("dead-letters")["dead_letters"]] == [later]
    assert page.evaluate("Object.keys(sessionStorage)") == ["reclaim-key"]


def test_two_browsers_replay_at_once(app: App, client: Client, visit: Callable[..., Dashboard]) -> None:
    """One waits for the other, and what is stored is stored once; neither is told that it failed."""
    given(client, TARGET)
    dead(client, *(tweet(number) for number in range(24)))
    both = [visit(app), visit(app)]
    for dashboard in both:
        dashboard.enter()
        dashboard.letters(20)
        dashboard.press("Replay all…")
        dashboard.page.get_by_label("Each second").fill("3")
    for dashboard in both:
        dashboard.press("Replay")

    both[1].sees("Another run or replay is at work on this target; this one waits for it.")
    for dashboard in both:
        expect(dashboard.page.locator("#said-text")).to_contain_text("replayed", timeout=40_000)
        expect(dashboard.page.locator("#replay-error")).to_be_empty()
    assert app.get("status")["targets"][0]["dead_letters"] == 0


def test_what_comes_after_the_question_is_not_discarded(
    app: App, client: Client, visit: Callable[..., Dashboard]
) -> None:
    """All are those that there were when it was asked."""
    given(client, TARGET)
    dead(client, *(tweet(number) for number in range(5)))
    dashboard = visit(app)
    dashboard.enter()
    dashboard.letters(5)

    dashboard.press("Discard all…")
    dashboard.sees(f"Discard all 5 dead letters of {TARGET.name}?")
    later = dead(client, *(tweet(number) for number in range(3)))
    dashboard.discards()

    dashboard.sees("5 dead letters are discarded.")
    assert [letter["id"] for letter in app.get("dead-letters")["dead_letters"]] == later


def test_what_fails_again_is_tried_once_and_told_why(app: App, client: Client, visit: Callable[..., Dashboard]) -> None:
    """It does not stand in the way of the others."""
    given(client, TARGET)
    dead(client, *([b"user", b"no id"] for _ in range(20)), *(tweet(number) for number in range(10)))
    dashboard = visit(app)
    dashboard.enter()

    dashboard.press("Replay all…")
    dashboard.press("Replay")

    dashboard.sees("10 of 30 replayed, 20 failed again. Most often: MissingField: no field 'id'")
    dashboard.letters(20)


def test_dead_letters_that_cannot_be_read_are_not_none(
    app: App, client: Client, visit: Callable[..., Dashboard]
) -> None:
    """It says why, and shows them when it can."""
    given(client, TARGET)
    dead(client, tweet(1))
    dashboard = visit(app)
    failing = {"error": {"code": "redis_error", "message": "it is broken"}}
    dashboard.page.route("**/api/dead-letters?*", lambda route: route.fulfill(status=500, json=failing))
    dashboard.enter()

    dashboard.sees("They could not be read: it is broken")
    expect(dashboard.page.get_by_text("There are none: no entry waits")).to_have_count(0)
    dashboard.page.unroute_all()
    dashboard.looks_again()

    dashboard.letters(1)


def test_chosen_dead_letters_are_discarded_after_a_question(
    app: App, client: Client, visit: Callable[..., Dashboard]
) -> None:
    """The safe answer has the focus; saying no keeps them."""
    given(client, TARGET)
    ids = dead(client, *(tweet(number) for number in range(5)))
    dashboard = visit(app)
    page = dashboard.page
    dashboard.enter()

    page.get_by_label(f"Choose dead letter {ids[1]}").check()
    page.get_by_label(f"Choose dead letter {ids[3]}").check()
    dashboard.press("Discard 2 chosen…")
    dashboard.sees(f"Discard 2 dead letters of {TARGET.name}?")
    assert page.evaluate("document.activeElement.textContent") == "Keep them"
    page.keyboard.press("Enter")
    assert app.get("dead-letters")["count"] == 5
    dashboard.press("Discard 2 chosen…")
    dashboard.discards()

    dashboard.sees("2 dead letters are discarded.")
    assert [letter["id"] for letter in app.get("dead-letters")["dead_letters"]] == [ids[0], ids[2], ids[4]]

    page.locator("#letters summary").first.click()
    dashboard.press("Replay this one…")
    dashboard.sees("1 would be replayed.")
    dashboard.press("Cancel")
    dashboard.press("Discard this one…")
    dashboard.discards()
    dashboard.sees("1 dead letter is discarded.")
    dashboard.press("Discard all…")
    dashboard.sees(f"Discard all 2 dead letters of {TARGET.name}?")
    dashboard.discards()
    dashboard.sees("There are none: no entry waits for a person.")
    assert app.get("dead-letters")["count"] == 0


def test_what_is_open_stays_open_when_others_come(app: App, client: Client, visit: Callable[..., Dashboard]) -> None:
    """A reader is not disturbed by what arrives."""
    given(client, TARGET)
    first, _ = dead(client, tweet(1), tweet(2))
    dashboard = visit(app)
    page = dashboard.page
    dashboard.enter()
    page.locator("#letters summary").first.click()
    page.get_by_label(f"Choose dead letter {first}").check()

    dead(client, tweet(3))
    dashboard.looks_again()

    dashboard.letters(3)
    expect(page.locator("#letters details[open]")).to_have_count(1)
    expect(page.get_by_label(f"Choose dead letter {first}")).to_be_checked()


# --- several targets -------------------------------------------------------------------------------------------------


def test_two_targets_are_shown_side_by_side(two: App, client: Client, visit: Callable[..., Dashboard]) -> None:
    """Each with its own word; what is done is done to the one that is looked at."""
    given(client, TARGET, *held(range(3), idle_ms=0))
    given(client, OTHER, *held(range(5), idle_ms=0))
    dead(client, tweet(7), target=OTHER)
    dashboard = visit(two)
    page = dashboard.page
    dashboard.enter()
    rows = page.locator("#targets tr")
    dashboard.sees("for 1 consumer")

    expect(rows).to_have_text([re.compile(f"{OTHER.name}.*needs a look.*5"), re.compile(f"{TARGET.name}.*3")])
    dashboard.tile("pending", "5")
    dashboard.letters(1)
    dashboard.chooses(TARGET.name)
    dashboard.tile("pending", "3")
    dashboard.letters(0)
    dashboard.chooses(OTHER.name)
    dashboard.tile("pending", "5")
    dashboard.letters(1)

    dashboard.press("Discard all…")
    dashboard.sees(f"Discard the only dead letter of {OTHER.name}?")
    dashboard.discards()
    dashboard.sees(f"{OTHER.name}: 1 dead letter is discarded.")
    dashboard.press("Open the circuit…")
    dashboard.sees(f"Open the circuit of {OTHER.name}")
    page.get_by_label("Reason").fill("a test")
    page.get_by_label("Your name").fill("Ada")
    dashboard.press("Open it")
    dashboard.word("Failing")

    states = {one["target"]: one["circuit"] for one in two.get("status")["overview"]}
    assert states == {TARGET.name: "closed", OTHER.name: "open"}
    dashboard.chooses(TARGET.name)
    dashboard.word("Needs a look")
    expect(page).to_have_title("Failing \N{EN DASH} reclaim")


def test_a_link_to_a_target_survives_a_reload(two: App, client: Client, visit: Callable[..., Dashboard]) -> None:
    """As an alert has it. What is chosen is named in the address, and going to a section does not change that."""
    given(client, TARGET, *held(range(3), idle_ms=0))
    given(client, OTHER)
    dashboard = visit(two)
    page = dashboard.page
    link = f"#target={OTHER.name}"
    page.goto(f"{two.base}/api/dashboard{link}")
    page.get_by_label("Function key").fill(KEY)
    dashboard.press("Show the status")

    expect(page.locator("#whose")).to_have_text(OTHER.name)
    page.reload()
    expect(page.locator("#whose")).to_have_text(OTHER.name)
    page.locator("#tile-dead").click()
    expect(page.locator("#dead")).to_be_focused()
    assert page.evaluate("location.hash") == link

    dashboard.chooses(TARGET.name)
    assert page.evaluate("location.hash") == f"#target={TARGET.name}"
    page.evaluate(f"location.hash = '{link}'")
    expect(page.locator("#whose")).to_have_text(OTHER.name)


def test_a_link_to_a_target_that_is_gone_shows_the_worst(
    two: App, client: Client, visit: Callable[..., Dashboard]
) -> None:
    """An old alert is opened after its target was taken out of the settings."""
    given(client, TARGET)
    given(client, OTHER)
    dead(client, tweet(1), target=OTHER)
    dashboard = visit(two)
    dashboard.page.goto(f"{two.base}/api/dashboard#target=gone/g")
    dashboard.page.get_by_label("Function key").fill(KEY)
    dashboard.press("Show the status")

    expect(dashboard.page.locator("#whose")).to_have_text(OTHER.name)
    assert dashboard.page.evaluate("location.hash") == f"#target={OTHER.name}"


@pytest.fixture(scope="module")
def hundred(serve: Callable[..., Any], servers: Any) -> Iterator[tuple[App, list[Any]]]:
    """An app with a hundred targets, and the targets."""
    targets = [a_target(stream=f"orders-of-region-{number}", group="billing") for number in range(100)]
    named = [{"stream": one.stream, "group": one.group, "min_idle_time_sec": 1} for one in targets]
    with serve(servers.get("valkey-9").port, RECLAIM_TARGETS=json.dumps(named)) as app:
        yield app, targets


def test_a_hundred_targets_leave_the_verdict_in_sight(
    hundred: tuple[App, list[Any]], client: Client, visit: Callable[..., Dashboard]
) -> None:
    """The worst first; a box finds one by a part of its name, and the one that is looked at stays in sight."""
    app, targets = hundred
    for target in targets:
        given(client, target)
    dead(client, tweet(1), tweet(2), target=targets[70])
    dead(client, tweet(1), target=targets[30])
    dashboard = visit(app, viewport={"width": 1280, "height": 800}, bypass_csp=True)  # which axe needs
    page = dashboard.page
    dashboard.enter()

    expect(page.locator("#targets-h")).to_contain_text("100 targets")
    expect(page.locator("#whose")).to_have_text(targets[70].name)
    assert page.locator("#targets button").all_inner_texts()[:2] == [targets[70].name, targets[30].name]
    assert page.locator("#verdict").bounding_box()["y"] + page.locator("#verdict").bounding_box()["height"] < 800
    page.get_by_label("Find a target").fill("REGION-98")
    expect(page.locator("#targets tr")).to_have_count(1)
    dashboard.chooses(targets[98].name)
    page.get_by_label("Find a target").fill("")
    expect(page.locator("#targets tr")).to_have_count(100)
    page.reload()
    expect(page.locator("#whose")).to_have_text(targets[98].name)
    expect(page.locator('#targets button[aria-current="true"]')).to_be_in_viewport()
    page.get_by_label("Find a target").fill("nowhere")
    dashboard.sees("No target has “nowhere” in its name.")
    page.get_by_label("Find a target").fill("")
    assert violations(page) == []


# --- numbers, moments and what was done, as they are seen ------------------------------------------------------------

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
    lose(client, *range(30))
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


# --- the workbench for dead letters ----------------------------------------------------------------------------------


def dead_of(client: Client, kind: str, *numbers: int, body: list[bytes] | None = None) -> list[str]:
    """Dead letters whose errors differ in a number only."""
    ids = []
    for number in numbers:
        fields = [part if at % 2 else b"field:" + part for at, part in enumerate(body or tweet(number))]
        about = ["reason", "failed", "error", f"{kind} (order {number})", "consumer", "w", "deliveries", "1"]
        moment = ["id", f"{number}-0", "at", "2026-01-02T03:04:05.678+00:00"]
        ids.append(client.execute_command("XADD", TARGET.keys.dead, "*", *moment, *about, *fields).decode())
    return ids


def test_dead_letters_are_found_and_only_those_that_fit_are_discarded(
    app: App, client: Client, visit: Callable[..., Dashboard]
) -> None:
    """The newest first; by a word, and by the group of their error; what is done is done to what fits."""
    given(client, TARGET)
    dead_of(client, "KeyError: 'sku'", *range(25))
    kept = dead_of(client, "TimeoutError: no stock", 90, 91)
    dashboard = visit(app)
    page = dashboard.page
    dashboard.enter()
    dashboard.letters(20)
    expect(page.locator("#letters > li").first).to_contain_text("(order 91)")

    page.get_by_label("What to find").fill("no stock")
    page.get_by_role("button", name="Find", exact=True).click()
    dashboard.letters(2)
    dashboard.sees("2 dead letters fit; looked at 27.")
    page.get_by_text("Groups by error").click()
    expect(page.locator("#dead-groups-rows tr")).to_have_count(1)
    dashboard.press("Show all")
    expect(page.locator("#dead-groups-rows tr")).to_have_count(2)
    page.locator("#dead-groups-rows tr", has_text="KeyError").get_by_role("button").click()
    dashboard.sees("Only the group")
    dashboard.press("Discard all that fit (25)…")
    dashboard.sees(f"Discard 25 dead letters of {TARGET.name} that fit?")
    dashboard.discards()

    dashboard.sees("25 dead letters are discarded.")
    assert [one["id"] for one in app.get("dead-letters")["dead_letters"]] == kept


def test_what_is_to_be_discarded_is_saved_first(
    app: App, client: Client, visit: Callable[..., Dashboard], tmp_path: Path
) -> None:
    """Whole, byte for byte; all that fit, or those chosen, as lines or for a spreadsheet."""
    given(client, TARGET)
    body = [b"id", b"1", b"raw", bytes(range(256)) * 8]
    dead_of(client, "KeyError: 'sku'", 1, body=body)
    dead_of(client, "TimeoutError: no stock", *range(2, 122))
    dashboard = visit(app)
    page = dashboard.page
    dashboard.enter()
    dashboard.letters(20)

    page.get_by_label("What to find").fill("sku")
    page.get_by_role("button", name="Find", exact=True).click()
    dashboard.letters(1)
    dashboard.press("Discard all that fit (1)…")
    with page.expect_download() as first:
        dashboard.press("Save them as JSON Lines first")
    dashboard.press("Keep them")
    dashboard.press("Show all")
    dashboard.letters(20)
    with page.expect_download() as second:
        dashboard.press("Save as CSV")

    first.value.save_as(tmp_path / "one")
    second.value.save_as(tmp_path / "all")
    (line,) = (tmp_path / "one").read_text().splitlines()
    assert list(letter_of(line, "the line").entry.fields) == body
    assert first.value.suggested_filename.endswith(".jsonl")
    assert len(list(csv.reader((tmp_path / "all").read_text().splitlines()))) == 122


def test_json_in_a_dead_letter_is_set_out_and_copied(app: App, client: Client, visit: Callable[..., Dashboard]) -> None:
    """A person reads it without another tool; what is copied is JSON too."""
    given(client, TARGET)
    (letter_id,) = dead_of(client, "KeyError: 'sku'", 1, body=[b"id", b"1", b"order", b'{"lines":[{"sku":"x"}]}'])
    dashboard = visit(app, permissions=["clipboard-read", "clipboard-write"])
    page = dashboard.page
    dashboard.enter()
    page.locator("#letters summary").click()

    dashboard.press("As JSON")
    assert page.locator("#letters pre").last.text_content() == '{\n  "lines": [\n    {\n      "sku": "x"\n    }\n  ]\n}'
    dashboard.press("Copy as JSON")
    dashboard.sees("Copied.")
    copied = json.loads(page.evaluate("navigator.clipboard.readText()"))
    assert (copied["id"], copied["fields"][1]) == (letter_id, ["order", '{"lines":[{"sku":"x"}]}'])


# --- who did what, and who may ----------------------------------------------------------------------------------------


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


# --- what is away ----------------------------------------------------------------------------------------------------


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


# --- for everybody ---------------------------------------------------------------------------------------------------

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

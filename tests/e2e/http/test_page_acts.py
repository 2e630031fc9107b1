"""What a person does on the dashboard: a run, the circuit, replays and discards, each after a question."""

import re
from collections.abc import Callable

from playwright.sync_api import Route, expect

from tests.e2e.http.apps import TARGET, App
from tests.e2e.http.browser import Dashboard, wants_a_browser
from tests.e2e.http.letters import dead
from tests.support import Client, given, held, state, stored, tweet

pytestmark = wants_a_browser


def with_letters(count: int, app: App, client: Client, visit: Callable[..., Dashboard]) -> Dashboard:
    """A page of an app that has so many dead letters, each of which can be replayed."""
    given(client, TARGET)
    dead(client, *(tweet(number) for number in range(count)))
    return visit(app)


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
    dashboard = with_letters(60, app, client, visit)
    page = dashboard.page
    dashboard.enter()

    dashboard.press("Replay all…")
    page.get_by_label("Each second").fill("2")
    dashboard.press("Replay")

    dashboard.sees("Replaying…")  # until the first of it is done
    expect(page.get_by_role("progressbar")).to_be_visible()
    dashboard.sees(re.compile(r"[1-9]\d* of 60 replayed; [12]\.\d a second, about \d+ s left\."))
    bar = page.get_by_role("progressbar")
    done = page.evaluate("document.querySelector('#replay-bar').value")
    expect(bar).to_have_js_property("max", 60)
    expect(page.locator("#replay-count")).to_contain_text(f"{done:g} of 60 replayed")
    dashboard.press("Stop")
    expect(page.locator("#replay-dialog")).to_be_hidden()
    assert 0 < app.get("status")["targets"][0]["dead_letters"] < 60


def test_a_replay_that_was_stopped_is_not_taken_up_by_the_next(
    app: App, client: Client, visit: Callable[..., Dashboard]
) -> None:
    """The next one waits for what is in work; then it is of what was chosen, and of nothing else."""
    dashboard = with_letters(40, app, client, visit)
    page = dashboard.page
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
    dashboard = with_letters(30, app, client, visit)
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


def test_a_pass_that_had_no_time_does_not_end_the_replay(
    app: App, client: Client, visit: Callable[..., Dashboard]
) -> None:
    """It has waited for the run before it, and its time was over when it could begin."""
    dashboard = with_letters(3, app, client, visit)
    page = dashboard.page
    none = {"replayed": 0, "failed": 0, "retried": 0, "held": 0, "missing": 0, "reasons": {}}
    passes: list[str] = []

    def late_at_first(route: Route) -> None:
        if "budget_sec" not in route.request.post_data_json:
            route.continue_()
            return
        passes.append("a pass")
        if len(passes) > 1:
            route.continue_()
        else:
            route.fulfill(json={"target": TARGET.name, "dry_run": False, "chosen": 3, "left": 3, **none})

    page.route("**/api/dead-letters/replay", late_at_first)
    dashboard.enter()
    dashboard.letters(3)
    dashboard.press("Replay all…")
    dashboard.press("Replay")

    dashboard.sees("3 of 3 replayed.")
    assert app.get("status")["targets"][0]["dead_letters"] == 0


def test_a_replay_goes_on_when_the_app_is_back(app: App, client: Client, visit: Callable[..., Dashboard]) -> None:
    """What the app did while it could not answer is told as such: it is neither replayed nor gone."""
    dashboard = with_letters(30, app, client, visit)
    page = dashboard.page
    passes: list[int] = []

    def dies_in_the_second(route: Route) -> None:
        if "budget_sec" not in route.request.post_data_json:
            route.continue_()
            return
        passes.append(1)
        if len(passes) == 2:
            route.fetch()
        if len(passes) in {2, 3}:
            route.abort()
        else:
            route.continue_()

    page.route("**/api/dead-letters/replay", dies_in_the_second)
    dashboard.enter()
    dashboard.letters(20)
    dashboard.press("Replay all…")
    page.get_by_label("Each second").fill("3")
    dashboard.press("Replay")

    dashboard.sees("There is no connection to the app; the replay goes on when that is over.")
    told = page.locator("#said-text")
    expect(told).to_contain_text(re.compile(r"\d+ of 30 replayed, \d+ were handled while"), timeout=40_000)
    known, unseen = map(int, re.findall(r"(\d+) (?:of 30|were)", told.inner_text()))
    assert (known + unseen, app.get("status")["targets"][0]["dead_letters"]) == (30, 0)


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

"""The dashboard's workbench for dead letters: finding, grouping, copying, saving."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Route, expect

from reclaim.ops.saved import letter_of
from tests.e2e.http.apps import TARGET, App
from tests.e2e.http.browser import Dashboard, wants_a_browser
from tests.e2e.http.letters import many_dead
from tests.support import Client, given, tweet

pytestmark = wants_a_browser


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


KINDS = ("KeyError: 'sku' in order {}", "TimeoutError: no answer in {} ms", "ValueError: {} is no number", "{}: rare")


def test_of_a_hundred_thousand_the_first_are_seen_while_the_rest_is_counted(
    app: App, client: Client, visit: Callable[..., Dashboard]
) -> None:
    """The newest come at once; groups and counts grow, and say how far they are; then all that fit are acted on."""
    given(client, TARGET)
    many_dead(client, 100_000, KINDS)
    dashboard = visit(app)
    page = dashboard.page
    said: list[str] = []
    page.expose_function("heard", lambda text: said.append(text))  # noqa: PLW0108  # it wants a function of Python's
    dashboard.enter()
    dashboard.letters(20)
    first = page.locator("#letters > li .mono").first
    assert first.text_content() == "100000-0"
    page.evaluate(
        "new MutationObserver(() => heard(document.getElementById('dead-scan').textContent))"
        ".observe(document.getElementById('dead-scan'), {childList: true, characterData: true, subtree: true})"
    )

    page.locator("#dead-groups summary").click()

    expect(page.locator("#dead-scan")).to_have_text("100,000 dead letters fit; looked at 100,000.")
    growing = [re.fullmatch(r"([\d,]+) dead letters fit; looked at ([\d,]+) of 100,000 so far\.", one) for one in said]
    looked = [int(one[2].replace(",", "")) for one in growing if one]
    assert len(looked) > 3
    assert looked == sorted(looked)
    rows = page.locator("#dead-groups-rows tr").all_inner_texts()
    assert [row.split("\t")[1].strip() for row in rows] == ["25,000"] * 4

    page.get_by_label("What to find").fill("no number")
    dashboard.press("Find")
    dashboard.letters(20)
    dashboard.press("Discard all that fit (25,000)…")
    dashboard.discards()
    dashboard.sees("25,000 dead letters are discarded.")
    assert client.execute_command("XLEN", TARGET.keys.dead) == 75_000


def test_what_fits_is_seen_before_all_is_looked_at(app: App, client: Client, visit: Callable[..., Dashboard]) -> None:
    """One that fits is near the newest, and nothing after it: it does not wait for the end of the search."""
    given(client, TARGET)
    many_dead(client, 100_000, KINDS)
    dashboard = visit(app)
    page = dashboard.page
    dashboard.enter()
    dashboard.letters(20)
    asked = 0

    def hold(route: Route) -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            route.continue_()  # and no other request of the search is answered

    page.route(lambda address: "/api/dead-letters?" in address and "text=" in address, hold)
    page.get_by_label("Where the words are").select_option(label="in the body")
    page.get_by_label("What to find").fill("the text of 99999")
    dashboard.press("Find")

    dashboard.letters(1)
    page.unroute_all(behavior="ignoreErrors")


def test_one_of_a_hundred_thousand_is_found_by_its_id_and_by_its_text(
    app: App, client: Client, visit: Callable[..., Dashboard]
) -> None:
    given(client, TARGET)
    many_dead(client, 100_000, KINDS)
    dashboard = visit(app)
    page = dashboard.page
    dashboard.enter()
    dashboard.letters(20)

    for by, words in (("as the entry's ID", "47110-0"), ("in the body", "the text of 47110")):
        page.get_by_label("Where the words are").select_option(label=by)
        page.get_by_label("What to find").fill(words)
        dashboard.press("Find")
        dashboard.letters(1)
        assert page.locator("#letters > li .mono").text_content() == "47110-0"
        dashboard.press("Show all")
        dashboard.letters(20)

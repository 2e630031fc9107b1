"""Each route of the operations API, over real HTTP: a state is given, one request, the answer and the state after."""

import base64
import concurrent.futures
import csv
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from dev.server import Server, free_port
from reclaim.http.document import document
from reclaim.ops.saved import letter_of
from reclaim.run.report import Outcome
from tests.e2e.http.apps import KEY, OTHER, ROOT, TARGET, App
from tests.e2e.http.letters import dead, lose
from tests.support import (
    Client,
    Endpoint,
    Held,
    State,
    a_target,
    functions,
    given,
    held,
    pending_count,
    raw_client,
    state,
    stored,
    tweet,
)

NAME = TARGET.name
BAD = re.compile(r"^(.+) is (.+); allowed: (.+)$|^the body ")


def hold_lease(client: Client) -> None:
    """Let a run be at work on the target."""
    client.execute_command("SET", TARGET.keys.lease, "run of another", "PX", 60_000)


# --- the document ----------------------------------------------------------------------------------------------------


def test_the_document_has_exactly_the_routes_that_the_app_has(app: App) -> None:
    """And names each as the function is named, so that a log line leads to it."""
    indexed = {}
    for function in functions().values():
        trigger = function.get_trigger().get_dict_repr()
        if trigger["type"] == "httpTrigger":
            (method,) = trigger["methods"]
            indexed[method.value, f"/{trigger['route']}"] = function.get_function_name()

    paths = app.get("openapi.json")["paths"]

    assert indexed == {
        (method.upper(), path): operation["operationId"]
        for path, operations in paths.items()
        for method, operation in operations.items()
    }


def test_the_document_names_the_targets_and_every_outcome(two: App) -> None:
    """With several targets, the one that is meant has to be said."""
    made = two.get("openapi.json")

    schemas = made["components"]["schemas"]
    assert made["openapi"] == "3.1.0"
    assert schemas["Target"]["enum"] == [NAME, OTHER.name]
    assert schemas["Outcome"]["enum"] == [outcome.value for outcome in Outcome]
    asked = {one["name"]: one["required"] for one in made["paths"]["/runs"]["get"]["parameters"]}
    assert asked == {"target": True, "limit": False, "before": False}
    assert schemas["Replay"]["required"] == ["ids", "target"]
    assert schemas["Run"]["required"] == []


# --- keys ------------------------------------------------------------------------------------------------------------

ROUTES = [
    ("GET", "status", {}),
    ("GET", "runs", {}),
    ("POST", "runs", {"json": {}}),
    ("GET", "lost", {}),
    ("GET", "dead-letters", {}),
    ("GET", "dead-letters/groups", {}),
    ("POST", "dead-letters/replay", {"json": {"ids": "all"}}),
    ("DELETE", "dead-letters", {"params": {"ids": "all", "who": "ann", "why": "a test"}}),
    ("POST", "circuit", {"json": {"action": "open", "reason": "a test"}}),
    ("GET", "audit", {}),
    ("POST", "access", {}),
    ("GET", "openapi.json", {}),
]


@pytest.mark.parametrize(("method", "path", "more"), ROUTES)
def test_without_the_key_nothing_is_said_and_nothing_done(
    app: App, client: Client, method: str, path: str, more: dict[str, Any]
) -> None:
    """401, no body; the server is as it was."""
    given(client, TARGET, *held(range(3)))
    dead(client, tweet(9))
    before = state(client, TARGET)

    for key in (None, "", "wrong", KEY[:-1], f"{KEY}x"):
        answer = app.ask(method, path, key=key, **more)
        assert (answer.status_code, answer.content) == (401, b""), f"with the key {key!r}"

    assert state(client, TARGET) == before


def test_nothing_is_cached(app: App, client: Client) -> None:
    """Neither data nor errors: a status from a cache would be a lie."""
    given(client, TARGET)

    answers = [app.ask(method, path, **more) for method, path, more in ROUTES] + [app.ask("GET", "runs?limit=0")]

    assert {answer.headers["cache-control"] for answer in answers} == {"no-store"}
    assert {answer.headers["content-type"] for answer in answers} == {"application/json"}


# --- status and runs -------------------------------------------------------------------------------------------------


def test_the_status_says_what_is_pending_and_what_waits_for_a_person(app: App, client: Client) -> None:
    """Numbers, and one sentence."""
    given(client, TARGET, *held(range(3), idle_ms=100))
    dead(client, tweet(9))

    found = app.get("status")

    (target,) = found["targets"]
    assert found["health"] == target["health"] == "warn"
    assert "1 dead letter waits" in target["sentence"]
    assert (target["target"], target["pending"]["total"], target["dead_letters"]) == (NAME, 3, 1)
    assert [(one["consumer"], one["pending"]) for one in target["pending"]["by_consumer"]] == [("worker", 3)]


def test_a_status_of_a_hundred_targets_is_within_10_kb(serve: Callable[..., Any], embedded: Endpoint) -> None:
    """All in brief, the worst first; in full only the one that is asked for, or the worst."""
    names = [f"orders-of-region-{number}" for number in range(100)]
    with raw_client(embedded.port) as client:
        for number, name in enumerate(names):
            target = a_target(stream=name, group="billing")
            given(client, target, *held(range(number), idle_ms=100))
            if number % 3 == 0:
                lose(client, *range(30), target=target)
                dead(client, *[tweet(one) for one in range(number)], target=target)
    targets = json.dumps([{"stream": name, "group": "billing", "min_idle_time_sec": 1} for name in names])
    with serve(embedded.port, RECLAIM_TARGETS=targets) as app:
        for _ in range(8):
            app.post("runs")
        first, asked = (
            app.ask("GET", "status", params=query) for query in ({}, {"target": "orders-of-region-7/billing"})
        )
        plain = app.ask("GET", "status", headers={"accept-encoding": "gzip;q=0, br"})

    worst = first.json()
    assert len(worst["overview"]) == 100
    assert [one["target"] for one in worst["targets"]] == [worst["overview"][0]["target"]] == [f"{names[99]}/billing"]
    assert [one["target"] for one in asked.json()["targets"]] == ["orders-of-region-7/billing"]
    assert (worst["overview"][0]["dead_letters"], worst["overview"][0]["lost"]) == (99, 30)
    assert first.headers["content-encoding"] == "gzip"
    assert max(first.num_bytes_downloaded, asked.num_bytes_downloaded) <= 10_000
    assert "content-encoding" not in plain.headers
    assert len(plain.json()["overview"]) == 100


def test_a_run_that_finds_nothing_leaves_when_it_looked(app: App, client: Client) -> None:
    """Its report is thinned; what a person reads is when the timer last did its work."""
    given(client, TARGET)
    app.post("runs")
    ticks = []
    for _ in range(2):
        app.post("runs")
        (target,) = app.get("status")["targets"]
        ticks.append(target["last_tick_at"])

    assert len(target["runs"]) <= 1
    assert ticks[0] < ticks[1]


def test_the_status_says_what_the_doctor_found(serve: Callable[..., Any], embedded: Endpoint, client: Client) -> None:
    """Versions, permissions and settings, but no secret among those."""
    given(client, TARGET)
    secret = "a-key-that-is-secret"
    with serve(embedded.port, ALERT_WEBHOOK_URL="http://127.0.0.1:9", ALERT_WEBHOOK_KEY=secret) as app:
        answer = app.ask("GET", "status")

    found = {one["about"]: one for one in answer.json()["doctor"]["findings"]}
    assert {"settings", "connection", "TLS", "user", "server", "memory", "scripts", "clock", NAME} == found.keys()
    assert {one["health"] for one in found.values()} == {"ok"}
    assert found["server"]["what"].startswith("Valkey 9.")
    assert "ALERT_WEBHOOK_KEY=***" in found["settings"]["what"]
    assert secret not in answer.text


def test_a_run_now_parks_misfits_if_it_is_asked_to(app: App, client: Client) -> None:
    """Without that it fails, and changes nothing."""
    given(client, TARGET, Held([b"data", b"x"]))

    (failed,) = app.post("runs")["runs"]
    (parked,) = app.post("runs", park_misfits=True, who="Ann")["runs"]

    assert (failed["outcome"], failed["claimed"]) == ("failed", 0)
    assert (parked["outcome"], parked["parked"]) == ("completed", 1)


def test_a_run_now_reclaims_and_answers_its_report(app: App, client: Client) -> None:
    """And the history has the same report afterwards."""
    entries = held(range(5))
    given(client, TARGET, *entries)

    (report,) = app.post("runs")["runs"]

    assert (report["outcome"], report["acknowledged"]) == ("completed", 5)
    assert state(client, TARGET) == State(hashes=stored(*entries), length=5)
    (kept,) = app.get("runs")["runs"]
    assert kept["run_id"] == report["run_id"]


def test_a_run_that_another_one_keeps_out_says_so(app: App, client: Client) -> None:
    """Nothing is done, and the answer names who is at work."""
    given(client, TARGET, *held(range(2)))
    hold_lease(client)

    (report,) = app.post("runs")["runs"]

    assert report["outcome"] == "lease_held"
    assert "run of another" in report["reason"]
    assert pending_count(client, TARGET) == 2


def test_runs_come_in_pages_newest_first(app: App, client: Client) -> None:
    """The cursor of a page leads to the next; the last has none."""
    given(client, TARGET)
    for number in range(1, 6):
        client.execute_command("XADD", TARGET.keys.runs, f"{number}-0", "report", f'{{"run_id": "r{number}"}}')

    pages = [app.get("runs", limit=2)]
    while pages[-1]["next"]:
        pages.append(app.get("runs", limit=2, before=pages[-1]["next"]))

    assert [[run["run_id"] for run in page["runs"]] for page in pages] == [["r5", "r4"], ["r3", "r2"], ["r1"]]


def test_what_is_no_report_is_passed_over(app: App, client: Client) -> None:
    """Somebody else has written among the reports; the pages go on behind it."""
    given(client, TARGET)
    bad = [b"\xff{", b"[1]", b"null", b'{"seconds": NaN}', b'{"seconds": 1e999}', b"[" * 100_000]
    for number, report in enumerate([b'{"run_id": "r1"}', *bad, b'{"run_id": "r2", "id": "x"}'], 1):
        client.execute_command("XADD", TARGET.keys.runs, f"{number}-0", "report", report)

    pages = [app.get("runs", limit=2)]
    while pages[-1]["next"]:
        pages.append(app.get("runs", limit=2, before=pages[-1]["next"]))

    assert [run["run_id"] for page in pages for run in page["runs"]] == ["r2", "r1"]
    assert pages[0]["runs"][0]["id"] == "8-0"
    assert [run["run_id"] for run in app.get("status")["targets"][0]["runs"]] == ["r2", "r1"]


def test_all_dead_letters_can_mean_those_up_to_one(app: App, client: Client) -> None:
    """The list tells which is the last; what comes later is not meant."""
    given(client, TARGET)
    dead(client, tweet(1), tweet(2))
    last = app.get("dead-letters", limit=1)["last"]
    later = dead(client, tweet(3))

    would = app.post("dead-letters/replay", ids="all", upto=last, dry_run=True)
    gone = app.discard(ids="all", upto=last)

    assert (would["chosen"], gone["discarded"]) == (2, 2)
    assert [letter["id"] for letter in app.get("dead-letters")["dead_letters"]] == later


def test_a_replay_goes_on_after_the_app_was_killed_in_the_middle(
    serve: Callable[..., Any], embedded: Endpoint, client: Client
) -> None:
    """With the same `upto`: each dead letter is stored or still there, and what came later is not meant."""
    given(client, TARGET)
    ids = dead(client, *(tweet(number) for number in range(30)))
    slow = {"HANDLER": "tests.integration.cli.slow:handle", "LANES": "1"}
    asked = {"ids": "all", "upto": ids[-1], "rate": 5, "who": "ann"}
    with serve(embedded.port, **slow) as app, concurrent.futures.ThreadPoolExecutor(1) as pool:
        answer = pool.submit(app.ask, "POST", "dead-letters/replay", json=asked)
        while client.execute_command("XLEN", TARGET.keys.dead) == len(ids):
            time.sleep(0.005)
        assert app.process is not None
        app.process.kill()
        assert isinstance(answer.exception(60), httpx2.TransportError)
    left = client.execute_command("XLEN", TARGET.keys.dead)
    (later,) = dead(client, tweet(99))
    client.execute_command("DEL", TARGET.keys.lease)  # which ends by itself

    with serve(embedded.port) as app:
        rest = app.post("dead-letters/replay", ids="all", upto=ids[-1])
        records = app.get("audit")["records"]
        there = app.get("dead-letters")["dead_letters"]

    assert 0 < left < len(ids)
    assert (rest["chosen"], rest["replayed"], rest["left"]) == (left, left, 0)
    assert [one["id"] for one in there] == [later]
    assert [(one["outcome"], one["meant"].get("upto")) for one in records] == [("done", ids[-1]), ("begun", ids[-1])]


# --- lost entries ----------------------------------------------------------------------------------------------------


def test_lost_entries_come_in_pages_the_last_found_first(app: App, client: Client) -> None:
    """Whose they were, and when that was found; the cursor of a page leads to the next."""
    given(client, TARGET)
    lose(client, *range(1, 4))
    client.execute_command("XADD", TARGET.keys.lost, "*", "id", "2-0", "somebody", "else")
    lose(client, 4, 5)

    pages = [app.get("lost", limit=2)]
    while pages[-1]["next"]:
        pages.append(app.get("lost", limit=2, before=pages[-1]["next"]))

    assert [[one["id"] for one in page["lost"]] for page in pages] == [["5-0", "4-0"], ["3-0"], ["2-0", "1-0"], []]
    assert {page["count"] for page in pages} == {6}
    found = {"consumer": "gone", "deliveries": 2, "idle_ms": 60_000, "at": "2026-01-02T03:04:05.678+00:00"}
    assert pages[-2]["lost"][1:] == [{"id": "1-0", **found, "at_most": None}]


# --- dead letters ----------------------------------------------------------------------------------------------------


def test_dead_letters_come_with_their_bytes_untouched_and_a_text_that_is_safe_to_show(app: App, client: Client) -> None:
    """Controls, marks that turn text around, and what is not UTF-8 become escapes."""
    value = "<script>\0\x1b[31m שלום \u202eevil".encode() + b"\xff"
    dead(client, [b"id", b"7", b"na\0me", value])

    (letter,) = app.get("dead-letters")["dead_letters"]

    assert (letter["entry_id"], letter["reason"], letter["error"]) == ("1-0", "bad_entry", "it is bad")
    name, found = letter["fields"][1]["name"], letter["fields"][1]["value"]
    assert name["text"] == "na\\x00me"
    assert found["text"] == "<script>\\x00\\x1b[31m שלום \\u202eevil\\xff"
    assert base64.b64decode(found["base64"]) == value
    assert found["bytes"] == len(value)


def test_the_text_of_a_long_value_is_its_beginning(app: App, client: Client) -> None:
    """A character that the cut goes through is left out; the bytes are all there."""
    value = ("ü" * 60_000).encode()
    dead(client, [b"text", value])

    (letter,) = app.get("dead-letters")["dead_letters"]

    assert letter["fields"][0]["value"]["text"] == "ü" * 1000
    assert base64.b64decode(letter["fields"][0]["value"]["base64"]) == value


@pytest.mark.parametrize(("count", "limit"), [(0, 3), (3, 3), (7, 3), (25, 100), (30, 10)])
def test_dead_letters_come_in_pages(app: App, client: Client, count: int, limit: int) -> None:
    """Each exactly once, in the order in which they became such; the last page says that it is the last."""
    ids = dead(client, *(tweet(number) for number in range(count)))

    found, after = [], None
    while True:
        page = app.get("dead-letters", limit=limit, **({"after": after} if after else {}))
        found += [letter["id"] for letter in page["dead_letters"]]
        assert len(page["dead_letters"]) <= limit
        assert page["count"] == count
        after = page["next"]
        if after is None:
            break

    assert found == ids


def test_a_page_ends_early_where_the_bodies_are_large(app: App, client: Client) -> None:
    """A hundred letters of a megabyte each would be too much for one answer."""
    ids = dead(client, *([b"text", b"x" * 400_000] for _ in range(7)))

    pages = [app.get("dead-letters", limit=100)]
    while pages[-1]["next"]:
        pages.append(app.get("dead-letters", limit=100, after=pages[-1]["next"]))

    assert [len(page["dead_letters"]) for page in pages] == [3, 3, 1]
    assert [letter["id"] for page in pages for letter in page["dead_letters"]] == ids


def test_a_replay_stores_what_can_be_stored(app: App, client: Client) -> None:
    """What fails again stays, with its new error."""
    given(client, TARGET)
    dead(client, tweet(1), [b"user", b"without an id"], tweet(3))

    report = app.post("dead-letters/replay", ids="all")

    assert (report["chosen"], report["replayed"], report["failed"], report["left"]) == (3, 2, 1, 0)
    after = state(client, TARGET)
    assert after.hashes == stored(tweet(1), tweet(3))
    assert [letter[b"id"] for letter in after.dead] == [b"2-0"]


def test_a_replay_of_some_leaves_the_others(app: App, client: Client) -> None:
    """By their IDs; one that is not there is counted."""
    given(client, TARGET)
    first, second, _ = dead(client, *(tweet(number) for number in range(3)))

    report = app.post("dead-letters/replay", ids=[second, first, "7-7"], limit=1)

    assert (report["chosen"], report["replayed"], report["missing"]) == (1, 1, 1)
    assert app.get("status")["targets"][0]["dead_letters"] == 2


def test_a_dry_run_only_counts(app: App, client: Client) -> None:
    """The server is as it was."""
    given(client, TARGET)
    dead(client, tweet(1), tweet(2))
    before = state(client, TARGET)

    report = app.post("dead-letters/replay", ids="all", dry_run=True)

    assert (report["dry_run"], report["chosen"], report["replayed"]) == (True, 2, 0)
    assert state(client, TARGET) == before


def test_a_replay_ends_with_its_budget(app: App, client: Client) -> None:
    """However slow it was asked to be; what it has not begun, it says."""
    given(client, TARGET)
    dead(client, *(tweet(number) for number in range(300)))

    report = app.post("dead-letters/replay", ids="all", rate=1, budget_sec=1)  # without it, five minutes

    assert report["left"] >= 290
    assert report["replayed"] + report["left"] == 300


def test_while_the_circuit_is_open_a_replay_is_refused(app: App, client: Client) -> None:
    """409, who opened it and why, and nothing done, unless it is wanted all the same; a dry run does no harm."""
    given(client, TARGET)
    dead(client, tweet(1))
    app.post("circuit", action="open", reason="the database is moved", who="Ada")

    answer = app.ask("POST", "dead-letters/replay", json={"ids": "all"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "circuit_open")
    assert "Ada opened it: the database is moved" in answer.json()["error"]["message"]
    assert "even_if_open" in answer.json()["error"]["message"]
    assert app.post("dead-letters/replay", ids="all", dry_run=True)["chosen"] == 1
    assert app.get("status")["targets"][0]["dead_letters"] == 1
    assert app.post("dead-letters/replay", ids="all", even_if_open=True)["replayed"] == 1


def test_a_replay_that_a_run_keeps_out_says_so(app: App, client: Client) -> None:
    """409, when to try again, and nothing done."""
    given(client, TARGET)
    dead(client, tweet(1))
    hold_lease(client)

    answer = app.ask("POST", "dead-letters/replay", json={"ids": "all", "budget_sec": 1})

    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "lease_held"
    assert "run of another" in answer.json()["error"]["message"]
    assert int(answer.headers["retry-after"]) > 0
    assert app.get("status")["targets"][0]["dead_letters"] == 1


def other_kind(client: Client, number: int, error: bytes) -> str:
    """A dead letter of another kind than those that `dead` makes."""
    about = [b"id", b"%d-0" % number, b"reason", b"failed", b"error", error, b"consumer", b"other", b"deliveries", b"5"]
    body = [b"at", b"2026-01-02T03:04:05.678+00:00", b"field:text", b"=1+\xff"]
    return client.execute_command("XADD", TARGET.keys.dead, "*", *about, *body).decode()


def test_dead_letters_are_found_by_what_they_are_like(app: App, client: Client) -> None:
    """Each filter, the newest first; groups of them; and a replay and a discard of all that fit."""
    ids = dead(client, tweet(1), tweet(2, text=b"Hello THERE"))
    other = other_kind(client, 77, b"ValueError: no stock (order 3)")

    def found(**like: str) -> list[str]:
        page = app.get("dead-letters", order="newest", **like)
        assert (page["looked"], page["count"], page["next"]) == (3, 3, None)
        return [letter["id"] for letter in page["dead_letters"]]

    assert found() == [other, ids[1], ids[0]]
    assert found(reason="bad_entry") == [ids[1], ids[0]]
    assert found(error="NO STOCK") == [other]
    assert found(error_group="ValueError: no stock (order #)") == [other]
    assert found(consumer="worker", text="there") == [ids[1]]
    assert found(entry_id="77-0,1-0") == [other, ids[0]]
    assert found(since="1h") == [other, ids[1], ids[0]]
    assert app.get("dead-letters", until="1h")["dead_letters"] == []
    assert app.get("dead-letters", since="2999-01-01T00:00:00+01:00")["looked"] == 0
    groups = app.get("dead-letters/groups", order="newest")
    assert [(one["reason"], one["error_group"], one["count"], one["example"]) for one in groups["groups"]] == [
        ("bad_entry", "it is bad", 2, ids[1]),
        ("failed", "ValueError: no stock (order #)", 1, other),
    ]
    assert (groups["matched"], groups["looked"], groups["others"], groups["last"]) == (3, 3, 0, other)
    assert app.post("dead-letters/replay", ids="all", error="stock", dry_run=True)["chosen"] == 1
    assert app.discard(ids="all", reason="bad_entry") == {
        "target": NAME,
        "discarded": 2,
        "done": True,
        "missing": 0,
    }
    assert [letter["id"] for letter in app.get("dead-letters")["dead_letters"]] == [other]


def test_dead_letters_can_be_had_as_parts_of_a_file(app: App, client: Client) -> None:
    """JSON Lines with every byte, and CSV for a spreadsheet, which must take nothing for a formula."""
    dead(client, tweet(1))
    other = other_kind(client, 77, b"=HYPERLINK()")
    client.execute_command("XADD", TARGET.keys.dead, "*", "format", "99", "id", "5-0")

    first = app.ask("GET", "dead-letters", params={"format": "jsonl", "limit": 2})
    then = app.ask("GET", "dead-letters", params={"format": "jsonl", "after": first.headers["x-reclaim-next"]})
    table = app.ask("GET", "dead-letters", params={"format": "csv"})

    assert first.headers["content-type"].partition(";")[0] == "application/x-ndjson"
    read = [letter_of(line, "a line") for line in first.text.splitlines()]
    assert [(letter.entry.id, list(letter.entry.fields)) for letter in read] == [
        (b"1-0", tweet(1)),
        (b"77-0", [b"text", b"=1+\xff"]),
    ]
    assert first.headers["x-reclaim-next"] == other
    assert (then.text, then.headers["x-reclaim-left-out"], "x-reclaim-next" in then.headers) == ("", "1", False)
    assert table.headers["content-type"].partition(";")[0] == "text/csv"
    rows = list(csv.reader(table.text.splitlines()))
    assert [row[1] for row in rows] == ["entry_id", "1-0", "77-0"]
    assert rows[2][4] == "'=HYPERLINK()"


def test_discarding_removes_those_asked_for_or_all(app: App, client: Client) -> None:
    """The answer says how many there were."""
    ids = dead(client, *(tweet(number) for number in range(5)))

    assert app.discard(ids=f"{ids[1]},{ids[3]},9-9")["discarded"] == 2
    assert [letter["id"] for letter in app.get("dead-letters")["dead_letters"]] == [ids[0], ids[2], ids[4]]
    assert app.discard(ids="all")["discarded"] == 3
    assert app.get("dead-letters")["dead_letters"] == []


def test_an_entrys_id_names_its_dead_letters(app: App, client: Client) -> None:
    """For a replay and for a discard; an ID that is nobody's is counted."""
    ids = dead(client, *(tweet(number) for number in range(4)))

    replayed = app.post("dead-letters/replay", ids=["1-0", ids[2], "9-9"])
    gone = app.discard(ids="4-0,9-9,1-0")

    assert (replayed["chosen"], replayed["replayed"], replayed["missing"]) == (2, 2, 1)
    assert (gone["discarded"], gone["missing"]) == (1, 2)
    assert [letter["id"] for letter in app.get("dead-letters")["dead_letters"]] == [ids[1]]


@pytest.mark.parametrize(
    ("said", "allowed"),
    [({"who": None}, "the person's name"), ({"why": None}, "the reason"), ({"why": " \u200b"}, "can be seen")],
)
def test_a_discard_says_who_and_why(app: App, client: Client, said: dict[str, str | None], allowed: str) -> None:
    """It cannot be undone, so nobody does it without a name and a reason."""
    ids = dead(client, tweet(1))
    query = {"ids": "all", "who": "ann", "why": "a test", **said}

    refused = app.ask("DELETE", "dead-letters", params={name: one for name, one in query.items() if one is not None})

    (name,) = said
    assert refused.status_code == 400
    message = refused.json()["error"]["message"]
    assert message.startswith(name)
    assert allowed in message
    assert [letter["id"] for letter in app.get("dead-letters")["dead_letters"]] == [*ids]
    assert app.get("audit")["records"] == []


# --- the circuit -----------------------------------------------------------------------------------------------------


def test_a_person_opens_the_circuit_and_closes_it(app: App, client: Client) -> None:
    """While it is open a run takes nothing over, and says why."""
    entries = held(range(4))
    given(client, TARGET, *entries)

    opened = app.post("circuit", action="open", reason="the database is moved", who="Ada")
    (refused,) = app.post("runs")["runs"]

    assert opened["effect"] == "opened"
    assert (opened["circuit"]["state"], opened["circuit"]["who"], opened["circuit"]["limit"]) == ("open", "Ada", 50)
    assert refused["outcome"] == "circuit_open"
    assert "the database is moved" in refused["reason"]
    assert pending_count(client, TARGET) == 4

    closed = app.post("circuit", action="close", reason="done")
    (report,) = app.post("runs")["runs"]

    assert (closed["effect"], closed["circuit"]["state"]) == ("closed", "closed")
    assert report["acknowledged"] == 4


def test_what_is_so_already_is_no_change(app: App) -> None:
    """The answer says so."""
    effects = [app.post("circuit", action=action, reason="a test")["effect"] for action in ("close", "open", "open")]

    assert effects == ["is_closed", "opened", "is_open"]


# --- who did what ----------------------------------------------------------------------------------------------------


def test_what_is_done_is_recorded_with_who_and_why(app: App, client: Client) -> None:
    """Headers that the platform would set count for nothing where it signs nobody in. Looking leaves no record."""
    given(client, TARGET)
    dead(client, tweet(1), tweet(2), tweet(3))
    forged = {"x-ms-client-principal-name": "the boss", "x-forwarded-for": "6.6.6.6", "x-functions-key": KEY}

    query = {"ids": "all", "text": "nobody wrote this", "who": "ann", "why": "a test"}
    httpx2.delete(f"{app.base}/api/dead-letters", params=query, headers=forged).raise_for_status()
    app.post("dead-letters/replay", ids="all", limit=1, who="bob")
    app.post("dead-letters/replay", ids="all", dry_run=True)
    app.post("runs")
    first = app.get("audit", limit=2)
    then = app.get("audit", limit=2, before=first["next"])

    told = [(one["what"], one["who"], one["place"], one["outcome"]) for one in (*first["records"], *then["records"])]
    assert told == [
        ("run", "somebody with a function key", "", "done"),
        ("replay", "bob", "", "done"),
        ("discard", "ann", "", "done"),
    ]
    discard = then["records"][0]
    assert (discard["why"], discard["meant"]) == ("a test", {"ids": "all", "text": "nobody wrote this"})
    assert (discard["counts"], discard["door"], then["next"]) == ({"discarded": 0, "done": True}, "http", None)


def test_where_the_platform_signs_people_in_the_name_is_its_own(
    serve: Callable[..., Any], embedded: Endpoint, client: Client
) -> None:
    """Whatever the request says."""
    given(client, TARGET)
    with serve(embedded.port, WEBSITE_AUTH_ENABLED="True") as app:
        headers = {"x-ms-client-principal-name": "ann@example.com", "x-functions-key": KEY}
        body = {"action": "open", "reason": "a test", "who": "somebody else"}
        changed = httpx2.post(f"{app.base}/api/circuit", json=body, headers=headers).json()
        query = {"ids": "all", "who": "somebody else", "why": "a test"}
        httpx2.delete(f"{app.base}/api/dead-letters", params=query, headers=headers).raise_for_status()
        discarded, opened = app.get("audit")["records"]
        access = httpx2.post(f"{app.base}/api/access", json={}, headers=headers).json()

    assert access == {"may_change": True, "signed_in": "ann@example.com"}
    assert changed["circuit"]["who"] == opened["who"] == discarded["who"] == "ann@example.com"


def test_health_needs_no_key_and_names_nothing(app: App, serve: Callable[..., Any], embedded: Endpoint) -> None:
    """Bad settings and a Redis that does not answer are 503; a missing group is not its business."""
    well = app.ask("GET", "health", key=None)
    with serve(embedded.port, LANES="many") as bad:
        unset = bad.ask("GET", "health", key=None)
    with serve(free_port()) as away:
        unanswered = away.ask("GET", "health", key=None)

    assert [(one.status_code, one.json()) for one in (well, unset, unanswered)] == [
        (200, {"status": "ok"}),
        (503, {"status": "fail"}),
        (503, {"status": "fail"}),
    ]


def test_metrics_are_told_in_prometheus_format(app: App, client: Client) -> None:
    """With the key: they name streams and groups."""
    given(client, TARGET, *held(range(3)))
    dead(client, tweet(9))

    answer = app.ask("GET", "metrics")

    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert f'reclaim_pending_entries{{group="{TARGET.group}",stream="{TARGET.stream}"}} 3.0' in answer.text
    assert f'reclaim_dead_letters{{group="{TARGET.group}",stream="{TARGET.stream}"}} 1.0' in answer.text
    assert app.ask("GET", "metrics", key=None).status_code == 401


def test_a_key_that_may_change_things_learns_so(app: App) -> None:
    """A key that only reads is not set on this function: the host answers 401. A forged name counts for nothing."""
    forged = app.ask("POST", "access", json={}, headers={"x-ms-client-principal-name": "ann@example.com"})
    assert forged.json() == {"may_change": True, "signed_in": None}
    assert app.ask("POST", "access", key="a key that only reads").status_code == 401


# --- what is refused -------------------------------------------------------------------------------------------------

REFUSED = [
    ("GET", "status?x=1", None, '"x"'),
    ("GET", "runs?limit=0", None, "limit"),
    ("GET", "runs?limit=101", None, "limit"),
    ("GET", "runs?limit=99999999999999999999999999", None, "limit"),
    ("GET", "runs?limit=ten", None, "limit"),
    ("GET", "runs?limit=1.5", None, "limit"),
    ("GET", "runs?limit=%D9%A3", None, "limit"),  # a digit, but an Arabic one
    ("GET", "runs?limit=1&limit=2", None, "limit"),
    ("GET", "runs?before=yesterday", None, "before"),
    ("GET", "runs?before=1-1%0A", None, "before"),
    ("GET", "runs?target=s", None, "target"),
    ("GET", "dead-letters?after=1", None, "after"),
    ("GET", "dead-letters?target=%00", None, "target"),
    ("GET", "dead-letters?since=yesterday", None, "since"),
    ("GET", "dead-letters?until=2026-13-01", None, "until"),
    ("GET", "dead-letters?entry_id=1", None, "entry_id"),
    ("GET", "dead-letters?format=xml", None, "format"),
    ("GET", "dead-letters/groups?limit=5", None, '"limit"'),
    ("DELETE", "dead-letters", None, "ids"),
    ("DELETE", "dead-letters?who=ann&why=a&ids=", None, "ids"),
    ("DELETE", "dead-letters?who=ann&why=a&ids=*", None, "ids"),
    ("DELETE", "dead-letters?who=ann&why=a&ids=all,1-1", None, "ids"),
    ("DELETE", f"dead-letters?who=ann&why=a&ids={','.join(['1-1'] * 101)}", None, "ids"),
    ("DELETE", "dead-letters?ids=all", b"{}", "body"),
    ("POST", "runs", b'{"budget_sec": 201}', "budget_sec"),
    ("POST", "runs", b'{"budget_sec": true}', "budget_sec"),
    ("POST", "runs", b'{"budget_sec": NaN}', "body"),
    ("POST", "runs", b'{"target": 1}', "target"),
    ("POST", "runs", b'{"target": "nobody/knows"}', "target"),
    ("POST", "runs?limit=1", b"{}", '"limit"'),
    ("POST", "runs", b"[]", "body"),
    ("POST", "runs", b"{", "body"),
    ("POST", "runs", b"\xff", "body"),
    ("POST", "runs", b"[" * 60_000, "body"),
    ("POST", "runs", b" " * 70_000, "body"),
    ("POST", "runs", b'{"budget_sec": 1, "budget_sec": 2}', "body"),
    ("POST", "dead-letters/replay", b"", "ids"),
    ("POST", "dead-letters/replay", b'{"ids": []}', "ids"),
    ("POST", "dead-letters/replay", b'{"ids": "some"}', "ids"),
    ("POST", "dead-letters/replay", b'{"ids": ["1-1", 2]}', "ids[1]"),
    ("POST", "dead-letters/replay", b'{"ids": ["1-1", "1-1"]}', "ids"),
    ("POST", "dead-letters/replay", b'{"ids": ["18446744073709551616-0"]}', "ids[0]"),
    ("POST", "dead-letters/replay", b'{"ids": {"a": 1}}', "ids"),
    ("POST", "dead-letters/replay", b'{"ids": "all", "limit": 0}', "limit"),
    ("POST", "dead-letters/replay", b'{"ids": "all", "rate": -1}', "rate"),
    ("POST", "dead-letters/replay", b'{"ids": "all", "dry_run": "yes"}', "dry_run"),
    ("POST", "dead-letters/replay", b'{"ids": "all", "force": true}', '"force"'),
    ("POST", "circuit", b'{"action": "open"}', "reason"),
    ("POST", "circuit", b'{"action": "smash", "reason": "x"}', "action"),
    ("POST", "circuit", b'{"action": "open", "reason": "  "}', "reason"),
    ("POST", "circuit", b'{"action": "open", "reason": "a\\u0000b"}', "reason"),
    ("POST", "circuit", b'{"action": "open", "reason": "\\ud800"}', "reason"),
    ("POST", "circuit", b'{"action": "open", "reason": "x", "who": null}', "who"),
    ("POST", "circuit", b'{"action": "open", "reason": "x", "who": " "}', "who"),
    ("POST", "circuit", b'{"action": "open", "reason": "\\u202ex"}', "reason"),
    ("POST", "circuit", b'{"action": "open", "reason": "x", "reason": "y"}', "twice"),
]


@pytest.mark.parametrize(("method", "path", "body", "field"), REFUSED)
def test_what_is_not_as_the_document_says_is_refused_by_name(
    app: App, client: Client, method: str, path: str, body: bytes | None, field: str
) -> None:
    """400; the message names the field and what is allowed, and nothing was done."""
    dead(client, tweet(1))
    before = state(client, TARGET)

    answer = app.ask(method, path, content=body)

    assert answer.status_code == 400, answer.text
    assert answer.json().keys() == {"error"}
    assert answer.json()["error"].keys() == {"code", "message"}
    assert answer.json()["error"]["code"] == "bad_request"
    message = answer.json()["error"]["message"]
    assert field in message.partition("; allowed: ")[0]
    assert "; allowed: " in message
    assert len(message) < 500
    assert state(client, TARGET) == before


def test_a_key_in_the_address_is_the_hosts_matter(app: App) -> None:
    """``?code=`` is how Azure lets a key be given too; it is no parameter of ours."""
    assert app.ask("GET", f"status?code={KEY}", key=None).status_code == 200


def test_an_unknown_method_or_path_is_not_found(app: App) -> None:
    """As the host answers it."""
    assert app.ask("PUT", "runs").status_code in {404, 405}
    assert app.ask("GET", "nothing").status_code == 404


# --- several targets -------------------------------------------------------------------------------------------------


def test_with_two_targets_the_one_that_is_meant_is_said(two: App, client: Client) -> None:
    """What is asked without a name could mean the other."""
    dead(client, tweet(1))

    answer = two.ask("DELETE", "dead-letters?ids=all&who=ann&why=a")

    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == f"target is missing; allowed: {NAME}, {OTHER.name}"
    assert two.discard(ids="all", target=OTHER.name)["discarded"] == 0
    assert two.discard(ids="all", target=NAME)["discarded"] == 1


def test_a_run_without_a_target_runs_all(two: App, client: Client) -> None:
    """As the timer does; with a name, that one alone."""
    given(client, TARGET, *held(range(3)))
    given(client, OTHER, *held(range(3, 5)))

    (report,) = two.post("runs", target=OTHER.name)["runs"]
    assert (report["target"], report["claimed"]) == (OTHER.name, 2)
    reports = two.post("runs")["runs"]
    assert [(one["target"], one["claimed"]) for one in reports] == [(NAME, 3), (OTHER.name, 0)]


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_redis_away_is_a_503_and_passes(serve: Callable[..., Any]) -> None:
    """Each route says so and when to try again; once the server is back, all is as before."""
    with Server() as server, serve(server.port) as app:
        with raw_client(server.port) as client:
            given(client, TARGET)
        server.stop()
        answers = {f"{method} {path}": app.ask(method, path, **more) for method, path, more in ROUTES[:-2]}
        server.start()
        with raw_client(server.port) as client:
            given(client, TARGET)
        back = _until_answered(app)

    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(answers, 503)
    assert all(answer.json()["error"]["code"] == "redis_away" for answer in answers.values())
    assert all(int(answer.headers["retry-after"]) > 0 for answer in answers.values())
    assert back["targets"][0]["error"] is None


def _until_answered(app: App) -> Any:
    for _ in range(50):
        answer = app.ask("GET", "status")
        if answer.status_code == 200:
            return answer.json()
        time.sleep(0.1)
    raise AssertionError(answer.text)


def test_bad_settings_are_named_without_what_is_in_them(serve: Callable[..., Any]) -> None:
    """A connection string, pasted into the wrong setting, holds the password."""
    secret = "name.redis.cache.windows.net:6380,password=hunter2=,ssl=True"
    with serve(1, REDIS_HOST=secret, PAGE_SIZE="many") as app:
        answers = [app.ask(method, path, **more) for method, path, more in ROUTES]

    assert {answer.status_code for answer in answers} == {500}
    assert {answer.json()["error"]["code"] for answer in answers} == {"bad_settings"}
    (message,) = {answer.json()["error"]["message"] for answer in answers}
    assert "REDIS_HOST, PAGE_SIZE" in message
    assert "hunter2" not in message


def test_a_wrong_password_is_said(serve: Callable[..., Any]) -> None:
    """It does not pass by itself, so it is no 503; every route says the same, and names the host."""
    with Server(requirepass="right") as server, serve(server.port, REDIS_PASSWORD="wrong") as app:
        answers = [app.ask(method, path, **more) for method, path, more in ROUTES[:-2]]

    assert {answer.status_code for answer in answers} == {500}
    assert {answer.json()["error"]["code"] for answer in answers} == {"access_denied"}
    for message in {answer.json()["error"]["message"] for answer in answers}:
        assert f"127.0.0.1:{server.port}" in message
        assert "wrong" not in message.replace("WRONGPASS", "").replace("wrong user", "")


def test_a_key_of_another_type_is_a_redis_error(app: App, client: Client) -> None:
    """Somebody has put something else where the dead letters belong."""
    client.execute_command("SET", TARGET.keys.dead, "x")

    answer = app.ask("GET", "dead-letters")

    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "redis_error")
    assert "WRONGTYPE" in answer.json()["error"]["message"]


# --- the dashboard's files -------------------------------------------------------------------------------------------

FILES = ROOT / "reclaim" / "http" / "dashboard"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}


def ask_file(app: App, path: str, **headers: str) -> httpx2.Response:
    """One of the dashboard's files, asked for without a key; a redirect is not followed."""
    return httpx2.get(f"{app.base}/api/{path}", headers=headers, follow_redirects=False)


def test_the_dashboard_wants_no_key_and_may_do_next_to_nothing(app: App, client: Client) -> None:
    """It holds no data; the policy lets it run its own files and call its own app."""
    dead(client, [b"id", b"a-secret-of-the-data"])

    answer = ask_file(app, "dashboard")

    assert answer.status_code == 200
    assert "a-secret-of-the-data" not in answer.text
    assert NAME not in answer.text
    assert answer.headers["content-security-policy"].split("; ") == [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
    assert not re.search(r"<style|<script(?! type=\"module\" src=)|\s(on\w+|style)=\"", answer.text)


@pytest.mark.parametrize("name", [path.name for path in sorted(FILES.iterdir())])
def test_each_file_of_the_dashboard_is_served_as_what_it_is(app: App, name: str) -> None:
    """Whole, by its type, kept by browsers that ask each time, and with no address of anybody else."""
    content = (FILES / name).read_bytes()

    answer = ask_file(app, f"dashboard/{name}")

    assert (answer.status_code, answer.content) == (200, content)
    assert answer.headers["content-type"] == f"{TYPES[Path(name).suffix]}; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-cache"
    assert set(re.findall(r"""https?://[^"'\s<]+""", answer.text)) <= {"http://www.w3.org/2000/svg"}
    again = ask_file(app, f"dashboard/{name}", **{"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    kept = ("etag", "content-type", "content-security-policy", "cache-control")
    assert [again.headers[header] for header in kept] == [answer.headers[header] for header in kept]
    assert ask_file(app, f"dashboard/{name}", **{"If-None-Match": '"another"'}).status_code == 200


def test_the_dashboards_address_may_end_with_a_slash(app: App) -> None:
    """Its files are named from the address without one, so the browser is sent there."""
    answer = ask_file(app, "dashboard/")

    assert (answer.status_code, answer.headers["location"]) == (308, "../dashboard")
    followed = httpx2.get(f"{app.base}/api/dashboard/", follow_redirects=True)
    assert followed.content == ask_file(app, "dashboard").content


@pytest.mark.parametrize(
    "name",
    ["nothing.js", "INDEX.HTML", "..%2froutes.py", "%2e%2e%2froutes.py", "..%5croutes.py", "static.py", "x%00.js"],
)
def test_nothing_but_the_dashboards_files_can_be_had(app: App, name: str) -> None:
    """A name is looked up; it is never made a path."""
    answer = ask_file(app, f"dashboard/{name}")

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_the_contract_is_valid_whatever_the_targets_are() -> None:
    """It is made anew for each call: one app's targets do not get into another's."""
    assert document(["a/b"])["components"]["schemas"]["Target"]["enum"] == ["a/b"]
    assert document(["c/d"])["components"]["schemas"]["Target"]["enum"] == ["c/d"]

"""`pending` on the command line: what is pending, who has it, and why the last run left it."""

import json
import re

from reclaim.run.order import digest
from reclaim.state.tries import Try
from tests.integration.cli.program import env_of, in_pipe, lines
from tests.support import Client, Endpoint, Held, a_target, age_all, given, state, tweet

TARGET = a_target(min_idle_ms=60_000, delivery_backoff_sec=600.0)
BACKOFF = {"MIN_IDLE_TIME_SEC": "60", "DELIVERY_BACKOFF_SEC": "600"}


def left_by_a_run(client: Client) -> list[str]:
    """One entry that has failed, one that it holds back, and a fresh one of another consumer; their IDs."""
    ids = given(client, TARGET, *(Held(tweet(n)) for n in (1, 1, 3)))
    age_all(client, TARGET, 100_000)
    client.execute_command("XCLAIM", TARGET.stream, TARGET.group, "young", 0, ids[2], "IDLE", 5, "JUSTID")
    record = Try(1, 1_700_000_000_000, 1_700_000_000_000, 1, "fail", b"", "KeyError: 'sku'")
    record = record._replace(digest=digest(b"tweet:1"))
    client.execute_command("HSET", TARGET.keys.tries, ids[0], record.to_bytes())
    return [one.decode() for one in ids]


def test_each_says_why_it_was_left_and_until_when(embedded: Endpoint, client: Client) -> None:
    """Nothing is changed by looking."""
    ids = left_by_a_run(client)
    env = env_of(embedded, TARGET) | BACKOFF
    before = state(client, TARGET)

    ended = in_pipe(env, "pending")

    rows = lines(ended.out)
    assert (ended.code, ended.err) == (0, "s/g: 3 pending entries\n")
    assert [row[0] for row in rows] == ["entry", *ids]
    assert re.fullmatch(r"backing off for \d+ min, until \d\d:\d\d:\d\dZ", rows[1][4])
    assert rows[1][5] == "KeyError: 'sku'"
    assert rows[2][4] == f"held behind {ids[0]}"
    assert rows[3][1] == "young"
    assert rows[3][4].startswith("fresh for ")
    assert rows[1][6].startswith("id=1 user=")
    assert state(client, TARGET) == before


def test_one_consumers_entries_are_listed_page_by_page(embedded: Endpoint, client: Client) -> None:
    """As lines and as JSON; it says how to go on."""
    ids = left_by_a_run(client)
    env = env_of(embedded, TARGET) | BACKOFF

    first = in_pipe(env, "pending", "--consumer", "worker", "--limit", "1")
    rest = json.loads(in_pipe(env, "pending", "--consumer", "worker", "--after", ids[0], "--json").out)

    assert [row[0] for row in lines(first.out)[1:]] == ids[:1]
    assert first.err == f"s/g: 1 pending entry; continue with --after {ids[0]}\n"
    assert [(one["id"], one["waiting"], one["behind"]) for one in rest["entries"]] == [(ids[1], "held", ids[0])]
    assert rest["next"] is None
    assert [row[0] for row in lines(in_pipe(env, "pending", "--consumer", "nobody").out)] == ["entry"]


def test_while_the_circuit_is_open_it_says_that_no_run_takes_them(embedded: Endpoint, client: Client) -> None:
    """Some are due, and wait all the same."""
    left_by_a_run(client)
    env = env_of(embedded, TARGET) | BACKOFF
    in_pipe(env, "circuit", "open", "--reason", "a test")

    *_, last = in_pipe(env, "pending").err.splitlines()

    assert last == "The circuit is open: no run takes them over. `reclaim circuit show` says why."

"""An entry may have a name more than once, and a hash may not: no value disappears without a word."""

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from reclaim import handlers
from reclaim.entry import Entry, readable
from reclaim.run.replay import Replay
from reclaim.run.report import Outcome
from reclaim.settings import Target
from reclaim.state.connection import Server, connect
from reclaim.state.dead_letters import DeadLetters
from tests.faults import by_function
from tests.support import (
    Client,
    Endpoint,
    Held,
    State,
    a_target,
    as_dict,
    given,
    held,
    lived_in,
    run,
    settings_for,
    state,
    stored,
    tweet,
)

pytestmark = pytest.mark.G2

TWICE = [*tweet(1), b"tag", b"first", b"tag", b"second"]
BAD = [b"tag", b"first", b"", b"no name", b"tag", b"second", b"\xff\x00", b"\xfe", b"tag", b"first"]
WIDE = [*tweet(2), *(part for at in range(4_000) for part in (b"f%d" % at, b"%d" % at)), b"text", b"last"]
NEWER = "version"
TOLD = "reclaim s/g: entries have the field tag more than once; a hash keeps its last value only"


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log says of names, without the run's IDs, which an app's log has at the end of each line."""
    return [line.partition(" [")[0] for line in caplog.messages if "more than once" in line]


@asynccontextmanager
async def closing(place: Endpoint, target: Target) -> AsyncIterator[Server]:
    """A connection for a target, closed in the end."""
    connected = connect(settings_for(place, target))
    try:
        yield connected
    finally:
        await connected.aclose()


@pytest.mark.parametrize("version", [None, NEWER])
async def test_the_hash_keeps_the_last_value_and_the_report_counts_the_entry(
    server: Endpoint, client: Client, caplog: pytest.LogCaptureFixture, version: str | None
) -> None:
    """Once for each entry, however many names; the log names one of them, once for each run."""
    target = a_target(hash_version_field=version, page_size=1)
    given(client, target, Held(TWICE), Held([*tweet(2), b"a", b"1", b"a", b"2", b"b", b"3", b"b", b"4"]), Held(WIDE))
    given(client, target, *held(range(3, 6)))

    report = await run(server, target)

    assert (report.outcome, report.stored, report.duplicate_fields) == (Outcome.COMPLETED, 6, 3)
    assert json.loads(report.to_json())["duplicate_fields"] == 3
    assert told(caplog) == [TOLD]
    found = state(client, target).hashes
    assert found[b"tweet:1"][b"tag"] == b"second"
    assert (found[b"tweet:2"][b"text"], found[b"tweet:2"][b"a"], len(found[b"tweet:2"])) == (
        b"last",
        b"2",
        4_000 + 5 + 2 + bool(version),
    )


@pytest.mark.parametrize("version", [None, NEWER])
async def test_an_object_that_has_a_name_twice_is_counted_too(
    embedded: Endpoint, client: Client, caplog: pytest.LogCaptureFixture, version: str | None
) -> None:
    """HASH_FROM makes the hash of a JSON object, whose last value of a name counts as an entry's does."""
    target = a_target(hash_from="data", hash_key="order:{data->id}", hash_version_field=version)
    given(client, target, Held([b"data", b'{"id": 1, "tag": "first", "tag": "second"}']))
    given(client, target, Held([b"data", b'{"id": 2, "tag": "first"}']))

    report = await run(embedded, target)

    assert (report.outcome, report.stored, report.duplicate_fields) == (Outcome.COMPLETED, 2, 1)
    assert told(caplog) == [TOLD]
    assert as_dict(client.execute_command("HGETALL", "order:1"))[b"tag"] == b"second"


async def test_odd_names_and_values_are_stored_as_they_are(server: Endpoint, client: Client) -> None:
    """Empty ones, bytes that are no text, and names such as we use ourselves."""
    target = a_target()
    odd = [
        b"",
        b"no name",
        b"no value",
        b"",
        b"\xff\x00\r\n",
        b"\xfe\x00",
        b"field:id",
        b"1",
        b"reason",
        b"2",
        b"at",
        b"3",
    ]
    given(client, target, Held([*tweet(1), *odd]), Held([*odd, *tweet(2)]))

    report = await run(server, target)

    assert (report.stored, report.duplicate_fields) == (2, 0)
    wanted = {b"tweet:%d" % one: as_dict([*tweet(one), *odd]) for one in (1, 2)}
    assert state(client, target) == State(hashes=wanted, length=2)


async def test_an_entry_stored_over_an_old_hash_has_no_duplicates_for_that(
    client: Client, embedded: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    """HSET answers 0 new fields, as it does where names occur twice."""
    target = a_target()
    given(client, target, *held(range(1, 4)), *held(range(1, 4)), Held([*tweet(1), b"tag", b"1", b"tag", b"2"]))
    client.execute_command("HSET", "tweet:2", *tweet(2))

    report = await run(embedded, target)

    assert (report.stored, report.duplicate_fields) == (7, 1)
    assert caplog.record_tuples == [("reclaim", logging.WARNING, caplog.messages[0])]


async def test_a_function_gets_every_value(client: Client, embedded: Endpoint) -> None:
    """Nothing is lost there, so nothing is counted."""
    seen: list[Entry] = []

    async def note(entry: Entry) -> None:
        seen.append(entry)

    target = a_target()
    given(client, target, Held(TWICE))

    report = await run(embedded, target, by_function(note))

    assert (report.stored, report.duplicate_fields) == (1, 0)
    assert [list(entry.fields) for entry in seen] == [TWICE]
    assert seen[0].get("tag") == b"second"


async def test_a_dead_letter_keeps_and_shows_every_value_in_order(server: Endpoint, client: Client) -> None:
    """Names that occur twice, an empty name, bytes that are no text: as XADD took them, in Redis and in the JSON."""
    target = a_target()
    lived_in(client, target)
    given(client, target, Held(BAD))

    report = await run(server, target)
    async with closing(server, target) as connected:
        ((letter,),) = [some async for some in DeadLetters(connected, target).walk()]

    assert report.parked == 1
    assert list(letter.entry.fields) == BAD
    fields: list[dict[str, Any]] = json.loads(json.dumps(letter.to_dict(readable)))["fields"]
    assert [(one["name"]["text"], one["value"]["text"]) for one in fields] == [
        ("tag", "first"),
        ("", "no name"),
        ("tag", "second"),
        ("\\xff\x00", "\\xfe"),
        ("tag", "first"),
    ]


async def test_a_replay_passes_on_every_value_and_tells_of_those_that_are_lost(
    server: Endpoint, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """A dead letter that fails again keeps all of them; stored in a hash at last, the last value counts."""
    target = a_target()
    given(client, target, Held(TWICE), Held(TWICE[2:]))
    client.execute_command("SET", "tweet:1", "in the way")
    await run(server, target)
    async with closing(server, target) as connected:
        replay = Replay(target, connected, handlers.make(connected, target))
        failed = await replay.run()
        walked = DeadLetters(connected, target).walk()
        left = [list(letter.entry.fields) async for some in walked for letter in some]
        client.execute_command("DEL", "tweet:1")
        caplog.clear()

        report = await replay.run()

    assert (failed.replayed, sorted(left)) == (0, sorted([TWICE, TWICE[2:]]))
    assert (report.replayed, report.failed) == (1, 1)
    assert told(caplog) == [TOLD]
    assert state(client, target).hashes == {b"tweet:1": {**stored(tweet(1))[b"tweet:1"], b"tag": b"second"}}


async def test_a_field_called_like_the_version_field_is_not_overwritten(server: Endpoint, client: Client) -> None:
    """The entry's ID would stand in place of its value. It does not fit the settings, and becomes a dead letter."""
    target = a_target(hash_version_field=NEWER)
    given(client, target, Held(tweet(1)), Held([*tweet(2), b"version", b"its own"]))

    report = await run(server, target)

    error = "NameTaken: it has a field called version, like HASH_VERSION_FIELD"
    assert (report.stored, report.parked, report.reasons) == (1, 1, {error: 1})
    after = state(client, target)
    assert after.pending == {}
    assert after.hashes == {b"tweet:1": stored(tweet(1))[b"tweet:1"] | {b"version": b"1-0"}}
    assert [letter[b"field:version"] for letter in after.dead] == [b"its own"]


async def test_a_value_in_a_field_of_that_name_does_no_harm(client: Client, embedded: Endpoint) -> None:
    """Only names count, not values."""
    target = a_target(hash_version_field=NEWER)
    given(client, target, Held([*tweet(1), b"what", b"version"]))

    report = await run(embedded, target)

    assert (report.stored, report.parked) == (1, 0)
    assert state(client, target) == State(
        hashes={b"tweet:1": stored([*tweet(1), b"what", b"version"])[b"tweet:1"] | {b"version": b"1-0"}}, length=1
    )

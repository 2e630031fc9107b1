"""The run, as whole states: what is given, one run, and everything that is there afterwards."""

import logging
from dataclasses import replace
from typing import Any

import pytest

from dev.tweets import tweets
from reclaim.run.report import Outcome
from tests.support import (
    Client,
    Endpoint,
    Held,
    State,
    a_runner,
    a_target,
    age_all,
    given,
    held,
    run,
    state,
    stored,
    tweet,
)


async def test_idle_entries_are_stored_and_acknowledged_and_fresh_ones_left_alone(
    server: Endpoint, client: Client
) -> None:
    """Only entries that have been idle for long enough are claimed, whatever their consumer is."""
    target = a_target()
    entries = [
        Held(tweet(1), "worker-1"),
        Held(tweet(2), "worker-2", idle_ms=0, deliveries=2),
        Held(tweet(3), "worker-2", deliveries=3),
        Held(tweet(4), "worker-1", idle_ms=0),
        Held(tweet(5), "worker-3"),
        Held(tweet(6), consumer=None),
    ]
    given(client, target, *entries)

    report = await run(server, target)

    assert state(client, target) == State(
        pending={b"2-0": (b"worker-2", 2, "fresh"), b"4-0": (b"worker-1", 1, "fresh")},
        hashes=stored(entries[0], entries[2], entries[4]),
        length=6,
    )
    assert (report.outcome, report.reason) == (Outcome.COMPLETED, "")
    assert (report.claimed, report.stored, report.acknowledged) == (3, 3, 3)
    assert report.pending_before == {"worker-1": 2, "worker-2": 2, "worker-3": 1}
    assert report.pending_after == {"worker-1": 1, "worker-2": 1}


async def test_consumers_whose_names_are_no_text_are_told_apart(server: Endpoint, client: Client) -> None:
    """The report counts the pending entries of each of them."""
    target = a_target()
    for name in (b"\xff", b"\xfe"):
        given(client, target, Held(tweet(1), consumer=None))
        client.execute_command("XREADGROUP", "GROUP", target.group, name, "STREAMS", target.stream, ">")

    report = await run(server, target)

    assert report.pending_before == {"\\xff": 1, "\\xfe": 1}


async def test_a_report_names_the_fifty_consumers_that_hold_most(server: Endpoint, client: Client) -> None:
    """Where there are thousands, the history of 2,000 reports would not be small any more."""
    target = a_target()
    for number in range(60):
        given(client, target, *held(range(1 if number < 10 else 3), consumer=f"w{number}", idle_ms=0))

    report = await run(server, target)

    most = {f"w{number}": 3 for number in range(10, 60)}
    assert report.pending_before == report.pending_after == most | {"other consumers": 10}


async def test_least_idle_time_is_the_targets(server: Endpoint, client: Client) -> None:
    """An entry that is idle for less than MIN_IDLE_TIME_SEC is not taken, however close it is."""
    target = a_target(min_idle_ms=600_000)
    entries = [Held(tweet(1), idle_ms=300_000), Held(tweet(2), idle_ms=601_000)]
    given(client, target, *entries)

    await run(server, target)

    assert state(client, target) == State(
        pending={b"1-0": (b"worker", 1, "fresh")}, hashes=stored(entries[1]), length=2
    )


@pytest.mark.parametrize(
    ("page_size", "count"), [(1, 1), (1, 2), (1, 5), (2, 1), (2, 2), (2, 3), (2, 4), (5, 4), (5, 5), (5, 6), (5, 10)]
)
async def test_every_entry_is_reached_wherever_the_page_borders_are(
    server: Endpoint, client: Client, page_size: int, count: int
) -> None:
    """Below, at and above exact multiples of the page, nothing is left out and no empty page is claimed."""
    target = a_target(page_size=page_size)
    entries = held(range(count))
    given(client, target, *entries)

    report = await run(server, target)

    assert state(client, target) == State(hashes=stored(*entries), length=count)
    assert (report.pages, report.claimed) == (-(-count // page_size), count)


@pytest.mark.parametrize("page_size", [1, 2, 3])
async def test_fresh_entries_between_idle_ones_do_not_hide_them(
    server: Endpoint, client: Client, page_size: int
) -> None:
    """A stretch of fresh entries longer than a page is stepped over."""
    target = a_target(page_size=page_size)
    numbers_idle = {0, 4, 5, 11}
    entries = [Held(tweet(number), idle_ms=3_600_000 if number in numbers_idle else 0) for number in range(12)]
    ids = given(client, target, *entries)

    await run(server, target)

    assert state(client, target) == State(
        pending={entry_id: (b"worker", 1, "fresh") for n, entry_id in enumerate(ids) if n not in numbers_idle},
        hashes=stored(*(entries[number] for number in numbers_idle)),
        length=12,
    )


async def test_nothing_pending_is_reported_and_changes_nothing(server: Endpoint, client: Client) -> None:
    """A group whose consumers have acknowledged everything, or read nothing yet, is left as it is."""
    target = a_target()
    given(client, target, Held(tweet(1), consumer=None))

    report = await run(server, target)

    assert state(client, target) == State(length=1)
    assert (report.outcome, report.claimed, report.pending_before) == (Outcome.NOTHING_PENDING, 0, {})


async def test_an_empty_group_is_nothing_pending(server: Endpoint, client: Client) -> None:
    """A stream without an entry and a group without a consumer are no error."""
    target = a_target()
    given(client, target)

    report = await run(server, target)

    assert state(client, target) == State()
    assert report.outcome is Outcome.NOTHING_PENDING


async def test_a_missing_stream_is_reported_by_name_and_not_made(
    server: Endpoint, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """The stream may come later: the run says what is missing, leaves nothing behind, warns once and does not fail."""
    target = a_target(stream="not-there")

    with caplog.at_level(logging.WARNING, "reclaim"):
        report = await run(server, target)

    assert state(client, target) == State()
    assert report.outcome is Outcome.GROUP_MISSING
    assert caplog.messages == []
    assert "not-there" in report.reason


async def test_a_missing_group_is_reported_by_name_and_taken_up_once_it_is_there(
    server: Endpoint, client: Client
) -> None:
    """One runner reports the missing group, and works the next time, when the group has come."""
    target = a_target(group="late")
    client.execute_command("XADD", target.stream, "1-0", *tweet(1))
    async with a_runner(server, target) as runner:
        missing = await runner.run(30)
        left_behind = client.execute_command("KEYS", "*")
        client.execute_command("XGROUP", "CREATE", target.stream, target.group, "0")
        client.execute_command("XREADGROUP", "GROUP", target.group, "w", "STREAMS", target.stream, ">")
        age_all(client, target)
        found = await runner.run(30)

    assert (missing.outcome, "late" in missing.reason) == (Outcome.GROUP_MISSING, True)
    assert left_behind == [b"s"]
    assert found.outcome is Outcome.COMPLETED
    assert state(client, target) == State(hashes=stored(tweet(1)), length=1)


async def test_a_stream_key_of_another_type_fails_the_run_and_is_left_alone(server: Endpoint, client: Client) -> None:
    """The run fails with Redis's own error, and leaves no lease behind."""
    target = a_target()
    client.execute_command("SET", target.stream, "not a stream")

    report = await run(server, target)

    assert client.execute_command("KEYS", "*") == [b"s"]
    assert report.outcome is Outcome.FAILED
    assert "WRONGTYPE" in report.reason


_ODD = {
    "one field": [b"id", b"only"],
    "an empty value": tweet(1, text=b""),
    "an empty name": [b"id", b"7", b"", b"nameless"],
    "one megabyte": tweet(1, text=bytes(range(256)) * 4096),
    "invalid UTF-8": [b"id", b"\xff\xfe\x80", b"\xc3\x28", b"\xf0\x9f\x98"],
    "NUL and CRLF": [b"id", b"a\x00b", b"na\r\nme\x00", b"*3\r\n$3\r\nSET\r\n\x00"],
    "every byte": [b"id", bytes(range(256)), bytes(range(255, -1, -1)), bytes(range(256)) * 3],
    "words that are options": [b"id", b"MAXLEN", b"IDLE", b"JUSTID", b"-", b"+"],
    "two hundred fields": [b"id", b"9", *(b"%d" % (n // 2) for n in range(400))],
    "a name twice": [b"id", b"first", b"text", b"one", b"text", b"two", b"id", b"last"],
}


@pytest.mark.parametrize("fields", _ODD.values(), ids=_ODD.keys())
async def test_every_entry_is_stored_byte_for_byte(server: Endpoint, client: Client, fields: list[bytes]) -> None:
    """Names and values go through untouched, whatever bytes they are; of equal names the last counts."""
    target = a_target()
    given(client, target, Held(fields), Held(tweet(2)))

    report = await run(server, target)

    assert state(client, target) == State(hashes=stored(fields, tweet(2)), length=2)
    assert (report.stored, report.acknowledged) == (2, 2)


async def test_large_entries_in_number_are_all_stored(server: Endpoint, client: Client) -> None:
    """Twenty entries of a megabyte: pages adapt to the size of what is in them."""
    target = a_target()
    entries = [Held(tweet(number, text=b"%07d\xff" % number * 2**17)) for number in range(20)]
    given(client, target, *entries)

    report = await run(server, target)

    assert state(client, target) == State(hashes=stored(*entries), length=20)
    assert report.acknowledged == 20


@pytest.mark.parametrize("changes", [{}, {"page_size": 2}, {"page_size": 3, "lanes": 1}, {"lanes": 32}], ids=str)
async def test_of_entries_with_the_same_id_the_later_one_wins(
    server: Endpoint, client: Client, changes: dict[str, Any]
) -> None:
    """Within a page and across its borders entries of one hash are stored in order; fields only the older has stay."""
    target = a_target(**changes)
    entries = [
        Held([*tweet(7, text=b"first", location=b"only here"), b"extra", b"kept"]),
        Held(tweet(8, text=b"another")),
        Held(tweet(7, text=b"second")),
        Held(tweet(8, text=b"another again")),
        Held(tweet(7, text=b"third")),
    ]
    given(client, target, *entries)

    await run(server, target)

    assert state(client, target) == State(hashes=stored(*entries), length=5)
    assert stored(*entries)[b"tweet:7"][b"text"] == b"third"


async def test_many_versions_of_few_hashes_end_with_the_last_of_each(server: Endpoint, client: Client) -> None:
    """Three hundred entries for seven hashes, some abandoned by one consumer and some by another."""
    target = a_target(page_size=50)
    entries = [Held(fields, f"worker-{n % 3}") for n, fields in enumerate(tweets(300, seed=1, distinct_ids=7))]
    given(client, target, *entries)

    await run(server, target)

    assert state(client, target) == State(hashes=stored(*entries), length=300)


async def test_an_entry_that_cannot_be_stored_does_not_stop_the_others(server: Endpoint, client: Client) -> None:
    """Bad entries become dead letters, with reason and bytes; all others are stored; the report counts both."""
    target = a_target()
    entries = [Held(tweet(1)), Held([b"text", b"no \xff id"]), Held(tweet(3)), Held(tweet(4))]
    client.execute_command("SET", "tweet:3", "another type")
    given(client, target, *entries)

    report = await run(server, target)

    after = state(client, target)
    assert [
        (letter[b"id"], letter[b"reason"], letter[b"consumer"], letter[b"deliveries"]) for letter in after.dead
    ] == [
        (b"2-0", b"bad_entry", b"worker", b"2"),
        (b"3-0", b"bad_entry", b"worker", b"2"),
    ]
    assert after.dead[0][b"field:text"] == b"no \xff id"
    assert replace(after, dead=[]) == State(hashes=stored(entries[0], entries[3]), length=4, other_keys=[b"tweet:3"])
    assert (report.stored, report.acknowledged, report.parked) == (2, 2, 2)
    assert sorted(reason.partition(":")[0] for reason in report.reasons) == ["MissingField", "ResponseError"]
    assert any("'id'" in reason for reason in report.reasons)
    assert any("WRONGTYPE" in reason for reason in report.reasons)


async def test_entries_of_our_own_consumer_are_taken_up_again_once_they_are_idle(
    server: Endpoint, client: Client
) -> None:
    """What an earlier run claimed and left is claimed again, and not before it is idle."""
    target = a_target()
    entries = [Held(tweet(1), target.consumer, deliveries=2), Held(tweet(2), target.consumer, 0, deliveries=2)]
    given(client, target, *entries)

    await run(server, target)

    assert state(client, target) == State(
        pending={b"2-0": (b"monitoring_app", 2, "fresh")}, hashes=stored(entries[0]), length=2
    )


async def test_entries_that_are_gone_from_the_stream_are_recorded_as_lost(server: Endpoint, client: Client) -> None:
    """A deleted entry that is still pending is counted, listed and removed from the group; the others are stored."""
    target = a_target()
    entries = held(range(1, 5))
    given(client, target, *entries)
    client.execute_command("XDEL", target.stream, "2-0")

    report = await run(server, target)

    assert state(client, target) == State(
        hashes=stored(entries[0], entries[2], entries[3]),
        length=3,
        lost=[{b"id": b"2-0", b"consumer": b"worker", b"deliveries": b"1"}],
    )
    assert (report.lost, report.acknowledged) == (1, 3)


@pytest.mark.G9
async def test_other_groups_and_streams_are_not_touched(server: Endpoint, client: Client) -> None:
    """A run works on its own group; the pending entries of another group stay as they are."""
    target, other = a_target(), a_target(group="other")
    entries = held(range(3))
    given(client, target, *entries)
    client.execute_command("XGROUP", "CREATE", target.stream, other.group, "0")
    client.execute_command("XREADGROUP", "GROUP", other.group, "w", "STREAMS", target.stream, ">")
    age_all(client, other)

    await run(server, target)

    assert state(client, target) == State(hashes=stored(*entries), length=3)
    assert state(client, other).pending == {b"%d-0" % n: (b"w", 1, "idle") for n in (1, 2, 3)}


async def test_what_is_kept_beside_a_stream_is_in_its_hash_slot(server: Endpoint, client: Client) -> None:
    """Where the stream's name has a tag that tag is used, so that scripts may reach both keys on a cluster."""
    tagged, plain = a_target(stream="tweets{eu}"), a_target(stream="tweets")
    given(client, tagged, Held(tweet(1)), Held([b"no", b"id"]))
    given(client, plain, Held(tweet(1)), Held([b"no", b"id"]))

    await run(server, tagged)
    await run(server, plain)

    assert sorted(client.execute_command("KEYS", "*")) == [
        b"tweet:1",
        b"tweets",
        b"tweets{eu}",
        b"tweets{eu}:reclaim:g:dead",
        b"tweets{eu}:reclaim:g:seen",
        b"tweets{eu}:reclaim:g:totals",
        b"{tweets}:reclaim:g:dead",
        b"{tweets}:reclaim:g:seen",
        b"{tweets}:reclaim:g:totals",
    ]


async def test_what_fails_a_run_is_not_told_again_when_it_is_closed(
    embedded: Endpoint, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """A key of another type fails each command on it: the report says so, once."""
    target = a_target(consumer_ttl_hours=24.0)
    client.execute_command("SET", target.stream, "a text")

    report = await run(embedded, target)

    assert (report.outcome, "WRONGTYPE" in report.reason) == (Outcome.FAILED, True)
    assert [line for line in caplog.messages if "WRONGTYPE" in line] == []

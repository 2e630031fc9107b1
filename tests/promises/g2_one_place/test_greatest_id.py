"""The greatest stream ID there can be: no look starts beyond it, and nothing that has it is left out (G2)."""

import pytest

from reclaim.run.replay import ReplayReport
from reclaim.run.report import Outcome
from reclaim.settings import Target
from reclaim.state.connection import connect
from reclaim.state.dead_letters import DeadLetters
from reclaim.state.lost import LostEntries
from tests.faults import Recorder, by_function
from tests.integration.run.test_replay import replayed
from tests.support import Client, Endpoint, State, a_target, run, settings_for, state, stored, tweet

pytestmark = pytest.mark.G2

GREATEST = b"18446744073709551615-18446744073709551615"
BEFORE = b"18446744073709551615-18446744073709551614"


def pend(client: Client, target: Target, *ids: bytes) -> None:
    """Tweets with these IDs, numbered from 1 on, all pending and idle."""
    client.execute_command("XGROUP", "CREATE", target.stream, target.group, "0", "MKSTREAM")
    for number, entry_id in enumerate(ids, 1):
        client.execute_command("XADD", target.stream, entry_id, *tweet(number))
    client.execute_command("XREADGROUP", "GROUP", target.group, "worker", "STREAMS", target.stream, ">")
    to = (target.stream, target.group, "worker", 0)
    client.execute_command("XCLAIM", *to, *ids, "IDLE", 3_600_000, "RETRYCOUNT", 1, "JUSTID")


@pytest.mark.parametrize("page_size", [1, 2, 3], ids=["of one", "of two", "of more"])
async def test_entries_up_to_the_greatest_id_are_stored(server: Endpoint, client: Client, page_size: int) -> None:
    """Where a page ends with it, no other look follows."""
    target = a_target(page_size=page_size)
    pend(client, target, b"1-18446744073709551615", BEFORE, GREATEST)

    report = await run(server, target)

    assert (report.outcome, report.acknowledged) == (Outcome.COMPLETED, 3)
    assert state(client, target) == State(hashes=stored(tweet(1), tweet(2), tweet(3)), length=3)


@pytest.mark.parametrize("find", ["READ_AT_ONCE", "NATIVE_UP_TO"])
async def test_it_is_found_in_long_lists_too(
    server: Endpoint, client: Client, monkeypatch: pytest.MonkeyPatch, find: str
) -> None:
    """However entries are looked for: without IDLE, and by a script."""
    monkeypatch.setattr(f"reclaim.state.find.{find}", 1 if find == "READ_AT_ONCE" else 0)
    target = a_target(page_size=1)
    pend(client, target, BEFORE, GREATEST)

    report = await run(server, target)

    assert (report.outcome, report.acknowledged) == (Outcome.COMPLETED, 2)
    assert state(client, target) == State(hashes=stored(tweet(1), tweet(2)), length=2)


async def test_it_is_recorded_as_lost(server: Endpoint, client: Client) -> None:
    """Deleted while it was pending."""
    target = a_target(page_size=1)
    pend(client, target, BEFORE, GREATEST)
    client.execute_command("XDEL", target.stream, GREATEST)

    report = await run(server, target)

    assert (report.outcome, report.lost, report.acknowledged) == (Outcome.COMPLETED, 1, 1)
    assert [line[b"id"] for line in state(client, target).lost] == [GREATEST]


async def test_what_an_earlier_run_left_with_us_holds_back_later_ones_of_its_key(
    server: Endpoint, client: Client
) -> None:
    """The look at our own fresh entries ends with it."""
    target = a_target(min_idle_ms=600_000)
    pend(client, target, BEFORE, GREATEST)
    to = (target.stream, target.group, target.consumer, 0)
    client.execute_command("XCLAIM", *to, GREATEST, "JUSTID")

    report = await run(server, target)

    assert (report.outcome, report.acknowledged) == (Outcome.COMPLETED, 1)
    assert state(client, target).pending.keys() == {GREATEST}


async def test_it_becomes_a_dead_letter_and_is_replayed(server: Endpoint, client: Client) -> None:
    """Its dead letter has an ID of its own, and goes back to where it was to be stored."""
    target = a_target(max_deliveries=2)
    pend(client, target, GREATEST)
    await run(server, target, by_function(Recorder(_1=ValueError("no"))))
    assert [letter[b"id"] for letter in state(client, target).dead] == [GREATEST]

    record = Recorder()
    report = await replayed(server, target, by_function(record))

    assert (report, record.seen) == (ReplayReport(chosen=1, replayed=1), [1])
    assert state(client, target) == State(length=1)


async def test_lists_end_with_it(server: Endpoint, client: Client) -> None:
    """Dead letters and lost entries that somebody has written with the greatest ID: listed, and nothing after it."""
    target = a_target()
    for key in (target.keys.dead, target.keys.lost):
        for letter_id in (BEFORE, GREATEST):
            client.execute_command(
                "XADD", key, letter_id, "id", "5-0", "consumer", "c", "deliveries", 1, "idle_ms", 1, "at", 0
            )
    redis = connect(settings_for(server, target))
    try:
        letters, lost = DeadLetters(redis, target), LostEntries(redis, target)

        walks = [letters.walk(at_once=1), letters.walk(newest_first=True, at_once=1), letters.walk(GREATEST)]
        found = [[letter.id async for some in walk for letter in some] for walk in walks]
        assert found == [[BEFORE, GREATEST], [GREATEST, BEFORE], [GREATEST]]
        assert [one async for some in letters.ids() for one in some] == [(BEFORE, b"5-0"), (GREATEST, b"5-0")]
        gone, before = await lost.latest(1)
        assert (len(gone), before) == (1, GREATEST)
        assert len((await lost.latest(5, before))[0]) == 1
        assert await letters.discard_all() == 2
    finally:
        await redis.aclose()

"""Rare coincidences, found by letting runs go wrong at random: no entry overtakes an earlier one of its order key."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from dev.proxy import Fault, Proxy
from reclaim.entry import Entry
from reclaim.errors import RejectEntry
from reclaim.run.report import Outcome
from reclaim.state.claim import _CLAIM
from reclaim.state.dead_letters import _PARK
from reclaim.state.refunds import _KEEP
from tests.faults import by_function, of_user, script
from tests.support import Client, Endpoint, Held, a_runner, a_target, age_all, given, run, state, stored, tweet

pytestmark = pytest.mark.G3


def number_of(entry: Entry) -> int:
    """The number of the tweet that an entry is."""
    return int(entry.get("id") or b"")


# --- order -----------------------------------------------------------------------------------------------------------


async def test_what_was_to_be_a_dead_letter_is_one_before_later_ones_of_its_key_are_done(
    server: Endpoint, client: Client
) -> None:
    """Also where the run is stopped in between: the later one was handled because the earlier one was settled."""
    target = a_target(lanes=2, page_size=4)
    given(client, target, of_user(1, "a", consumer="monitoring_app", deliveries=7), of_user(2, "a"), of_user(3, "b"))
    stop = asyncio.Event()

    async def handle(entry: Entry) -> None:
        if number_of(entry) == 2:
            stop.set()

    async with a_runner(server, target, by_function(handle)) as runner:
        await runner.run(30, stop)

    after = state(client, target)
    assert b"1-0" not in after.pending
    assert b"2-0" not in after.pending
    assert [letter[b"id"] for letter in after.dead] == [b"1-0"]


async def test_dead_letters_of_one_key_are_made_in_their_order(embedded_proxy: Proxy, client: Client) -> None:
    """The connection breaks while the first one is parked: then the second one is not parked either."""
    target = a_target(lanes=4, retry_attempts=1)
    given(client, target, of_user(1, "a"), of_user(2, "a", consumer="monitoring_app", deliveries=7))
    embedded_proxy.when("EVAL", Fault.CUT_BEFORE, args=lambda args: args[0] == _PARK.encode() and b"1-0" in args)

    async def handle(_: Entry) -> None:
        raise RejectEntry("no")

    await run(embedded_proxy, target, by_function(handle))

    after = state(client, target)
    assert (sorted(after.pending), after.dead) == ([b"1-0", b"2-0"], [])


async def test_a_claim_that_takes_effect_late_lets_no_later_entry_overtake(
    embedded_proxy: Proxy, client: Client
) -> None:
    """A claim that was given up takes effect: its entry is ours and fresh, the next claim gets only the later one."""
    target = a_target(page_size=2, lanes=1)
    given(client, target, Held(tweet(7, text=b"first")), Held(tweet(7, text=b"second")))
    embedded_proxy.when("EVAL", Fault.HANG, args=script(_CLAIM))

    def take_late() -> None:
        client.execute_command("XCLAIM", target.stream, target.group, target.consumer, 10_000, "1-0")

    embedded_proxy.when("EVAL", take_late, args=script(_CLAIM))

    report = await run(embedded_proxy, target, timeout_sec=0.3)

    after = state(client, target)
    assert (report.outcome, report.acknowledged, after.pending) == (Outcome.COMPLETED, 2, {})
    assert after.hashes == stored(tweet(7, text=b"second"))


# --- what somebody else has taken ------------------------------------------------------------------------------------


async def test_what_was_taken_while_its_claim_was_on_the_way_is_not_handled(server: Endpoint, client: Client) -> None:
    """The process stood still before it read the reply, for longer than the least idle time."""
    target = a_target(min_idle_ms=300, lanes=1, page_size=1)
    given(client, target, of_user(1, "x"), of_user(2, "a"), of_user(3, "a"))
    handled: list[int] = []

    async def handle(entry: Entry) -> None:
        handled.append(number_of(entry))

    async with a_runner(server, target, by_function(handle)) as runner:
        batch = runner.server.batch

        async def stalled(commands: Sequence[Any], **options: Any) -> Any:
            replies = await batch(commands, **options)
            if any(_CLAIM in command and b"2-0" in command for command in commands):
                time.sleep(0.45)  # noqa: ASYNC251  # the whole process stands still
                assert client.execute_command("XCLAIM", "s", "g", "other", 300, "2-0", "3-0")
                client.execute_command("XACK", "s", "g", "2-0", "3-0")
            return replies

        runner.server.batch = stalled
        await runner.run(30)

    assert handled == [1]


async def test_what_was_taken_between_two_attempts_is_not_stored_over_what_is_newer(
    embedded_proxy: Proxy, client: Client
) -> None:
    """Our network was away for longer than the least idle time; meanwhile somebody stored something newer."""
    target = a_target(min_idle_ms=300, retry_attempts=4)
    given(client, target, Held(tweet(7, text=b"old")))
    newer = tweet(7, text=b"newer")
    embedded_proxy.when("EVAL", Fault.HANG, args=script(_KEEP), times=None, may_miss=True)  # if it comes to a renewal
    away = embedded_proxy.when("HSET", Fault.HANG, times=3)

    async with a_runner(embedded_proxy, target, timeout_sec=0.25) as runner:
        running = asyncio.create_task(runner.run(30))
        await asyncio.to_thread(away.reached.wait)
        age_all(client, target)
        assert client.execute_command("XCLAIM", "s", "g", "other", 300, "1-0")
        client.execute_command("HSET", "tweet:7", *newer)
        client.execute_command("XACK", "s", "g", "1-0")
        embedded_proxy.clear()
        report = await running

    assert (report.stored, report.taken, report.acknowledged) == (0, 1, 0)
    assert state(client, target).hashes == stored(newer)


@pytest.mark.G2
async def test_what_somebody_else_is_at_work_on_is_no_dead_letter(server: Endpoint, client: Client) -> None:
    """The handler rejects an entry that another consumer claimed during a stall."""
    target = a_target(min_idle_ms=300, lanes=1)
    given(client, target, of_user(1, "x"))

    async def handle(_: Entry) -> None:
        time.sleep(0.45)  # noqa: ASYNC251  # the whole process stands still
        assert client.execute_command("XCLAIM", "s", "g", "other", 300, "1-0")
        raise RejectEntry("no")

    report = await run(server, target, by_function(handle))

    after = state(client, target)
    assert (after.dead, {entry_id: row[0] for entry_id, row in after.pending.items()}) == ([], {b"1-0": b"other"})
    assert report.parked == 0

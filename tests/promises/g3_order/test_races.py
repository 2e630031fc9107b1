"""What happens rarely, and was found by letting runs go wrong at random: each has cost a promise once."""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest

from dev.proxy import ErrorReply, Fault, Proxy
from reclaim.entry import Entry
from reclaim.errors import RejectEntry
from reclaim.run.report import Outcome
from reclaim.state import lease
from reclaim.state.claim import _BURY
from reclaim.state.connection import connect
from reclaim.state.dead_letters import _PARK
from reclaim.state.lease import _RENEW
from reclaim.state.refunds import _KEEP
from tests.faults import by_function, of_user, script
from tests.support import (
    Client,
    Endpoint,
    Held,
    a_runner,
    a_target,
    age_all,
    given,
    run,
    settings_for,
    state,
    stored,
    tweet,
)

pytestmark = pytest.mark.G3


class Unusual(BaseException):
    """What is no Exception."""


def number_of(entry: Entry) -> int:
    """The number of the tweet that an entry is."""
    return int(entry.get("id") or b"")


# --- what a handler may do -------------------------------------------------------------------------------------------


def of_its_own() -> None:
    """Cancel the task that this runs in."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


def leaving(error: BaseException) -> Any:
    """What raises this."""

    def leave() -> None:
        raise error

    return leave


@pytest.mark.G4
@pytest.mark.parametrize(
    ("leave", "says"),
    [
        (leaving(Unusual("x")), "HandlerExited: the handler raised Unusual: x"),
        (leaving(BaseExceptionGroup("g", [Unusual("y")])), "HandlerExited: the handler raised BaseExceptionGroup: g"),
        (leaving(SystemExit(3)), "HandlerExited: the handler raised SystemExit: 3"),
        (of_its_own, "HandlerCancelled: the handler cancelled its own task"),
    ],
    ids=["a BaseException", "a group", "sys.exit()", "cancelling itself"],
)
async def test_a_handler_that_leaves_by_another_door_fails_like_any(
    embedded: Endpoint, client: Client, leave: Any, says: str
) -> None:
    """The others are done, the run ends well, and in the end it is a dead letter (G4)."""
    target = a_target(lanes=2, max_deliveries=3)
    given(client, target, *(of_user(number, f"u{number}") for number in range(1, 6)))

    async def handle(entry: Entry) -> None:
        if entry.id == b"2-0":
            leave()
            await asyncio.sleep(0)

    reports = []
    for _ in range(2):
        reports.append(await run(embedded, target, by_function(handle)))
        age_all(client, target)

    after = state(client, target)
    assert [(one.outcome, one.stored, one.failed, one.parked) for one in reports] == [
        (Outcome.COMPLETED, 4, 1, 0),
        (Outcome.COMPLETED, 0, 0, 1),
    ]
    assert (after.pending, [letter[b"error"].decode().partition(" (")[0] for letter in after.dead]) == ({}, [says])


async def test_a_handler_that_cannot_be_stopped_costs_the_run_no_more_than_its_time(
    embedded: Endpoint, client: Client
) -> None:
    """Begun late in a short run: what the others did is acknowledged, and the lease released."""
    target = a_target(lanes=2)
    given(client, target, of_user(1, "a"), of_user(2, "b"))
    over = asyncio.Event()

    async def handle(entry: Entry) -> None:
        while number_of(entry) == 2 and not over.is_set():
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)

    async with a_runner(embedded, target, by_function(handle), hangs_sec=10) as runner:
        report = await runner.run(1)
        over.set()

    after = state(client, target)
    assert (report.outcome, report.acknowledged) == (Outcome.OUT_OF_TIME, 1)
    assert (list(after.pending), after.other_keys) == ([b"2-0"], [])


# --- order -----------------------------------------------------------------------------------------------------------


async def test_what_was_to_be_a_dead_letter_is_one_before_later_ones_of_its_key_are_done(
    server: Endpoint, client: Client
) -> None:
    """Also where the run is stopped in between: the later one was handled because the earlier one was settled."""
    target = a_target(lanes=2, page_size=4)
    given(client, target, of_user(1, "a", deliveries=7), of_user(2, "a"), of_user(3, "b"))
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
    """Where the connection breaks at the first, the second is none either."""
    target = a_target(lanes=4, retry_attempts=1)
    given(client, target, of_user(1, "a"), of_user(2, "a", deliveries=7))
    embedded_proxy.when("EVAL", Fault.CUT_BEFORE, args=lambda args: args[0] == _PARK.encode() and b"1-0" in args)

    async def handle(_: Entry) -> None:
        raise RejectEntry("no")

    await run(embedded_proxy, target, by_function(handle))

    after = state(client, target)
    assert (sorted(after.pending), after.dead) == ([b"1-0", b"2-0"], [])


async def test_a_claim_that_takes_effect_late_lets_no_later_entry_overtake(
    embedded_proxy: Proxy, client: Client
) -> None:
    """It was given up; its entry is ours and fresh when the next claim gets only the later one."""
    target = a_target(page_size=2, lanes=1)
    given(client, target, Held(tweet(7, text=b"first")), Held(tweet(7, text=b"second")))
    embedded_proxy.when("MULTI", Fault.HANG)

    def take_late() -> None:
        client.execute_command("XCLAIM", target.stream, target.group, target.consumer, 10_000, "1-0")

    embedded_proxy.when("MULTI", take_late)

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
            if any(command[0] == "XCLAIM" and b"2-0" in command for command in commands):
                time.sleep(0.45)  # noqa: ASYNC251  # the whole process stands still
                assert client.execute_command("XCLAIM", "s", "g", "other", 300, "2-0", "3-0")
                client.execute_command("XACK", "s", "g", "2-0", "3-0")
            return replies

        runner.server.batch = stalled  # type: ignore[method-assign]  # a stall cannot be had from outside
        await runner.run(30)

    assert handled == [1]


async def test_what_was_taken_between_two_attempts_is_not_stored_over_what_is_newer(
    embedded_proxy: Proxy, client: Client
) -> None:
    """Our network was away for longer than the least idle time; meanwhile somebody stored something newer."""
    target = a_target(min_idle_ms=300, retry_attempts=4)
    given(client, target, Held(tweet(7, text=b"old")))
    newer = tweet(7, text=b"newer")
    embedded_proxy.when("EVAL", Fault.HANG, args=script(_KEEP), times=None)
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
    """We rejected it after a stall in which it was taken."""
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


async def test_a_lease_that_cannot_be_renewed_is_lost_when_it_ends(
    embedded_proxy: Proxy, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else may have it from then on, though nobody can tell us."""
    monkeypatch.setattr(lease, "TTL_MS", 600)
    monkeypatch.setattr(lease, "RENEW_EVERY_SEC", 0.2)
    target = a_target(lanes=1, page_size=1)
    given(client, target, *(of_user(number, f"u{number}") for number in range(1, 6)))
    embedded_proxy.when("EVAL", Fault.HANG, args=script(_RENEW), times=None)
    had_lease: list[bool] = []

    async def handle(_: Entry) -> None:
        had_lease.append(bool(client.execute_command("EXISTS", target.keys.lease)))
        await asyncio.sleep(0.5)

    report = await run(embedded_proxy, target, by_function(handle))

    assert (report.outcome, all(had_lease)) == (Outcome.LEASE_LOST, True)


async def test_a_lease_that_may_have_been_lost_is_lost_for_good(embedded: Endpoint) -> None:
    """A renewal that comes through after all brings back nothing that was left undone meanwhile."""
    now = [0.0]
    server = connect(settings_for(embedded, a_target()))
    ours = lease.Lease(server, a_target().keys.lease, "x", lambda: now[0])
    assert await server.ask(ours.take()) == (None,)
    now[0] = 14.0
    before = ours.lost
    now[0] = 15.0
    over = ours.lost
    await ours.renew()
    await server.aclose()

    assert (before, over, ours.lost) == (False, True, True)


async def test_entries_recorded_as_lost_by_a_claim_that_then_fails_are_told_all_the_same(
    embedded_proxy: Proxy, client: Client
) -> None:
    """The scripts of a page are several: one has recorded some when the next one is refused."""
    target = a_target()
    entries = [Held(tweet(number)) for number in range(1, 301)]
    ids = given(client, target, *entries)
    client.execute_command("XDEL", target.stream, ids[30], ids[-1])
    embedded_proxy.when(
        "EVAL", ErrorReply("OOM no memory"), args=lambda args: args[0] == _BURY.encode() and ids[200] in args
    )

    report = await run(embedded_proxy, target)

    assert (report.outcome, report.lost, report.acknowledged) == (Outcome.COMPLETED, 2, 298)


# --- outages and time ------------------------------------------------------------------------------------------------


async def test_a_store_that_is_silent_is_an_outage_and_no_handler_that_hangs(
    embedded_proxy: Proxy, client: Client
) -> None:
    """In a short run too: nothing is charged, and it is tried again (G5)."""
    target = a_target(circuit_failures=1)
    entries = [Held(tweet(number)) for number in range(1, 6)]
    given(client, target, *entries)
    embedded_proxy.when("HSET", Fault.HANG)

    async with a_runner(embedded_proxy, target, hangs_sec=0.2, timeout_sec=0.5) as runner:
        report = await runner.run(10)

    assert (report.outcome, report.failed, report.acknowledged) == (Outcome.COMPLETED, 0, 5)
    assert state(client, target).hashes == stored(*entries)


async def test_making_dead_letters_ends_with_the_run(embedded_proxy: Proxy, client: Client) -> None:
    """A server that falls silent then is not waited for: the entry stays pending (G6)."""
    target = a_target(lanes=1, max_deliveries=2)
    given(client, target, of_user(1, "a"))
    silent = embedded_proxy.when("EVAL", Fault.HANG, args=script(_PARK), times=None)

    async def handle(_: Entry) -> None:
        raise RejectEntry("no")

    async with asyncio.timeout(10):
        report = await run(embedded_proxy, target, by_function(handle), budget_sec=1, timeout_sec=60.0)

    assert (silent.hits, report.parked, list(state(client, target).pending)) == (1, 0, [b"1-0"])


async def test_no_look_ahead_outlives_its_run(
    embedded_proxy: Proxy, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the claim beside it is made again from an earlier place."""
    target = a_target(page_size=25, retry_attempts=2)
    given(client, target, *(Held(tweet(number)) for number in range(1, 200)))
    embedded_proxy.reply_delay_sec = 0.01
    embedded_proxy.when("XCLAIM", Fault.CUT_AFTER, skip=1)
    embedded_proxy.when("XPENDING", Fault.HANG, args=lambda args: b"IDLE" in args, skip=2)

    with caplog.at_level(logging.ERROR, "asyncio"):
        async with a_runner(embedded_proxy, target) as runner:
            await runner.run(30)
            left = [task for task in asyncio.all_tasks() if "_found" in repr(task)]

    assert (left, caplog.records) == ([], [])

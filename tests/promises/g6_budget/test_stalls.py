"""A run that stands still, wholly or in one handler, stores nothing old and ends in time (G3, G6).

The whole process is frozen by a handler that blocks the event loop, as a full CPU or a paused machine would.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import pytest

from reclaim.entry import Entry
from reclaim.handlers.outcomes import Handled, Handler, Keyed
from reclaim.run.report import Outcome, RunReport
from reclaim.settings import Target
from tests.conftest import on_newest_and_oldest
from tests.faults import Recorder, by_function, of_user, pending
from tests.support import Client, Endpoint, Held, State, a_runner, a_target, age_all, given, run, state, stored, tweet

pytestmark = pytest.mark.G6

OURS = "monitoring_app"
MIN_IDLE_MS = 300
FREEZE_SEC = 0.45
TARGET_OF_STATES = a_target(min_idle_ms=60_000)  # so that on a slow machine a fresh entry is still called fresh


class Frozen(Handler):
    """A handler that blocks the process once, just after the first page was claimed."""

    def __init__(self, handler: Handler, meanwhile: Callable[[], object]) -> None:
        self.needs = None  # nothing is looked at before the first claim
        self.at_once = handler.at_once
        self._handler = handler
        self._meanwhile: Callable[[], object] | None = meanwhile

    def order_key(self, entry: Entry) -> bytes:
        if self._meanwhile is not None:
            meanwhile, self._meanwhile = self._meanwhile, None
            time.sleep(FREEZE_SEC)
            meanwhile()
        return self._handler.order_key(entry)

    async def store(self, entries: Sequence[Keyed]) -> list[Handled]:
        return await self._handler.store(entries)


async def frozen_run(
    place: Endpoint, target: Target, meanwhile: Callable[[], object], handler: Handler | None = None
) -> RunReport:
    """A run that stands still for longer than the least idle time; `meanwhile` is what others do before it goes on."""
    async with a_runner(place, target, handler) as runner:
        runner.handler = Frozen(runner.handler, meanwhile)
        return await runner.run(30)


def take(client: Client, *ids: bytes, min_idle_ms: int = MIN_IDLE_MS) -> list[tuple[bytes, list[bytes]]]:
    """Another consumer claims entries; returns what it got."""
    got = client.execute_command("XCLAIM", "s", "g", "other", min_idle_ms, *ids)
    return [(entry_id, fields) for entry_id, fields in got]


# --- everything stands still -----------------------------------------------------------------------------------------


@pytest.mark.G3
async def test_no_lane_stores_what_another_consumer_took_during_a_stall(server: Endpoint, client: Client) -> None:
    """The other consumer claimed all of them, stored newer values and acknowledged: the newer values stay."""
    target = a_target(min_idle_ms=MIN_IDLE_MS, lanes=4)
    ids = given(client, target, *(Held(tweet(number)) for number in range(20)))
    newer = [tweet(number, text=b"newer") for number in range(20)]

    def meanwhile() -> None:
        assert [entry_id for entry_id, _ in take(client, *ids)] == ids
        for fields in newer:
            client.execute_command("HSET", b"tweet:" + fields[1], *fields)
        client.execute_command("XACK", "s", "g", *ids)

    report = await frozen_run(server, target, meanwhile)

    assert (report.outcome, report.claimed, report.taken) == (Outcome.COMPLETED, 20, 20)
    assert (report.stored, report.acknowledged) == (0, 0)
    assert state(client, TARGET_OF_STATES) == State(hashes=stored(*newer), length=20)


@on_newest_and_oldest
async def test_no_handler_is_called_for_what_another_consumer_took_during_a_stall(
    server: Endpoint, client: Client
) -> None:
    """The entries that it did not claim are handled. Its own stay with it, and the run does not charge them."""
    target = a_target(min_idle_ms=MIN_IDLE_MS, lanes=20)  # as many as the first page has
    ids = given(client, target, *(of_user(number, f"user_{number}") for number in range(1, 21)))
    record = Recorder()

    report = await frozen_run(server, target, lambda: take(client, *ids[:15]), by_function(record))

    assert sorted(record.seen) == [16, 17, 18, 19, 20]
    assert (report.outcome, report.taken, report.acknowledged) == (Outcome.COMPLETED, 15, 5)
    assert state(client, TARGET_OF_STATES) == State(
        pending=pending(*range(1, 16), consumer="other", deliveries=3, age="fresh"), length=20
    )


@on_newest_and_oldest
async def test_what_nobody_took_during_a_stall_is_stored(server: Endpoint, client: Client) -> None:
    """A stall alone costs nothing."""
    target = a_target(min_idle_ms=MIN_IDLE_MS, lanes=4)
    entries = [Held(tweet(number)) for number in range(20)]
    given(client, target, *entries)

    report = await frozen_run(server, target, lambda: None)

    assert (report.outcome, report.taken, report.acknowledged) == (Outcome.COMPLETED, 0, 20)
    assert state(client, TARGET_OF_STATES) == State(hashes=stored(*entries), length=20)


@pytest.mark.G3
@on_newest_and_oldest
@pytest.mark.parametrize("page_size", [10, 1], ids=["one page", "two pages"])
@pytest.mark.parametrize("lanes", [1, 4])
async def test_what_was_taken_holds_back_the_later_ones_of_its_hash(
    server: Endpoint, client: Client, lanes: int, page_size: int
) -> None:
    """The other consumer may store the first one at any time: the second one must not be stored before."""
    target = a_target(min_idle_ms=MIN_IDLE_MS, lanes=lanes, page_size=page_size)
    first, second, another = Held(tweet(7, text=b"first")), Held(tweet(7, text=b"second")), Held(tweet(8))
    given(client, target, first, second, another)

    report = await frozen_run(server, target, lambda: take(client, b"1-0", min_idle_ms=0))

    assert (report.taken, report.stored, report.acknowledged) == (1, 1, 1)
    assert state(client, TARGET_OF_STATES) == State(
        pending=pending(1, consumer="other", deliveries=3, age="fresh") | pending(2, consumer=OURS),
        hashes=stored(another),
        length=3,
    )


@on_newest_and_oldest
@pytest.mark.parametrize("page_size", [10, 1], ids=["one page", "two pages"])
async def test_what_was_taken_holds_back_the_later_ones_of_its_order_key(
    server: Endpoint, client: Client, page_size: int
) -> None:
    """The same with a user's handler."""
    target = a_target(min_idle_ms=MIN_IDLE_MS, lanes=4, page_size=page_size)
    given(client, target, of_user(1, "a"), of_user(2, "a"), of_user(3, "b"))
    record = Recorder()

    report = await frozen_run(server, target, lambda: take(client, b"1-0", min_idle_ms=0), by_function(record))

    assert (record.seen, report.taken, report.acknowledged) == ([3], 1, 1)
    assert state(client, TARGET_OF_STATES) == State(
        pending=pending(1, consumer="other", deliveries=3, age="fresh") | pending(2, consumer=OURS), length=3
    )


@on_newest_and_oldest
async def test_what_was_held_back_is_stored_once_the_taker_is_done(server: Endpoint, client: Client) -> None:
    """The next run finds that the first one is acknowledged."""
    target = a_target(min_idle_ms=MIN_IDLE_MS)
    first, second = Held(tweet(7, text=b"first")), Held(tweet(7, text=b"second"))
    given(client, target, first, second)
    await frozen_run(server, target, lambda: take(client, b"1-0", min_idle_ms=0))
    client.execute_command("HSET", b"tweet:7", *first.fields)
    client.execute_command("XACK", "s", "g", b"1-0")

    report = await run(server, target)

    assert report.acknowledged == 1
    assert state(client, TARGET_OF_STATES) == State(hashes=stored(second), length=2)


# --- one handler does not stop ---------------------------------------------------------------------------------------


class Stubborn:
    """A handler function that will not be cancelled while it handles one of these entries, until it is let go."""

    def __init__(self, *numbers: int) -> None:
        self._numbers = numbers
        self.go = False
        self.ended = 0

    async def __call__(self, entry: Entry) -> None:
        while not self.go and int(entry.get("id") or b"") in self._numbers:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.05)
        self.ended += 1


async def at_most(seconds: float, running: Awaitable[RunReport], handle: Stubborn) -> RunReport | None:
    """The report, if there is one after so many seconds; then the handler is let go, so that the test can end."""
    task = asyncio.ensure_future(running)
    await asyncio.wait([task], timeout=seconds)
    report = task.result() if task.done() else None
    handle.go = True
    await asyncio.wait([task])
    await asyncio.sleep(0.1)
    return report


async def test_a_handler_that_will_not_be_cancelled_does_not_hold_up_the_run(
    embedded: Endpoint, client: Client
) -> None:
    """The run ends in time all the same: the entry is charged, those behind it are held, all others are done."""
    target = a_target(lanes=4)
    given(client, target, of_user(1, "a"), of_user(2, "a"), of_user(3, "b"), of_user(4, "c"))
    handle = Stubborn(1)

    report = await at_most(4, run(embedded, target, by_function(handle), budget_sec=3), handle)

    assert report is not None, "the run had not ended a second after its budget"
    assert (report.failed, report.held, report.acknowledged) == (1, 1, 2)
    assert state(client, target) == State(
        pending=pending(1, consumer=OURS, deliveries=2, age="fresh") | pending(2, consumer=OURS), length=4
    )


async def test_handlers_that_will_not_be_cancelled_in_every_lane_do_not_hold_up_the_run(
    embedded: Endpoint, client: Client
) -> None:
    """Nothing else can be begun: what was not is given back, and the lease is free."""
    target = a_target(lanes=2)
    given(client, target, *(of_user(number, f"user_{number}") for number in range(1, 5)))
    handle = Stubborn(1, 2, 3, 4)

    report = await at_most(4, run(embedded, target, by_function(handle), budget_sec=3), handle)

    assert report is not None, "the run had not ended a second after its budget"
    after = state(client, target)
    assert (after.dead, after.other_keys, set(after.pending)) == ([], [], {b"1-0", b"2-0", b"3-0", b"4-0"})
    assert [after.pending[entry_id][1] for entry_id in (b"1-0", b"2-0")] == [2, 2]


async def test_a_handler_that_cannot_be_stopped_costs_the_run_no_more_than_its_time(
    embedded: Endpoint, client: Client
) -> None:
    """It began late in a short run: the other entries are acknowledged, and the lease is released."""
    target = a_target(lanes=2)
    given(client, target, of_user(1, "a"), of_user(2, "b"))
    over = asyncio.Event()

    async def handle(entry: Entry) -> None:
        while int(entry.get("id") or b"") == 2 and not over.is_set():
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)

    async with a_runner(embedded, target, by_function(handle), hangs_sec=10) as runner:
        report = await runner.run(3)
        over.set()

    after = state(client, target)
    assert (report.outcome, report.acknowledged) == (Outcome.OUT_OF_TIME, 1)
    assert (list(after.pending), after.other_keys) == ([b"2-0"], [])


async def test_the_run_after_a_handler_that_would_not_be_cancelled_does_all(embedded: Endpoint, client: Client) -> None:
    """The same runner runs again while the first handler still works."""
    target = a_target(lanes=3)
    given(client, target, of_user(1, "a"), of_user(2, "a"), of_user(3, "b"))
    stubborn, record = Stubborn(1), Recorder()
    async with a_runner(embedded, target, by_function(stubborn)) as runner:
        first = asyncio.ensure_future(runner.run(3))
        done, _ = await asyncio.wait([first], timeout=4)
        stubborn.go = not done
        age_all(client, target)
        runner.handler = by_function(record)

        report = await runner.run(30)

        stubborn.go = True
        await asyncio.wait([first])
        await asyncio.sleep(0.1)

    assert done, "the run had not ended a second after its budget"
    assert (report.outcome, report.acknowledged, record.seen) == (Outcome.COMPLETED, 2, [1, 2])
    assert state(client, target) == State(length=3)


async def test_an_order_to_end_is_obeyed_though_a_handler_will_not(embedded: Endpoint, client: Client) -> None:
    """Whoever cancels the run is not made to wait for longer than its budget, and the lease is free."""
    target = a_target(lanes=1)
    given(client, target, of_user(1, "a"), of_user(2, "b"))
    handle = Stubborn(1)
    task = asyncio.ensure_future(run(embedded, target, by_function(handle), budget_sec=3))
    await asyncio.sleep(0.5)

    task.cancel()
    done, _ = await asyncio.wait([task], timeout=3.5)
    handle.go = True
    await asyncio.wait([task])
    await asyncio.sleep(0.1)

    assert done
    assert task.cancelled()
    after = state(client, target)
    assert (after.dead, after.other_keys, set(after.pending)) == ([], [], {b"1-0", b"2-0"})

"""Pages in work at the same time: lanes are never idle, and yet no order key overtakes itself (G3)."""

import asyncio
from dataclasses import replace

import pytest

from dev.proxy import ErrorReply, Fault, Proxy
from reclaim.app import App
from reclaim.entry import Entry
from reclaim.run.report import Outcome
from reclaim.state.claim import _CLAIM
from tests.faults import LOADING, by_function, of_user, pending
from tests.support import (
    Client,
    Endpoint,
    Held,
    State,
    a_runner,
    a_target,
    age_all,
    drop_lease,
    given,
    lived_in,
    pending_rows,
    run,
    settings_for,
    state,
    stored,
    tweet,
)

pytestmark = pytest.mark.G3

WAIT_SEC = 10.0


class Begun:
    """Which entries have been begun, in that order; one can wait for another."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self._events: dict[int, asyncio.Event] = {}

    def note(self, entry: Entry) -> int:
        number = int(entry.get("id") or b"")
        self.numbers.append(number)
        self._event(number).set()
        return number

    async def wait_for(self, number: int) -> None:
        async with asyncio.timeout(WAIT_SEC):
            await self._event(number).wait()

    def _event(self, number: int) -> asyncio.Event:
        return self._events.setdefault(number, asyncio.Event())


async def test_a_free_lane_goes_on_to_the_next_page(embedded: Endpoint, client: Client) -> None:
    """While one entry takes long the other lane handles page after page; three pages are never in work."""
    target = a_target(lanes=2, page_size=2)
    given(client, target, *(of_user(number, f"user_{number}") for number in range(1, 9)))
    begun = Begun()

    async def handle(entry: Entry) -> None:
        if begun.note(entry) == 3:
            await begun.wait_for(6)

    report = await run(embedded, target, by_function(handle))

    assert (report.outcome, report.acknowledged) == (Outcome.COMPLETED, 8)
    assert begun.numbers == list(range(1, 9))
    assert state(client, target) == State(length=8)


async def test_no_more_entries_are_handled_at_once_than_there_are_lanes(embedded: Endpoint, client: Client) -> None:
    """Whichever pages they are of."""
    target = a_target(lanes=3, page_size=4)
    given(client, target, *(of_user(number, f"user_{number % 11}") for number in range(1, 61)))
    at_work, most = 0, 0

    async def handle(entry: Entry) -> None:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        await asyncio.sleep(0.001 * (len(entry.id) % 2))
        at_work -= 1

    report = await run(embedded, target, by_function(handle))

    assert (report.acknowledged, most) == (60, 3)


async def test_an_order_key_waits_until_its_entries_before_are_settled(embedded: Endpoint, client: Client) -> None:
    """It is begun when they have been acknowledged, and not only handled; other keys of its page are begun before."""
    target = a_target(lanes=2, page_size=2)
    users = ["x", "y", "a", "b", "a", "c"]
    given(client, target, *(of_user(number, user) for number, user in enumerate(users, 1)))
    begun = Begun()
    still_pending: list[bytes] = []

    async def handle(entry: Entry) -> None:
        number = begun.note(entry)
        if number == 3:
            await begun.wait_for(6)
        if number == 5:
            still_pending.extend(row[0] for row in pending_rows(client, target))

    report = await run(embedded, target, by_function(handle))

    assert report.acknowledged == 6
    assert begun.numbers == [1, 2, 3, 4, 6, 5]
    assert still_pending == [b"5-0", b"6-0"]


async def test_an_order_key_is_held_if_its_entry_before_fails(embedded: Endpoint, client: Client) -> None:
    """Its page was in work already."""
    target = a_target(lanes=2, page_size=2)
    users = ["x", "y", "a", "b", "a", "c"]
    given(client, target, *(of_user(number, user) for number, user in enumerate(users, 1)))
    begun = Begun()

    async def handle(entry: Entry) -> None:
        if begun.note(entry) == 3:
            await begun.wait_for(6)
            raise ValueError("no")

    report = await run(embedded, target, by_function(handle))

    assert (report.acknowledged, report.failed, report.held) == (4, 1, 1)
    assert begun.numbers == [1, 2, 3, 4, 6]
    assert state(client, target) == State(
        pending=pending(3, consumer="monitoring_app", deliveries=2, age="fresh")
        | pending(5, consumer="monitoring_app"),
        length=6,
    )


async def test_after_a_failure_the_next_page_begins_nothing_more(embedded: Endpoint, client: Client) -> None:
    """The failure opens the circuit: of the next page only the entries that had been begun are handled."""
    target = a_target(lanes=3, page_size=3, circuit_failures=1)
    given(client, target, *(of_user(number, f"user_{number}") for number in range(1, 10)))
    begun = Begun()

    async def handle(entry: Entry) -> None:
        number = begun.note(entry)
        if number == 4:
            await begun.wait_for(7)
            raise ValueError("no")
        if number == 5:
            await begun.wait_for(7)
            await asyncio.sleep(0.05)
        if number == 7:
            await asyncio.sleep(0.02)

    report = await run(embedded, target, by_function(handle))

    assert report.outcome is Outcome.CIRCUIT_OPEN
    assert begun.numbers == [1, 2, 3, 4, 5, 6, 7]
    assert (report.acknowledged, report.failed, report.given_back) == (6, 1, 2)


@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.CUT_AFTER])
@pytest.mark.parametrize("skip", [1, 2, 3, 6])
async def test_no_older_entry_is_stored_over_a_newer_one_though_an_acknowledgement_fails(
    client: Client, embedded_proxy: Proxy, skip: int, fault: Fault
) -> None:
    """Some page's XACK fails for good while later pages are in work: the hashes end with what is newest."""
    target = a_target(page_size=6, retry_attempts=2, circuit_failures=10_000)
    entries = [Held(tweet(number * number % 17, text=b"version %d" % number)) for number in range(1, 91)]
    given(client, target, *entries)
    embedded_proxy.when("XACK", fault, skip=skip, times=4)

    async with a_runner(embedded_proxy, target) as runner:
        reports = []
        for _ in range(4):
            reports.append(await runner.run(30))
            drop_lease(client, target)
            age_all(client, target)

    assert reports[0].outcome is Outcome.FAILED
    assert reports[-1].outcome is Outcome.NOTHING_PENDING
    newest = {number * number % 17: entry for number, entry in enumerate(entries, 1)}
    assert state(client, target) == State(hashes=stored(*newest.values()), length=90)


@pytest.mark.parametrize("newer", [2, 3, 5, 7])
async def test_an_entry_that_is_tried_again_is_not_stored_over_a_newer_one(
    client: Client, embedded_proxy: Proxy, newer: int
) -> None:
    """The newer entry may be on the same page, on the next, or on a later one."""
    target = a_target(page_size=2)
    texts = {1: b"old", newer: b"new"}
    entries = [Held(tweet(1 if number in texts else number, text=texts.get(number, b""))) for number in range(1, 9)]
    given(client, target, *entries)
    embedded_proxy.when("HSET", ErrorReply(LOADING), args=lambda args: b"old" in args, times=2)

    report = await run(embedded_proxy, target)

    assert (report.outcome, report.acknowledged) == (Outcome.COMPLETED, 8)
    assert state(client, target) == State(hashes=stored(*entries), length=8)


async def test_an_error_of_one_page_gives_back_all_that_is_in_hand(client: Client, embedded_proxy: Proxy) -> None:
    """The later pages are given back uncharged, even where some of their entries were stored."""
    target = a_target(page_size=5, lanes=1)
    entries = [Held(tweet(number)) for number in range(1, 41)]
    given(client, target, *entries)
    denied = ErrorReply("NOPERM this user has no permissions to run the 'xack' command")
    embedded_proxy.when("XACK", denied, skip=2, times=None)

    report = await run(embedded_proxy, target)

    assert (report.outcome, report.acknowledged) == (Outcome.FAILED, 10)
    assert report.claimed == 10 + report.given_back
    left = state(client, target).pending
    assert {count for _, count, _ in left.values()} == {1}
    assert len(left) == 30


async def test_nothing_is_parked_unhandled_before_an_earlier_entry_of_its_key_that_was_not_begun(
    embedded: Endpoint, client: Client
) -> None:
    """The run is asked to stop: 5 was not begun, so 7, delivered too often, stays behind it, though in work already."""
    target = a_target(lanes=2, page_size=3)
    users = ["x", "y", "z", "a", "a", "b", "a", "c", "d"]
    entries = [of_user(number, user) for number, user in enumerate(users, 1)]
    entries[6] = replace(entries[6], deliveries=7)
    given(client, target, *entries)
    begun, stop = Begun(), asyncio.Event()

    async def handle(entry: Entry) -> None:
        if begun.note(entry) == 4:
            await begun.wait_for(8)
            stop.set()

    async with a_runner(embedded, target, by_function(handle)) as runner:
        report = await runner.run(30, stop)

    assert (report.outcome, report.parked) == (Outcome.STOPPED, 0)
    left = state(client, target)
    assert {b"5-0", b"7-0"} <= left.pending.keys()
    assert left.dead == []


async def test_pages_in_work_come_to_their_end_though_the_claim_of_the_next_fails(
    client: Client, embedded_proxy: Proxy
) -> None:
    """No handler is cancelled for it; what was stored is acknowledged; then the run fails."""
    target = a_target(lanes=2, page_size=2)
    given(client, target, *(of_user(number, f"user_{number}") for number in range(1, 9)))
    seen: list[int] = []

    async def handle(entry: Entry) -> None:
        await asyncio.sleep(0.5 if (number := int(entry.get("id") or b"")) in {3, 4} else 0)
        seen.append(number)

    loading = embedded_proxy.when("XPENDING", ErrorReply(LOADING), args=lambda args: b"IDLE" in args, skip=2, times=4)

    report = await run(embedded_proxy, target, by_function(handle))

    assert loading.hits == 4
    assert (report.outcome, report.acknowledged) == (Outcome.FAILED, 4)
    assert seen == [1, 2, 3, 4]
    assert state(client, target) == State(pending=pending(5, 6, 7, 8), length=8)


async def test_a_claim_that_hangs_does_not_keep_a_run_from_stopping(client: Client, embedded_proxy: Proxy) -> None:
    """When the pages in work are over, it is given up: nobody waits for its answer, which never comes."""
    target = a_target(lanes=2, page_size=2)
    given(client, target, *(of_user(number, f"user_{number}") for number in range(1, 9)))
    begun, stop = Begun(), asyncio.Event()
    hanging = embedded_proxy.when("XPENDING", Fault.HANG, args=lambda args: b"IDLE" in args, skip=2)

    async def handle(entry: Entry) -> None:
        if begun.note(entry) == 4:
            while not hanging.hits:  # noqa: ASYNC110 # the proxy has no event
                await asyncio.sleep(0.01)
            stop.set()

    async with a_runner(embedded_proxy, target, by_function(handle), timeout_sec=600) as runner:
        report = await runner.run(300, stop)

    assert (report.outcome, report.acknowledged) == (Outcome.STOPPED, 4)


async def test_among_many_targets_each_has_one_page_at_a_time(client: Client, embedded_proxy: Proxy) -> None:
    """Nothing is looked for or claimed before the page before is acknowledged; every target comes to its end."""
    targets = [a_target(stream=f"stream_{number}", page_size=20) for number in range(24)]
    for target in targets:
        lived_in(client, target)
        given(client, target, *(Held(tweet(number)) for number in range(1, 51)))
    app = App(settings_for(embedded_proxy, *targets))
    try:
        reports = await app.run()
    finally:
        await app.aclose()

    assert {(report.outcome, report.acknowledged, report.pages) for report in reports} == {(Outcome.COMPLETED, 50, 3)}
    stream = targets[0].keys.stream
    known_by = {b"XPENDING": b"IDLE", b"EVAL": _CLAIM.encode(), b"XACK": stream}  # commands, with a word that each has
    steps = [
        command[0]
        for command in embedded_proxy.commands
        if stream in command[1:4] and known_by.get(command[0], b"") in command
    ]
    assert steps[:9] == [b"XPENDING", b"EVAL", b"XACK"] * 3

"""Tries across runs: who is charged, when an entry is tried again, and what ends it (G5)."""

import time
from typing import Any

import pytest

from dev.proxy import ErrorReply, Proxy
from reclaim.entry import Entry
from reclaim.errors import RejectEntry, RetryEntry
from reclaim.run.order import digest
from reclaim.run.report import Outcome
from reclaim.settings import Target
from reclaim.state.circuit import State as Circuit
from reclaim.state.tries import Try
from tests.faults import Recorder, by_function, dead_letter, of_user, pending
from tests.integration.state.circuits import end_cooldown
from tests.support import (
    Client,
    Endpoint,
    Held,
    State,
    a_runner,
    a_target,
    age,
    age_all,
    given,
    lived_in,
    run,
    state,
    tweet,
)

pytestmark = pytest.mark.G5

OURS = "monitoring_app"
SEC = 1000


def records(client: Client, target: Target) -> dict[bytes, tuple[int, int, str]]:
    """What is kept of each entry: charged tries, the delivery count it was left with, the last verdict."""
    flat = client.execute_command("HGETALL", target.keys.tries)
    read = {one: Try.from_bytes(record) for one, record in zip(flat[::2], flat[1::2], strict=True)}
    return {one: (record.charged, record.deliveries, record.verdict) for one, record in read.items() if record}


def set_idle(client: Client, entry_id: str, idle_sec: float) -> None:
    """Let an entry of ours have been idle for so long; its delivery count stays."""
    client.execute_command("XCLAIM", "s", "g", OURS, 0, entry_id, "IDLE", round(idle_sec * SEC), "JUSTID")


async def test_an_entry_that_fails_waits_longer_each_time_and_dies_after_ten_minutes(
    server: Endpoint, client: Client
) -> None:
    """At the defaults: tried at once, and after 90, 180 and 360 s. The wait is by the server's idle time."""
    target = a_target()
    given(client, target, of_user(1, "a"))
    record = Recorder(_1=ValueError("no"))

    async with a_runner(server, target, by_function(record)) as runner:
        await runner.run(30)
        for charged, wait_sec in enumerate((90, 180, 360), 1):
            assert records(client, target) == {b"1-0": (charged, 1 + charged, "fail")}
            set_idle(client, "1-0", wait_sec - 1)
            early = await runner.run(30)
            assert (early.claimed, early.outcome, len(record.seen)) == (0, Outcome.COMPLETED, charged)
            set_idle(client, "1-0", wait_sec)
            await runner.run(30)

    assert len(record.seen) == 4
    assert records(client, target) == {}
    assert state(client, target) == State(
        length=1,
        dead=[dead_letter(1, tweet(1, user=b"a"), "failed", "ValueError: no", consumer=OURS, deliveries=5)],
    )


@pytest.mark.G3
async def test_what_waits_for_its_next_try_holds_its_order_key_and_no_other(server: Endpoint, client: Client) -> None:
    """Also in another process, and though the later entry is idle."""
    target = a_target()
    given(client, target, of_user(1, "a"), of_user(2, "b"))
    record = Recorder(_1=ValueError("no"))
    await run(server, target, by_function(record))
    set_idle(client, "1-0", 60)
    given(client, target, of_user(3, "a"), of_user(4, "b"))
    record.seen.clear()

    report = await run(server, target, by_function(record))

    assert (record.seen, report.held, report.acknowledged) == ([4], 1, 1)
    assert state(client, target).pending.keys() == {b"1-0", b"3-0"}


async def test_deliveries_by_others_cost_an_entry_no_try(server: Endpoint, client: Client) -> None:
    """Its consumer has read its own list eleven times. It gets all our tries, with the others and not alone."""
    target = a_target(max_deliveries=3, lanes=4, page_size=10)
    given(client, target, *(of_user(number, f"u{number}", deliveries=11) for number in (1, 2, 3)))
    record = Recorder(_2=ValueError("no"))

    first = await run(server, target, by_function(record))
    age_all(client, target)
    second = await run(server, target, by_function(record))

    assert (first.pages, first.acknowledged, first.failed, first.parked) == (1, 2, 1, 0)
    assert (second.parked, record.seen.count(2)) == (1, 2)
    assert records(client, target) == {}


async def test_what_was_given_back_untried_keeps_all_its_tries(server: Endpoint, client: Client) -> None:
    """An entry delivered eleven times by others is held, so that it is ours now: its count says nothing of us."""
    target = a_target(max_deliveries=3)
    given(client, target, of_user(1, "a"), of_user(2, "a", deliveries=11))
    record = Recorder(_1=RetryEntry("later"), _2=ValueError("no"))

    await run(server, target, by_function(record))
    assert state(client, target).pending == pending(1, consumer=OURS) | pending(2, consumer=OURS, deliveries=11)
    record.trouble.pop(1)
    tries = []
    for _ in range(2):
        report = await run(server, target, by_function(record))
        tries.append((report.failed, report.parked))
        age_all(client, target)

    assert tries == [(1, 0), (0, 1)]


@pytest.mark.G4
async def test_a_delivery_that_ended_without_a_verdict_counts_and_is_tried_as_soon_as_it_is_idle(
    server: Endpoint, client: Client
) -> None:
    """The process was killed: the count is above the recorded one. At its last try the entry is claimed alone."""
    target = a_target(max_deliveries=4, page_size=10)
    given(client, target, of_user(1, "a"), of_user(2, "b"))
    record = Recorder(_1=ValueError("no"), _2=ValueError("no"))
    await run(server, target, by_function(record))
    age(client, target, {b"1-0": of_user(1, "a", consumer=OURS, idle_ms=20 * SEC, deliveries=3)})

    report = await run(server, target, by_function(record))

    assert (record.seen, report.parked, report.pages) == ([1, 2, 1], 1, 1)
    assert records(client, target) == {b"2-0": (1, 2, "fail")}


async def test_an_entry_whose_acknowledgement_is_refused_keeps_its_record(client: Client, proxy: Proxy) -> None:
    """It is stored, and still pending: without its record the eleven deliveries by others would be taken for ours."""
    target = a_target(max_deliveries=3, retry_attempts=1)
    given(client, target, of_user(1, "a", deliveries=11))
    refused = proxy.when("XACK", ErrorReply("MISCONF no room on the disk"), times=None)
    await run(proxy, target, by_function(Recorder()))
    kept = records(client, target)
    proxy.clear()
    record = Recorder(_1=ValueError("no"))

    report = await run(proxy, target, by_function(record))

    assert refused.hits
    assert kept == {b"1-0": (0, 11, "none")}
    assert (report.failed, report.parked, record.seen) == (1, 0, [1])


async def test_nothing_is_claimed_while_deliveries_by_others_cannot_be_written_down(
    client: Client, proxy: Proxy
) -> None:
    """The server has no memory left. Once an entry is ours, its eleven deliveries would be taken for tries of ours."""
    target = a_target(max_deliveries=3, retry_attempts=2)
    given(client, target, of_user(1, "a", deliveries=11))
    before = state(client, target).pending
    proxy.when("HSET", ErrorReply("OOM no memory"), args=lambda words: words[0] == target.keys.tries, times=None)

    refused = await run(proxy, target, by_function(Recorder(_1=RetryEntry("later"))))

    assert (refused.outcome, refused.claimed) == (Outcome.FAILED, 0)
    assert state(client, target).pending == before
    proxy.clear()
    report = await run(proxy, target, by_function(Recorder(_1=ValueError("no"))))
    assert (report.failed, report.parked) == (1, 0)


async def test_records_of_entries_that_are_gone_are_removed(embedded: Endpoint, client: Client) -> None:
    """Somebody else acknowledged them."""
    target = a_target()
    given(client, target, of_user(1, "a"), of_user(2, "b"))
    record = Recorder(_1=ValueError("no"), _2=ValueError("no"))
    await run(embedded, target, by_function(record))
    client.execute_command("XACK", "s", "g", "1-0")

    await run(embedded, target, by_function(record))

    assert records(client, target) == {b"2-0": (1, 2, "fail")}


async def test_records_say_nothing_of_entries_of_a_group_made_anew(server: Endpoint, client: Client) -> None:
    """The stream was deleted and made anew, and its IDs begin again: the new entry gets all its tries, and at once."""
    target = a_target(max_deliveries=3)
    given(client, target, of_user(1, "a"), of_user(2, "b"))
    record = Recorder(_1=ValueError("no"))
    await run(server, target, by_function(record))
    client.execute_command("DEL", target.stream)
    given(client, target, of_user(1, "a", idle_ms=20 * SEC))

    report = await run(server, target, by_function(record))

    assert (report.failed, report.parked, record.seen) == (1, 0, [1, 2, 1])
    assert records(client, target) == {b"1-0": (1, 2, "fail")}


async def test_a_record_of_another_release_is_left_alone_and_said(
    embedded: Endpoint, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """It is neither read nor overwritten while its entry fails, and it goes with its entry."""
    target = a_target(delivery_backoff_sec=0)
    given(client, target, of_user(1, "a"))
    client.execute_command("HSET", target.keys.tries, "1-0", "2 of a later release")
    record = Recorder(_1=ValueError("no"))

    await run(embedded, target, by_function(record))
    kept = client.execute_command("HGETALL", target.keys.tries)
    record.trouble.clear()
    age_all(client, target)
    await run(embedded, target, by_function(record))

    assert kept == [b"1-0", b"2 of a later release"]
    assert "1 record of tries is of another release and left alone, of entry 1-0 for one" in caplog.text
    assert client.execute_command("EXISTS", target.keys.tries) == 0


# --- outages by other names ------------------------------------------------------------------------------------------


class Unknown(Exception):
    """An error that no table knows."""


def of_users(count: int) -> list[Any]:
    """Entries of as many order keys."""
    return [of_user(number, f"u{number}") for number in range(1, count + 1)]


@pytest.mark.parametrize("count", [6, 40])
async def test_an_outage_that_no_table_knows_costs_nothing_as_nothing_is_stored(
    count: int, server: Endpoint, client: Client
) -> None:
    """The second run opens the circuit, and what both charged is refunded; so is what each probe charges."""
    target = a_target(lanes=8)
    given(client, target, *of_users(count))
    is_down = True

    async def handle(_: Entry) -> None:
        if is_down:
            raise Unknown("the store is away")

    async with a_runner(server, target, by_function(handle)) as runner:
        first = await runner.run(30)
        assert {row[1] for row in state(client, target).pending.values()} == {2}
        age_all(client, target)
        second = await runner.run(30)
        circuit = await runner.circuit.show()
        for _ in range(5):
            end_cooldown(client, target)
            probe = await runner.run(30)
            assert probe.retried == min(count, 20)
        hurt = state(client, target)
        tried = records(client, target)
        is_down = False
        for _ in range(2):
            end_cooldown(client, target)
            await runner.run(30)

    assert (first.failed, second.failed, second.retried) == (count, 0, count)
    assert (circuit.state, circuit.by) == (Circuit.OPEN, "failures")
    assert circuit.reason == f"two runs in a row settled nothing: {Unknown.__module__}.Unknown"
    assert hurt == State(pending=pending(*range(1, count + 1), consumer=OURS), length=count)
    assert set(tried.values()) == {(0, 1, "retry")}
    assert state(client, target) == State(length=count)
    assert records(client, target) == {}


async def test_a_large_outage_that_no_table_knows_costs_nothing_either(embedded: Endpoint, client: Client) -> None:
    """The first run opens the circuit by its failures; the probe settles nothing too, and both are refunded."""
    target = a_target(lanes=8, page_size=50)
    given(client, target, *of_users(300))

    async def handle(_: Entry) -> None:
        raise Unknown("the store is away")

    async with a_runner(embedded, target, by_function(handle)) as runner:
        first = await runner.run(30)
        end_cooldown(client, target)
        await runner.run(30)

    assert first.outcome is Outcome.CIRCUIT_OPEN
    assert {row[1] for row in state(client, target).pending.values()} == {1}
    assert {charged for charged, _, _ in records(client, target).values()} == {0}


async def test_entries_that_fail_beside_others_that_are_stored_are_charged(embedded: Endpoint, client: Client) -> None:
    """Something is stored, so the store is there: the circuit stays closed."""
    target = a_target(lanes=8)
    record = Recorder(**{f"_{number}": Unknown("no") for number in range(1, 9)})

    async with a_runner(embedded, target, by_function(record)) as runner:
        for first in (1, 10):
            given(client, target, *(of_user(number, f"u{number}") for number in range(first, first + 9)))
            await runner.run(30)
            age_all(client, target)
        circuit = await runner.circuit.show()

    assert circuit.state is Circuit.CLOSED
    assert set(records(client, target).values()) == {(2, 3, "fail")}


async def test_a_small_outage_of_a_known_store_costs_nothing_over_five_ticks(
    embedded: Endpoint, client: Client
) -> None:
    """Forty entries, PostgreSQL refuses connections, default settings: nothing is charged, and then all is stored."""
    psycopg = pytest.importorskip("psycopg")
    target = Target("s", "g", lanes=32)
    given(client, target, *of_users(40))
    is_down = True

    async def handle(_: Entry) -> None:
        if is_down:
            raise psycopg.OperationalError("connection failed: Connection refused")

    async with a_runner(embedded, target, by_function(handle), sleep=no_sleep) as runner:
        reports = [await runner.run(30) for _ in range(5)]
        hurt = state(client, target)
        is_down = False
        end_cooldown(client, target)
        await runner.run(30)

    assert sum(report.failed + report.parked for report in reports) == 0
    assert hurt == State(pending=pending(*range(1, 41), consumer=OURS), length=40)
    assert state(client, target) == State(length=40)


async def no_sleep(_: float) -> None:
    """Wait for nothing between two attempts."""


class StoreDown(Exception):
    """What a user's own client raises in an outage."""


class Malformed(Exception):
    """What a user's own code raises for a bad entry."""


async def test_settings_say_which_errors_are_outages_and_which_are_bad_entries(
    embedded: Endpoint, client: Client
) -> None:
    """RETRY_ON: tried again within the run, and refunded. REJECT_ON: a dead letter at once."""
    target = a_target(retry_on=(f"{__name__}.StoreDown",), reject_on=(f"{__name__}.Malformed",), retry_attempts=3)
    given(client, target, *of_users(3))
    record = Recorder(_1=StoreDown("away"), _2=Malformed("odd"), _3=ValueError("no"))

    report = await run(embedded, target, by_function(record))

    assert (report.retried, report.parked, report.failed) == (1, 1, 1)
    assert sorted(record.seen) == [1, 1, 1, 2, 3]
    after = state(client, target)
    assert [(letter[b"id"], letter[b"reason"]) for letter in after.dead] == [(b"2-0", b"bad_entry")]
    assert after.pending[b"1-0"] == (OURS.encode(), 1, "idle")


# --- Retry-After -----------------------------------------------------------------------------------------------------


async def test_a_wait_beyond_the_run_is_kept_and_no_run_tries_before(server: Endpoint, client: Client) -> None:
    """Also one of a new process. The circuit stays closed for others who read it; the wait is an hour at most."""
    target = a_target(lanes=1, page_size=1)
    given(client, target, *of_users(3))
    record = Recorder(_1=RetryEntry("429 from the shop", after_sec=86_400))

    first = await run(server, target, by_function(record))
    second = await run(server, target, by_function(record))
    async with a_runner(server, target) as runner:
        circuit = await runner.circuit.show()
    client.execute_command("HSET", target.keys.circuit, "wait_until_ms", 1)
    record.trouble.clear()
    third = await run(server, target, by_function(record))

    assert (first.outcome, second.outcome) == (Outcome.CIRCUIT_OPEN, Outcome.CIRCUIT_OPEN)
    assert "a service has asked (RetryEntry: 429 from the shop)" in second.reason
    assert (circuit.state, circuit.wait_reason) == (Circuit.CLOSED, "RetryEntry: 429 from the shop")
    assert 3500 < circuit.wait_sec <= 3600
    assert (third.acknowledged, record.seen) == (3, [1, 2, 3, 1])
    assert state(client, target) == State(length=3)


async def test_a_wait_within_the_run_is_made_between_two_attempts(embedded: Endpoint, client: Client) -> None:
    """And nothing is kept in Redis if the next attempt works."""
    target = a_target()
    given(client, target, of_user(1, "a"))
    began: list[float] = []

    async def handle(_: Entry) -> None:
        began.append(time.monotonic())
        if len(began) == 1:
            raise RetryEntry(after_sec=0.4)

    report = await run(embedded, target, by_function(handle))

    assert report.acknowledged == 1
    assert began[1] - began[0] >= 0.4
    assert client.execute_command("EXISTS", target.keys.circuit) == 0


async def test_a_wait_that_was_asked_for_at_the_last_attempt_is_kept_when_the_run_ends(
    embedded: Endpoint, client: Client
) -> None:
    """The run ends before the wait does, though it had time left."""
    target = a_target(retry_attempts=1)
    given(client, target, of_user(1, "a"))

    await run(embedded, target, by_function(Recorder(_1=RetryEntry(after_sec=10))))
    report = await run(embedded, target, by_function(Recorder()))

    assert (report.outcome, report.claimed) == (Outcome.CIRCUIT_OPEN, 0)
    assert state(client, target).pending == pending(1, consumer=OURS)


# --- RETRY_FOR_SEC ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("others", [True, False])
async def test_an_entry_retried_for_too_long_is_parked_only_if_others_are_stored(
    server: Endpoint, client: Client, *, others: bool
) -> None:
    """If nothing else is stored either, it may be a long outage: the entry stays."""
    target = a_target(retry_for_sec=3600, retry_attempts=1)
    given(client, target, of_user(1, "a"), of_user(2, "b"))
    record = Recorder(_1=ConnectionError("away"), _2=ConnectionError("away"))
    await run(server, target, by_function(record))
    long_ago = Try(0, 1, 1, 1, "retry", digest(b"a")).to_bytes()
    client.execute_command("HSET", target.keys.tries, "1-0", long_ago)
    if others:
        record.trouble.pop(2)

    report = await run(server, target, by_function(record))

    after = state(client, target)
    if others:
        words = b"retried for longer than RETRY_FOR_SEC (3600): ConnectionError: away"
        assert (report.parked, report.acknowledged, after.pending) == (1, 1, {})
        assert [(one[b"id"], one[b"reason"], one[b"error"]) for one in after.dead] == [
            (b"1-0", b"retried_too_long", words)
        ]
    else:
        assert (report.parked, after.pending, after.dead) == (0, pending(1, 2, consumer=OURS), [])


async def test_a_bad_entry_is_no_sign_that_others_are_stored(embedded: Endpoint, client: Client) -> None:
    """It is parked whether the store is there or not."""
    target = a_target(retry_for_sec=3600, retry_attempts=1)
    given(client, target, of_user(1, "a"), of_user(2, "b"))
    client.execute_command("HSET", target.keys.tries, "1-0", Try(0, 1, 1, 1, "retry").to_bytes())

    report = await run(embedded, target, by_function(Recorder(_1=ConnectionError("away"), _2=RejectEntry("odd"))))

    assert (report.parked, report.retried) == (1, 1)
    assert state(client, target).pending == pending(1, consumer=OURS)


async def test_what_a_run_beside_this_one_has_written_down_is_heeded(server: Endpoint, client: Client) -> None:
    """Our run had stalled, and another one began: it wrote down what others had made of an entry, and refunded it.

    Our run read the records before that. By its count alone the entry would be dead, though nobody has tried it.
    """
    target = a_target(max_deliveries=3, page_size=1)
    given(client, target, Held(tweet(1)), Held(tweet(2), consumer="monitoring_app", deliveries=3))

    async def store(_: Entry) -> None:
        client.execute_command("HSET", target.keys.tries, "2-0", "1 0 0 0 3 none - ")

    report = await run(server, target, by_function(store, "{id}"))

    assert (report.acknowledged, report.parked) == (2, 0)
    assert state(client, target) == State(length=2)


@pytest.mark.G4
@pytest.mark.parametrize("consumer", ["worker", OURS])
async def test_the_greatest_delivery_count_stops_nobody(server: Endpoint, client: Client, consumer: str) -> None:
    """XCLAIM can set it; nothing can be added to it. By others it says nothing of us; by us: all tries are spent."""
    target = a_target(max_deliveries=3, delivery_backoff_sec=0)
    given(client, target, of_user(1, "a", consumer=consumer, deliveries=2**63 - 1), of_user(2, "b"))
    lived_in(client, target)
    record = Recorder(_1=ValueError("no"))

    for _ in range(3):
        await run(server, target, by_function(record))
        age_all(client, target)

    after = state(client, target)
    assert after.pending == {}
    assert [letter[b"id"] for letter in after.dead] == [b"1-0"]
    assert (record.seen.count(2), record.seen.count(1)) == (1, 2 if consumer == "worker" else 0)

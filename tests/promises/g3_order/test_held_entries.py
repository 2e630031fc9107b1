"""An entry that is not done holds the later ones of its order key, and no other entry (G3, G4)."""

import asyncio
import random

import pytest

from dev.proxy import ErrorReply, Fault, Proxy
from reclaim.entry import Entry
from reclaim.errors import RejectEntry, RetryEntry
from reclaim.run.report import Outcome
from reclaim.state.claim import _CLAIM
from tests.faults import OOM, Recorder, by_function, dead_letter, of_user, pending, script
from tests.support import Client, Endpoint, Held, State, a_runner, a_target, age_all, given, run, state, stored, tweet

pytestmark = pytest.mark.G3

OURS = "monitoring_app"

# Users a and b in turn, six entries each: 1 a, 2 b, 3 a, …
TWO_USERS = [of_user(number, "ab"[(number - 1) % 2]) for number in range(1, 13)]
OF_A = [1, 3, 5, 7, 9, 11]
OF_B = [2, 4, 6, 8, 10, 12]


def of_key(seen: list[int], numbers: list[int]) -> list[int]:
    return [number for number in seen if number in numbers]


@pytest.mark.parametrize("page_size", [2, 500])
async def test_a_failure_holds_its_key_and_nothing_else(server: Endpoint, client: Client, page_size: int) -> None:
    """In this page and the later ones, no later entry of its key is handled, and every entry of the other key is."""
    target = a_target(page_size=page_size, lanes=2)
    given(client, target, *TWO_USERS)
    record = Recorder(_3=ValueError("no"))

    report = await run(server, target, by_function(record))

    assert (of_key(record.seen, OF_A), of_key(record.seen, OF_B)) == ([1, 3], OF_B)
    assert (report.acknowledged, report.failed, report.held) == (7, 1, 4)
    assert state(client, target) == State(
        pending=pending(3, consumer="monitoring_app", deliveries=2, age="fresh")
        | pending(5, 7, 9, 11, consumer="monitoring_app"),
        length=12,
    )


async def test_the_next_run_holds_the_key_while_the_failed_entry_is_not_idle(server: Endpoint, client: Client) -> None:
    """Redis remembers it: a new process reads it from the pending entries of our consumer."""
    target = a_target(lanes=2)
    given(client, target, *TWO_USERS)
    record = Recorder(_3=ValueError("no"))
    await run(server, target, by_function(record))
    client.execute_command("XADD", "s", "100-0", "id", "100", "user", "b")
    client.execute_command("XREADGROUP", "GROUP", "g", "worker", "STREAMS", "s", ">")
    client.execute_command("XCLAIM", "s", "g", "worker", 0, "100-0", "IDLE", 3_600_000, "JUSTID")
    record.seen.clear()

    report = await run(server, target, by_function(record))

    assert record.seen == [100]
    assert (report.held, report.acknowledged) == (4, 1)
    assert state(client, target).pending == pending(3, consumer="monitoring_app", deliveries=2, age="fresh") | pending(
        5, 7, 9, 11, consumer="monitoring_app"
    )


async def test_once_idle_the_failed_entry_and_those_behind_it_are_handled_in_order(
    server: Endpoint, client: Client
) -> None:
    """The failure is over: the rest of the key follows in ID order."""
    target = a_target(lanes=2, page_size=3)
    given(client, target, *TWO_USERS)
    record = Recorder(_3=ValueError("no"))
    await run(server, target, by_function(record))
    age_all(client, target)
    record.trouble.clear()
    record.seen.clear()

    await run(server, target, by_function(record))

    assert record.seen == [3, 5, 7, 9, 11]
    assert state(client, target) == State(length=12)


async def test_a_failure_at_the_last_delivery_is_parked_and_its_key_goes_on(server: Endpoint, client: Client) -> None:
    """The dead letter has the error and the entry's bytes; later entries of the key are handled by the same run."""
    target = a_target(lanes=2, max_deliveries=3)
    entries = [*TWO_USERS[:2], of_user(3, "a", consumer=OURS, deliveries=2), *TWO_USERS[3:]]
    given(client, target, *entries)
    record = Recorder(_3=ValueError("no"))

    report = await run(server, target, by_function(record))

    assert of_key(record.seen, OF_A) == OF_A
    assert (report.acknowledged, report.parked, report.failed, report.held) == (11, 1, 0, 0)
    assert state(client, target) == State(
        length=12, dead=[dead_letter(3, entries[2].fields, "failed", "ValueError: no", consumer=OURS, deliveries=3)]
    )


@pytest.mark.G4
async def test_a_poison_entry_is_dead_after_exactly_its_budget(server: Endpoint, client: Client) -> None:
    """It is handled MAX_DELIVERIES - 1 times, as its first consumer had one delivery. Then it is parked."""
    target = a_target(max_deliveries=4)
    given(client, target, *TWO_USERS)
    record = Recorder(_3=ValueError("no"))

    async with a_runner(server, target, by_function(record)) as runner:
        for _ in range(6):
            await runner.run(30)
            age_all(client, target)

    assert record.seen.count(3) == 3
    assert sorted(set(record.seen)) == list(range(1, 13))
    after = state(client, target)
    assert [(letter[b"id"], letter[b"deliveries"]) for letter in after.dead] == [(b"3-0", b"4")]
    assert after.pending == {}


@pytest.mark.G4
async def test_an_entry_delivered_too_often_is_parked_unhandled(server: Endpoint, client: Client) -> None:
    """It may be what kills the process: the handler never gets it, and gets the entries after it."""
    target = a_target(max_deliveries=5)
    entries = [of_user(1, "a"), of_user(2, "a", consumer=OURS, deliveries=5), of_user(3, "a")]
    given(client, target, *entries)
    record = Recorder()

    report = await run(server, target, by_function(record))

    assert record.seen == [1, 3]
    assert (report.parked, report.acknowledged) == (1, 2)
    assert state(client, target) == State(
        length=3,
        dead=[
            dead_letter(
                2,
                entries[1].fields,
                "max_deliveries",
                "delivered 6 times; MAX_DELIVERIES is 5",
                consumer=OURS,
                deliveries=6,
            )
        ],
    )


async def test_an_entry_delivered_too_often_waits_for_an_earlier_one_of_its_key(
    server: Endpoint, client: Client
) -> None:
    """Otherwise its dead letter could be replayed before the earlier entry is done."""
    target = a_target(max_deliveries=5)
    given(client, target, of_user(1, "a"), of_user(2, "a", deliveries=5), of_user(3, "b"))
    record = Recorder(_1=RetryEntry("not now"))

    report = await run(server, target, by_function(record))

    assert (report.retried, report.held, report.parked, report.acknowledged) == (1, 1, 0, 1)
    assert state(client, target) == State(
        pending=pending(1, consumer="monitoring_app") | pending(2, consumer="monitoring_app", deliveries=5), length=3
    )


async def test_a_rejected_entry_is_parked_at_once_and_its_key_goes_on(server: Endpoint, client: Client) -> None:
    """RejectEntry is final: there is no second try."""
    target = a_target()
    given(client, target, *TWO_USERS)
    record = Recorder(_3=RejectEntry("no such user"))

    report = await run(server, target, by_function(record))

    assert of_key(record.seen, OF_A) == OF_A
    assert (report.parked, report.acknowledged) == (1, 11)
    assert state(client, target) == State(
        length=12, dead=[dead_letter(3, TWO_USERS[2].fields, "bad_entry", "RejectEntry: no such user")]
    )


async def test_an_entry_without_the_field_that_names_its_hash_is_parked(server: Endpoint, client: Client) -> None:
    """It can never be stored; its bytes are kept as they are, text or not."""
    target = a_target()
    bad = [b"\xff\x00 name", b"\xfe\r\n", b"", b""]
    given(client, target, Held(tweet(1)), Held(bad), Held(tweet(3)))

    report = await run(server, target)

    assert (report.parked, report.acknowledged) == (1, 2)
    assert state(client, target) == State(
        hashes=stored(tweet(1), tweet(3)),
        length=3,
        dead=[dead_letter(2, bad, "bad_entry", "MissingField: no field 'id' for 'tweet:{id}'")],
    )


async def test_an_entry_that_is_not_to_blame_holds_its_key_uncharged(server: Endpoint, client: Client) -> None:
    """RetryEntry: the entry and the later ones of its key stay as they were; the other key goes on."""
    target = a_target(lanes=2, page_size=4, retry_attempts=2)
    given(client, target, *TWO_USERS)
    record = Recorder(_3=RetryEntry("later"))

    report = await run(server, target, by_function(record))

    assert of_key(record.seen, OF_B) == OF_B
    assert (report.retried, report.held, report.acknowledged) == (1, 4, 7)
    assert state(client, target) == State(pending=pending(3, 5, 7, 9, 11, consumer="monitoring_app"), length=12)


async def test_one_keys_failure_at_the_same_moment_does_not_hold_another_key(server: Endpoint, client: Client) -> None:
    """Two lanes work at once: a failure in one does not touch the other."""
    target = a_target(lanes=2)
    given(client, target, *TWO_USERS)
    failed = asyncio.Event()
    seen: list[int] = []

    async def handle(entry: Entry) -> None:
        number = int(entry.get("id") or b"")
        seen.append(number)
        if number == 1:
            failed.set()
            raise ValueError
        if number == 2:
            await failed.wait()
            await asyncio.sleep(0)

    report = await run(server, target, by_function(handle))

    assert of_key(seen, OF_B) == OF_B
    assert (report.acknowledged, report.failed, report.held) == (6, 1, 5)


async def test_a_store_that_fails_for_one_entry_holds_its_key_and_its_hash_ends_with_the_newest(
    client: Client, proxy: Proxy
) -> None:
    """What was stored behind the failure is not acknowledged, and is stored again, in order (G3)."""
    target = a_target(retry_attempts=1, lanes=1)
    entries = [Held(tweet(7, text=b"version %d" % number)) for number in range(1, 4)] + [Held(tweet(8))]
    given(client, target, *entries)
    proxy.when("HSET", ErrorReply(OOM), args=lambda args: b"version 1" in args)

    first = await run(proxy, target)
    in_between = state(client, target)
    await run(proxy, target)

    assert (first.acknowledged, first.retried, first.held) == (1, 1, 2)
    assert in_between.pending == pending(1, 2, 3, consumer="monitoring_app")
    assert state(client, target) == State(hashes=stored(*entries), length=4)


async def test_a_retry_within_the_run_stores_a_keys_entries_again_in_order(client: Client, proxy: Proxy) -> None:
    """The first of three fails once while the later two are stored: after the retry the newest is what is there."""
    target = a_target(lanes=1)
    entries = [Held(tweet(7, text=b"version %d" % number)) for number in range(1, 4)]
    given(client, target, *entries)
    proxy.when("HSET", ErrorReply(OOM), args=lambda args: b"version 1" in args)

    report = await run(proxy, target)

    assert report.acknowledged == 3
    assert state(client, target) == State(hashes=stored(entries[-1]), length=3)


async def test_a_key_keeps_its_order_though_the_claim_of_its_next_page_goes_wrong(
    client: Client, embedded_proxy: Proxy
) -> None:
    """Entries whose claim took effect, but whose reply was lost, are not overtaken by later ones of their key."""
    target = a_target(page_size=2, retry_attempts=2)
    entries = [Held(tweet(number % 3, text=b"version %d" % number)) for number in range(1, 13)]
    given(client, target, *entries)
    embedded_proxy.when("EVAL", Fault.CUT_AFTER, args=script(_CLAIM), skip=1, times=3)
    acknowledged: list[bytes] = []

    async with a_runner(embedded_proxy, target) as runner:
        for _ in range(3):
            await runner.run(30)

    for command in embedded_proxy.commands:
        if command[0] == b"XACK":
            acknowledged += command[3:]
    for key in range(3):
        of_one = [int(one.partition(b"-")[0]) for one in dict.fromkeys(acknowledged)]
        of_one = [number for number in of_one if number % 3 == key]
        assert of_one == sorted(of_one)
    assert state(client, target) == State(hashes=stored(*entries), length=12)


async def test_each_keys_entries_are_handled_in_order_in_any_number_of_lanes(server: Endpoint, client: Client) -> None:
    """Two hundred entries of seven users, each handled for a random while, in lanes, over many pages."""
    target = a_target(lanes=5, page_size=20)
    entries = [of_user(number, f"user_{number * number % 7}") for number in range(1, 201)]
    given(client, target, *entries)
    chance = random.Random(7)
    seen: list[int] = []
    at_work: set[bytes] = set()
    most = 0

    async def handle(entry: Entry) -> None:
        nonlocal most
        user = entry.get("user") or b""
        assert user not in at_work
        at_work.add(user)
        most = max(most, len(at_work))
        await asyncio.sleep(chance.random() / 500)
        seen.append(int(entry.get("id") or b""))
        at_work.remove(user)

    report = await run(server, target, by_function(handle))

    assert (report.outcome, report.acknowledged, most <= 5) == (Outcome.COMPLETED, 200, True)
    for residue in {number * number % 7 for number in range(7)}:
        of_one = [number for number in seen if number * number % 7 == residue]
        assert of_one == sorted(of_one)
    assert sorted(seen) == list(range(1, 201))


@pytest.mark.parametrize("version_field", [None, "version"])
async def test_a_hash_ends_with_its_newest_entry_over_many_pages(
    server: Endpoint, client: Client, version_field: str | None
) -> None:
    """A hundred entries for five hashes, in small pages and several lanes."""
    target = a_target(lanes=3, page_size=7, hash_version_field=version_field)
    entries = [Held(tweet(number % 5, text=b"version %d" % number)) for number in range(1, 101)]
    given(client, target, *entries)

    await run(server, target)

    after = state(client, target)
    texts = {key: fields[b"text"] for key, fields in after.hashes.items()}
    assert texts == {b"tweet:%d" % (number % 5): b"version %d" % number for number in range(96, 101)}
    assert after.pending == {}

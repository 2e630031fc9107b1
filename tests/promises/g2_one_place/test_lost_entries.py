"""Entries trimmed, deleted, acknowledged or taken by others while they are pending: each is told apart (G2)."""

import asyncio
import shutil
from collections.abc import Callable

import pytest

from dev.proxy import ErrorReply, Fault, Proxy
from dev.server import Server, available
from reclaim.entry import Entry
from reclaim.run.report import Outcome
from tests.conftest import MATRIX, Servers
from tests.faults import LOADING, before_claim, by_function, lost_line, pending, step
from tests.support import Client, Endpoint, Held, State, a_target, given, held, raw_client, run, state, stored, tweet

pytestmark = pytest.mark.G2

ENTRIES = held(range(1, 6))

# Before Redis 7 XCLAIM takes an entry that is gone from the stream like any other.
from_redis_7 = pytest.mark.parametrize("server", [kind for kind in MATRIX if kind != "redis-6.2"], indirect=True)


def doing(client: Client, *commands: str) -> Callable[[], object]:
    """What runs these commands, when it is called."""
    return lambda: [client.execute_command(*command.split()) for command in commands]


async def test_a_deleted_entry_is_in_the_ledger_and_no_longer_pending(server: Endpoint, client: Client) -> None:
    """Its ID and its consumer are recorded; the other entries are handled."""
    target = a_target(page_size=2)
    given(client, target, *ENTRIES[:3], Held(tweet(4), consumer="other", deliveries=3), ENTRIES[4])
    client.execute_command("XDEL", "s", "2-0", "4-0")

    report = await run(server, target)

    assert (report.lost, report.acknowledged) == (2, 3)
    assert state(client, target) == State(
        hashes=stored(tweet(1), tweet(3), tweet(5)), length=3, lost=[lost_line(2), lost_line(4, "other", 3)]
    )


async def test_holes_and_others_in_a_page_are_told_from_its_entries(server: Endpoint, client: Client) -> None:
    """Light entries are read in runs: some of theirs are deleted, and others are not pending any more."""
    target = a_target()
    given(client, target, *held(range(1, 421)))
    acknowledged, deleted = {*range(250, 400, 3), *range(60, 70)}, {33, 34, 90, *range(100, 130), 251, 252, 420}
    client.execute_command("XACK", "s", target.group, *(f"{number}-0" for number in acknowledged))
    client.execute_command("XDEL", "s", *(f"{number}-0" for number in deleted))

    report = await run(server, target)

    there = [number for number in range(1, 421) if number not in acknowledged | deleted]
    assert (report.outcome, report.lost, report.acknowledged) == (Outcome.COMPLETED, len(deleted), len(there))
    assert state(client, target) == State(
        hashes=stored(*map(tweet, there)), length=420 - len(deleted), lost=list(map(lost_line, sorted(deleted)))
    )


async def test_trimmed_entries_are_in_the_ledger(server: Endpoint, client: Client) -> None:
    """The head of the stream is trimmed away while it is pending."""
    target = a_target(page_size=2)
    given(client, target, *ENTRIES)
    client.execute_command("XTRIM", "s", "MAXLEN", 2)

    report = await run(server, target)

    assert report.lost == 3
    assert state(client, target) == State(
        hashes=stored(tweet(4), tweet(5)), length=2, lost=[lost_line(1), lost_line(2), lost_line(3)]
    )


async def test_a_stream_trimmed_to_nothing_is_all_in_the_ledger(server: Endpoint, client: Client) -> None:
    """Nothing is left to handle, and everything is accounted for."""
    target = a_target(page_size=2)
    given(client, target, *ENTRIES)
    client.execute_command("XTRIM", "s", "MAXLEN", 0)

    report = await run(server, target)

    assert (report.outcome, report.lost, report.claimed) == (Outcome.COMPLETED, 5, 0)
    assert state(client, target) == State(lost=[lost_line(number) for number in range(1, 6)])


async def test_a_deleted_entry_that_is_not_idle_is_left_to_its_consumer(server: Endpoint, client: Client) -> None:
    """Its consumer may still be working on it, and acknowledge it."""
    target = a_target()
    given(client, target, Held(tweet(1)), Held(tweet(2), idle_ms=0))
    client.execute_command("XDEL", "s", "2-0")

    report = await run(server, target)

    assert report.lost == 0
    assert state(client, target) == State(hashes=stored(tweet(1)), length=1, pending=pending(2, age="fresh"))


@pytest.mark.skipif("redis-6.2" not in available(), reason="redis-6.2 is not installed here")
async def test_an_entry_deleted_between_its_reading_and_its_claim_is_stored_before_redis_7(servers: Servers) -> None:
    """XCLAIM takes it like any other, and the run has its fields: nothing is lost."""
    target = a_target()
    server = servers.get("redis-6.2")
    with raw_client(server.server_port) as client, Proxy(server.server_port) as proxy:
        given(client, target, *ENTRIES[:3])
        before_claim(proxy, doing(client, "XDEL s 2-0"))

        report = await run(proxy, target)

        assert (report.lost, report.acknowledged) == (0, 3)
        assert state(client, target) == State(hashes=stored(*ENTRIES[:3]), length=2)


async def test_an_entry_deleted_between_find_and_read_is_in_the_ledger(client: Client, proxy: Proxy) -> None:
    """The entry was there when the run found it, and gone when the run read it."""
    target = a_target()
    given(client, target, *ENTRIES[:3])
    name, args = step("read")
    proxy.when(name, doing(client, "XDEL s 2-0"), args=args)

    report = await run(proxy, target)

    assert report.lost == 1
    assert state(client, target) == State(hashes=stored(tweet(1), tweet(3)), length=2, lost=[lost_line(2)])


@from_redis_7
async def test_an_entry_deleted_between_its_reading_and_its_claim_is_in_the_ledger(
    client: Client, proxy: Proxy
) -> None:
    """XCLAIM drops it from the pending list: it is recorded at one stroke with that."""
    target = a_target()
    given(client, target, *ENTRIES[:2], Held(tweet(3), consumer="other", deliveries=3), Held(tweet(4)))
    before_claim(proxy, doing(client, "XDEL s 2-0 3-0"))

    report = await run(proxy, target)

    assert report.lost == 2
    assert state(client, target) == State(
        hashes=stored(tweet(1), tweet(4)), length=2, lost=[lost_line(2), lost_line(3, "other", 3)]
    )


@pytest.mark.parametrize("own", available(), indirect=True)
async def test_a_full_server_does_not_keep_a_loss_from_being_recorded(own: Server, direct: Client, wire: Proxy) -> None:
    """A script that has begun to write goes on, though the server is out of memory."""
    target = a_target()
    given(direct, target, *ENTRIES[:3])
    direct.execute_command("XDEL", "s", "1-0", "2-0")
    before_claim(wire, doing(direct, "XDEL s 3-0", "CONFIG SET maxmemory 1"))

    report = await run(wire, target)

    direct.execute_command("CONFIG", "SET", "maxmemory", "0")
    seen = [3] if own.kind.startswith("redis-6.") else []  # its body had been read; there is no room for its hash
    assert (report.lost, report.claimed) == (3 - len(seen), len(seen))
    after = state(direct, target)
    lost = sorted(after.lost, key=lambda line: line[b"id"])
    assert lost == [lost_line(number) for number in (1, 2, 3) if number not in seen]
    assert (after.hashes, after.pending) == ({}, pending(*seen, consumer="monitoring_app"))


@pytest.mark.parametrize(
    "what_happens",
    [
        "XACK s g 2-0|XDEL s 2-0",
        "XACK s g 2-0|XTRIM s MAXLEN 1",
        "XACK s g 2-0",
    ],
)
async def test_an_entry_acknowledged_between_find_and_claim_is_not_lost(
    client: Client, proxy: Proxy, what_happens: str
) -> None:
    """A live consumer acknowledged it after all, and somebody deleted it: it is not recorded, and not handled twice."""
    target = a_target()
    given(client, target, *ENTRIES[1:3], ENTRIES[4])  # 1-0, 2-0, 3-0
    client.execute_command("XACK", "s", "g", "1-0")
    before_claim(proxy, doing(client, *what_happens.split("|")))

    report = await run(proxy, target)

    assert (report.lost, report.claimed, report.acknowledged) == (0, 1, 1)
    after = state(client, target)
    assert (after.lost, after.pending, after.hashes) == ([], {}, stored(ENTRIES[4]))


async def test_an_entry_taken_between_find_and_claim_is_left_to_the_taker(client: Client, proxy: Proxy) -> None:
    """XCLAIM's least idle time decides: the entry stays with the other consumer, and the run does not handle it."""
    target = a_target()
    given(client, target, *ENTRIES[:3])
    before_claim(proxy, doing(client, "XCLAIM s g other 0 2-0"))

    report = await run(proxy, target)

    assert (report.lost, report.claimed) == (0, 2)
    assert state(client, target) == State(
        hashes=stored(tweet(1), tweet(3)), length=3, pending=pending(2, consumer="other", deliveries=2, age="fresh")
    )


async def test_an_entry_deleted_after_its_claim_is_handled_all_the_same(client: Client, proxy: Proxy) -> None:
    """The run has its fields already: it is stored and acknowledged, and nothing is lost."""
    target = a_target()
    given(client, target, *ENTRIES[:3])
    proxy.when("HSET", doing(client, "XDEL s 2-0"))

    report = await run(proxy, target)

    assert (report.lost, report.acknowledged) == (0, 3)
    assert state(client, target) == State(hashes=stored(*ENTRIES[:3]), length=2)


async def test_an_entry_deleted_in_our_hands_that_is_given_back_is_in_the_ledger_in_the_end(
    client: Client, proxy: Proxy
) -> None:
    """The refund drops it from the pending list (from Redis 7 on) and records it; or the next claim finds it gone."""
    target = a_target(min_idle_ms=1, retry_attempts=1)
    given(client, target, *ENTRIES[:3])
    proxy.when("HSET", ErrorReply(LOADING), times=3)
    refund, args = step("keep or refund")
    proxy.when(refund, doing(client, "XDEL s 2-0"), args=args)

    reports = [await run(proxy, target), await run(proxy, target)]

    assert sum(report.lost for report in reports) == 1
    after = state(client, target)
    assert ([line[b"id"] for line in after.lost], after.pending) == ([b"2-0"], {})
    assert after.hashes == stored(tweet(1), tweet(3))


async def test_an_entry_deleted_under_a_slow_handler_that_fails_is_in_the_ledger_in_the_end(
    server: Endpoint, client: Client
) -> None:
    """Our claim on it is renewed while the handler works, which drops it from the pending list from Redis 7 on."""
    target = a_target(min_idle_ms=300)
    given(client, target, Held(tweet(1)))

    async def slow(entry: Entry) -> None:
        client.execute_command("XDEL", "s", entry.id)
        await asyncio.sleep(0.4)
        raise ValueError

    later = a_target(min_idle_ms=1, delivery_backoff_sec=0)
    reports = [await run(server, target, by_function(slow)), await run(server, later)]

    assert sum(report.lost for report in reports) == 1
    assert (reports[0].failed, reports[0].taken) == (1, 0)
    assert state(client, target) == State(lost=[lost_line(1, "monitoring_app", 2)])


async def test_an_entry_deleted_under_a_slow_handler_that_stores_it_is_not_lost(
    server: Endpoint, client: Client
) -> None:
    """It is recorded when our claim on it is renewed, and struck out of the ledger when it is done (G2)."""
    target = a_target(min_idle_ms=300)
    given(client, target, Held(tweet(1)))
    renewed: list[int] = []

    async def slow(entry: Entry) -> None:
        client.execute_command("XDEL", "s", entry.id)
        await asyncio.sleep(0.4)
        renewed.append(client.execute_command("XLEN", target.keys.lost))

    report = await run(server, target, by_function(slow))

    assert (report.lost, report.taken, report.stored, report.acknowledged) == (0, 0, 1, 1)
    is_old = server.kind.startswith("redis-6.") and server.proxy is None
    assert renewed == [0 if is_old else 1]
    assert state(client, target) == State()


@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.CUT_AFTER], ids=["cut before", "cut after"])
@pytest.mark.parametrize("at", ["read", "claim"])
async def test_a_loss_is_recorded_once_though_the_connection_breaks(
    client: Client, proxy: Proxy, at: str, fault: Fault
) -> None:
    """The claim is made again after a broken connection: one line in the ledger all the same."""
    target = a_target(min_idle_ms=1)
    given(client, target, *ENTRIES[:3])
    client.execute_command("XDEL", "s", "2-0")
    name, args = step(at)
    proxy.when(name, fault, args=args)

    await run(proxy, target)
    after = await run(proxy, target)

    assert after.outcome in {Outcome.NOTHING_PENDING, Outcome.COMPLETED}
    found = state(client, target)
    assert ([line[b"id"] for line in found.lost], found.hashes) == ([b"2-0"], stored(tweet(1), tweet(3)))
    assert found.pending.keys() <= set()


@pytest.mark.skipif("redis-6.2" not in available(), reason="redis-6.2 is not installed here")
@pytest.mark.parametrize("kind", [kind for kind in available() if kind != "redis-6.2"])
async def test_a_deletion_from_before_an_upgrade_is_in_the_ledger(kind: str) -> None:
    """Redis 6's file does not say what the last deleted ID was; a server that has loaded it claims 0-0."""
    target = a_target()
    with Server("redis-6.2") as old, Server(kind) as new:
        with raw_client(old.port) as client:
            given(client, target, *ENTRIES[:3])
            client.execute_command("XDEL", "s", "2-0")
            client.execute_command("SAVE")
        new.stop()
        shutil.copy(old.directory / "dump.rdb", new.directory)
        new.start()

        report = await run(new, target)

        with raw_client(new.port) as client:
            after = state(client, target)
    assert report.lost == 1
    assert after == State(hashes=stored(tweet(1), tweet(3)), length=2, lost=[lost_line(2)])


async def test_entries_recorded_as_lost_by_a_claim_that_then_fails_are_told_all_the_same(
    embedded_proxy: Proxy, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page needs several scripts: the first has recorded entries when the second is refused."""
    monkeypatch.setattr("reclaim.state.claim.CLAIM_AT_ONCE", 100)
    target = a_target()
    entries = [Held(tweet(number)) for number in range(1, 301)]
    ids = given(client, target, *entries)
    client.execute_command("XDEL", target.stream, ids[30], ids[-1])
    name, args = step("claim")
    embedded_proxy.when(name, ErrorReply("OOM no memory"), args=lambda words: args(words) and ids[200] in words)

    report = await run(embedded_proxy, target)

    assert (report.outcome, report.lost, report.acknowledged) == (Outcome.COMPLETED, 2, 298)

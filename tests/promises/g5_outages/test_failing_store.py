"""A store that is full, read-only, paused, restarted, or holds something else where we want to write."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from dev.proxy import Fault, Proxy
from dev.server import Server
from reclaim.run.report import Outcome
from tests.faults import KINDS, dead_letter, pending, step
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
    held,
    lived_in,
    raw_client,
    run,
    state,
    stored,
    tweet,
)

pytestmark = pytest.mark.G5

ENTRIES = held(range(1, 7))
ALL_DONE = State(hashes=stored(*ENTRIES), length=6)
NO_FIELD = "MissingField: no field 'id' for 'tweet:{id}'"
NOWHERE = ("127.0.0.1", 1)  # a master that is never there


def full(client: Client) -> Callable[[], object]:
    return lambda: client.execute_command("CONFIG", "SET", "maxmemory", 1)


def at_the_store(version_field: str | None) -> dict[str, Any]:
    """The first command of a run that stores an entry."""
    name, args = step("store a newer one" if version_field else "store")
    return {"name": name, "args": args}


def without_versions(found: State) -> State:
    """The same state, if no hash had a version in it."""
    hashes = {
        key: {name: value for name, value in one.items() if name != b"version"} for key, one in found.hashes.items()
    }
    return replace(found, hashes=hashes)


def roomy(client: Client) -> None:
    client.execute_command("CONFIG", "SET", "maxmemory", 0)


@pytest.mark.parametrize("version_field", [None, "version"])
async def test_a_store_that_fills_up_costs_no_delivery_and_nothing_is_dead(
    direct: Client, wire: Proxy, version_field: str | None
) -> None:
    """Memory is full from the first store on, for more runs than there are deliveries; then there is room again."""
    target = a_target(page_size=4, max_deliveries=3, retry_attempts=2, hash_version_field=version_field)
    given(direct, target, *ENTRIES)

    async with a_runner(wire, target) as runner:
        for _ in range(4):
            wire.when(action=full(direct), **at_the_store(version_field))
            await runner.run(30)
            roomy(direct)
            drop_lease(direct, target)
            wire.clear()
        hurt = state(direct, target)
        assert {n: row[1:] for n, row in hurt.pending.items()} == {b"%d-0" % n: (1, "idle") for n in range(1, 7)}
        assert (hurt.dead, hurt.lost) == ([], [])

        report = await runner.run(30)

    assert report.outcome is Outcome.COMPLETED
    assert without_versions(state(direct, target)) == ALL_DONE


async def test_a_store_that_is_full_from_the_start_is_an_error_that_says_so(direct: Client, wire: Proxy) -> None:
    """Not even the lease can be written: the run fails with the server's own word, and touches nothing."""
    target = a_target(retry_attempts=2)
    given(direct, target, *ENTRIES)
    before = state(direct, target)
    full(direct)()

    report = await run(wire, target)

    roomy(direct)
    assert report.outcome is Outcome.FAILED
    assert "maxmemory" in report.reason
    assert state(direct, target) == before


async def test_a_dead_letter_that_finds_no_room_waits(direct: Client, wire: Proxy) -> None:
    """The good entry is done, the bad one stays pending, uncharged, and is parked when there is room."""
    target = a_target(retry_attempts=2)
    bad = [b"user", b"nobody"]
    lived_in(direct, target)
    given(direct, target, Held(tweet(1)), Held(bad))
    name, args = step("park")
    wire.when(name, full(direct), args=args)

    await run(wire, target)
    roomy(direct)
    drop_lease(direct, target)
    hurt = state(direct, target)
    report = await run(wire, target)

    assert hurt == State(hashes=stored(tweet(1)), length=2, pending=pending(2, consumer="monitoring_app"))
    assert report.parked == 1
    assert state(direct, target) == State(
        hashes=stored(tweet(1)),
        length=2,
        dead=[dead_letter(2, bad, "bad_entry", NO_FIELD, consumer="monitoring_app")],
    )


async def test_a_hash_key_of_another_type_is_parked_and_not_touched(server: Endpoint, client: Client) -> None:
    """The key's own value stays as it is, byte for byte; the entry becomes a dead letter."""
    target = a_target()
    given(client, target, *ENTRIES[:3])
    client.execute_command("SET", "tweet:2", b"\x00 not a hash \xff")

    report = await run(server, target)

    assert (report.acknowledged, report.parked) == (2, 1)
    after = state(client, target)
    assert client.execute_command("GET", "tweet:2") == b"\x00 not a hash \xff"
    assert after.pending == {}
    assert after.hashes == stored(tweet(1), tweet(3))
    assert [letter[b"error"] for letter in after.dead] == [
        b"ResponseError: WRONGTYPE Operation against a key holding the wrong kind of value"
    ]
    assert {**after.dead[0], b"error": b""} == dead_letter(2, tweet(2), "bad_entry", "")


async def test_a_versioned_hash_key_of_another_type_is_parked_too(server: Endpoint, client: Client) -> None:
    """The script that compares versions passes the server's error on."""
    target = a_target(hash_version_field="version")
    given(client, target, *ENTRIES[:3])
    client.execute_command("SET", "tweet:2", "a string")

    report = await run(server, target)

    assert (report.acknowledged, report.parked) == (2, 1)
    after = state(client, target)
    assert [(letter[b"id"], letter[b"reason"]) for letter in after.dead] == [(b"2-0", b"bad_entry")]
    assert client.execute_command("GET", "tweet:2") == b"a string"


@pytest.mark.G2
async def test_dead_letters_that_cannot_be_kept_are_not_acknowledged_and_the_others_go_on(
    server: Endpoint, client: Client
) -> None:
    """The dead-letter key itself holds a string: bad entries stay pending, uncharged, until somebody mends it."""
    target = a_target(max_deliveries=2)
    bad = [b"user", b"nobody"]
    given(client, target, Held(tweet(1)), Held(bad), Held(tweet(3)))
    client.execute_command("SET", target.keys.dead, "a string")

    async with a_runner(server, target) as runner:
        reports = [await runner.run(30) for _ in range(4)]
        row = client.execute_command("XPENDING", "s", "g", "-", "+", 10)
        assert [(one[0], one[3]) for one in row] == [(b"2-0", 1)]
        assert client.execute_command("GET", target.keys.dead) == b"a string"
        assert [report.parked for report in reports] == [0, 0, 0, 0]
        client.execute_command("DEL", target.keys.dead)

        await runner.run(30)

    assert state(client, target) == State(
        hashes=stored(tweet(1), tweet(3)),
        length=3,
        dead=[dead_letter(2, bad, "bad_entry", NO_FIELD, consumer="monitoring_app")],
    )


@pytest.mark.G2
async def test_a_ledger_that_cannot_be_kept_loses_nothing(server: Endpoint, client: Client) -> None:
    """The ledger's key holds a string: what should be in it stays pending, and the next run writes it down."""
    target = a_target()
    given(client, target, *ENTRIES[:3])
    client.execute_command("XDEL", "s", "2-0")
    client.execute_command("SET", target.keys.lost, "a string")

    await run(server, target)
    assert b"2-0" in {row[0] for row in client.execute_command("XPENDING", "s", "g", "-", "+", 10)}
    client.execute_command("DEL", target.keys.lost)
    await run(server, replace(target, min_idle_ms=1))  # before 7.0 a deleted entry can be claimed, and is fresh then

    after = state(client, target)
    assert [line[b"id"] for line in after.lost] == [b"2-0"]
    assert (after.pending, after.hashes) == ({}, stored(tweet(1), tweet(3)))


@pytest.mark.parametrize("version_field", [None, "version"])
async def test_a_master_demoted_mid_run_costs_nothing(direct: Client, wire: Proxy, version_field: str | None) -> None:
    """From the first store on the server is a replica: nothing is charged. When it is a master again, all is done."""
    target = a_target(page_size=4, retry_attempts=2, max_deliveries=3, hash_version_field=version_field)
    given(direct, target, *ENTRIES)

    async with a_runner(wire, target) as runner:
        for _ in range(3):
            wire.when(action=partial(direct.execute_command, "REPLICAOF", *NOWHERE), **at_the_store(version_field))
            await runner.run(30)
            direct.execute_command("REPLICAOF", "NO", "ONE")
            drop_lease(direct, target)
            wire.clear()

        report = await runner.run(30)

    assert report.outcome is Outcome.COMPLETED
    assert without_versions(state(direct, target)) == ALL_DONE


async def test_a_master_demoted_between_store_and_acknowledgement_costs_nothing(direct: Client, wire: Proxy) -> None:
    """Stored, but not acknowledged: pending until the server takes writes again."""
    target = a_target(retry_attempts=2)
    given(direct, target, *ENTRIES)
    wire.when("XACK", lambda: direct.execute_command("REPLICAOF", *NOWHERE))

    async with a_runner(wire, target) as runner:
        hurt = await runner.run(30)
        still_pending = len(state(direct, target).pending)
        direct.execute_command("REPLICAOF", "NO", "ONE")
        drop_lease(direct, target)
        await runner.run(30)

    assert (hurt.outcome, hurt.acknowledged, still_pending) == (Outcome.FAILED, 0, 6)
    assert "read only" in hurt.reason
    assert state(direct, target) == ALL_DONE


async def test_a_replica_promoted_mid_run_is_worked_on_by_that_run(direct: Client, wire: Proxy) -> None:
    """The first attempts meet a replica, the next a master: the run goes on."""
    target = a_target()
    given(direct, target, *ENTRIES)
    direct.execute_command("REPLICAOF", *NOWHERE)
    name, args = step("take the lease")
    wire.when(name, lambda: direct.execute_command("REPLICAOF", "NO", "ONE"), args=args, skip=1)

    report = await run(wire, target)

    assert report.outcome is Outcome.COMPLETED
    assert state(direct, target) == ALL_DONE


@pytest.mark.parametrize("at", ["claim", "store", "acknowledge"])
async def test_a_short_pause_is_waited_out(own: Server, direct: Client, wire: Proxy, at: str) -> None:
    """CLIENT PAUSE for less time than an answer may take: the run only takes longer."""
    target = a_target()
    given(direct, target, *ENTRIES)
    name, args = step(at, own.kind)
    wire.when(name, lambda: direct.execute_command("CLIENT", "PAUSE", 200), args=args)

    report = await run(wire, target)

    assert (report.outcome, report.retried) == (Outcome.COMPLETED, 0)
    assert state(direct, target) == ALL_DONE


@pytest.mark.parametrize("at", ["claim", "store", "acknowledge"])
async def test_a_long_pause_costs_nothing(own: Server, direct: Client, wire: Proxy, at: str) -> None:
    """CLIENT PAUSE for longer than an answer may take: the run does what it can, and the next one does the rest."""
    target = a_target(max_deliveries=2)
    given(direct, target, *ENTRIES)
    name, args = step(at, own.kind)
    wire.when(name, lambda: direct.execute_command("CLIENT", "PAUSE", 700), args=args)

    async with a_runner(wire, target, timeout_sec=0.2) as runner:
        await runner.run(30)
        direct.execute_command("PING")  # is answered when the pause is over
        drop_lease(direct, target)
        await runner.run(30)

    assert state(direct, target) == ALL_DONE


@pytest.mark.parametrize("at", ["count", "find", "claim", "store", "acknowledge", "release the lease"])
async def test_connections_killed_by_the_server_are_made_again(
    own: Server, direct: Client, wire: Proxy, at: str
) -> None:
    """CLIENT KILL of every connection of ours, at any moment: the run still brings all to its end."""
    target = a_target(page_size=4)
    given(direct, target, *ENTRIES)
    name, args = step(at, own.kind)
    kill = ("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    rule = wire.when(name, lambda: direct.execute_command(*kill), args=args)

    report = await run(wire, target)

    drop_lease(direct, target)
    assert (rule.hits, report.outcome) == (1, Outcome.COMPLETED)
    assert state(direct, target) == ALL_DONE


@pytest.mark.parametrize("at", ["claim", "store", "acknowledge"])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_crash_of_a_server_that_writes_everything_down_loses_nothing(kind: str, at: str) -> None:
    """SIGKILL of the server mid-run, and a start from its append-only file: the run goes on where it was."""
    target = a_target(page_size=4, retry_attempts=8)
    with Server(kind, appendonly="yes", appendfsync="always") as server, Proxy(server.port) as wire:
        with raw_client(server.port) as client:
            given(client, target, *ENTRIES)
        name, args = step(at, kind)

        def crash() -> None:
            server.kill()
            server.start()

        wire.when(name, crash, args=args)

        report = await run(wire, target)

        with raw_client(server.port) as client:
            after = state(client, target)
    assert report.outcome is Outcome.COMPLETED
    assert replace(after, pending={}) == ALL_DONE
    assert after.pending == {}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_restart_of_a_server_that_writes_nothing_down_is_reported(kind: str) -> None:
    """The stream is gone with the server's memory: the run ends in good order, the next one says what is missing."""
    target = a_target(retry_attempts=8)
    with Server(kind) as server, Proxy(server.port) as wire:
        with raw_client(server.port) as client:
            given(client, target, *ENTRIES)
        wire.when("XACK", server.restart)

        async with a_runner(wire, target) as runner:
            await runner.run(30)
            report = await runner.run(30)

    assert report.outcome is Outcome.GROUP_MISSING
    assert "s" in report.reason


async def test_scripts_flushed_between_two_stores_are_sent_again(client: Client, proxy: Proxy) -> None:
    """SCRIPT FLUSH in the middle of a page's stores: the rest is stored by the same run."""
    target = a_target(hash_version_field="version", lanes=1)
    given(client, target, *ENTRIES)
    rule = proxy.when("EVALSHA", lambda: client.execute_command("SCRIPT", "FLUSH"), skip=2)

    report = await run(proxy, target)

    assert (rule.hits, report.outcome, report.acknowledged) == (1, Outcome.COMPLETED, 6)
    versions = {
        key: {**fields, b"version": b"%d-0" % number}
        for number, (key, fields) in enumerate(stored(*ENTRIES).items(), start=1)
    }
    assert state(client, target) == State(hashes=versions, length=6)


async def test_a_connection_cut_among_the_stores_stores_every_entry(client: Client, proxy: Proxy) -> None:
    """Half of a page is stored when the connection breaks: nothing is acknowledged until the other half is (G1)."""
    target = a_target(lanes=1, retry_attempts=1)
    given(client, target, *ENTRIES)
    proxy.when("HSET", Fault.CUT_BEFORE, skip=3)

    async with a_runner(proxy, target) as runner:
        await runner.run(30)
        half = state(client, target)
        await runner.run(30)

    assert half.hashes == stored(*ENTRIES[:3])
    assert half.pending == pending(*range(1, 7), consumer="monitoring_app")
    assert state(client, target) == ALL_DONE


@pytest.mark.G1
async def test_nothing_is_acknowledged_before_it_is_stored(client: Client, proxy: Proxy) -> None:
    """At the moment of the acknowledgement every hash is there already (G1)."""
    target = a_target(page_size=3)
    given(client, target, *ENTRIES)
    seen: list[tuple[int, int]] = []

    def look() -> None:
        seen.append((len(client.execute_command("KEYS", "tweet:*")), client.execute_command("XPENDING", "s", "g")[0]))

    proxy.when("XACK", look, times=None)

    await run(proxy, target)

    assert len(seen) == 2
    assert all(stored_by_now >= 6 - still_pending + 3 for stored_by_now, still_pending in seen)
    assert state(client, target) == ALL_DONE


async def test_entries_claimed_and_left_by_a_dead_run_are_taken_up_when_they_are_idle(
    server: Endpoint, client: Client
) -> None:
    """Entries of our own consumer are left alone until they are idle, and are then handled like any other (G6)."""
    target = a_target()
    given(client, target, *held(range(1, 7), consumer="monitoring_app", idle_ms=0, deliveries=2))

    early = await run(server, target)
    untouched = state(client, target)
    age_all(client, target)
    late = await run(server, target)

    assert (early.claimed, late.acknowledged) == (0, 6)
    assert untouched.pending == pending(*range(1, 7), consumer="monitoring_app", deliveries=2, age="fresh")
    assert state(client, target) == ALL_DONE

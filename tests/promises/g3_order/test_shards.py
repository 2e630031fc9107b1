"""Shards: parts of one target, by order key, that run at the same time, and an order that holds all the same (G3)."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from reclaim import handlers
from reclaim.entry import Entry
from reclaim.errors import LeaseHeld
from reclaim.handlers.outcomes import Handler
from reclaim.run.order import digest
from reclaim.run.replay import Replay
from reclaim.run.report import Outcome, RunReport
from reclaim.run.runner import Runner
from reclaim.settings import Target
from reclaim.shards import Shard
from reclaim.state.connection import Server, connect
from reclaim.state.lease import Lease
from tests.faults import Recorder, by_function, of_user
from tests.support import (
    Client,
    Endpoint,
    HasPort,
    Held,
    State,
    a_target,
    age_all,
    given,
    held,
    lived_in,
    pending_count,
    pending_rows,
    settings_for,
    state,
    stored,
    tweet,
)

pytestmark = pytest.mark.G3

USERS = "abcdefghij"


@asynccontextmanager
async def a_server(place: HasPort) -> AsyncIterator[Server]:
    """A connection for several runners."""
    server = connect(settings_for(place))
    try:
        yield server
    finally:
        await server.aclose()


def shards_of(server: Server, target: Target, handler: Handler) -> list[Runner]:
    """A runner for each shard."""
    return [Runner(part, server, handler) for part in target.parts]


async def run_shards(place: HasPort, target: Target, function: Callable[[Entry], object]) -> list[RunReport]:
    """One run of every shard, all at once."""
    async with a_server(place) as server:
        runners = shards_of(server, target, by_function(function))
        return list(await asyncio.gather(*(runner.run(30) for runner in runners)))


def shard_of(user: str, count: int) -> int:
    """The shard that has this user's entries."""
    return next(index for index in range(count) if Shard(index, count).has(digest(user.encode())))


def entries_of_all(each: int, **changes: object) -> list[Held]:
    """Entries of ten users in turn, numbered from 1 on: the number's last digit tells whose it is."""
    return [of_user(number, USERS[(number - 1) % 10], **changes) for number in range(1, 10 * each + 1)]


def in_order_for_each(seen: list[int]) -> bool:
    """Whether each user's entries were first seen in their order."""
    first = list(dict.fromkeys(seen))
    chains = [[number for number in first if (number - 1) % 10 == user] for user in range(10)]
    return chains == [sorted(chain) for chain in chains]


async def test_shards_share_the_work_by_order_key(server: Endpoint, client: Client) -> None:
    """Each entry is handled once, by the shard that has its key, as that shard's consumer."""
    target = a_target(shards=3, page_size=7)
    given(client, target, *entries_of_all(20))
    record = Recorder()

    reports = await run_shards(server, target, record)

    assert Counter(record.seen) == Counter(range(1, 201))
    assert in_order_for_each(record.seen)
    expected = Counter(shard_of(user, 3) for user in USERS for _ in range(20))
    assert [report.acknowledged for report in reports] == [expected[index] for index in range(3)]
    assert [(report.shard, report.place) for report in reports] == [(n, f"s/g#{n}") for n in range(3)]
    left = state(client, target)
    assert left == State(length=200, other_keys=[target.keys.shards])
    names = [facts[1] for facts in client.execute_command("XINFO", "CONSUMERS", "s", "g")]
    assert set(names) == {b"worker", *(b"monitoring_app#%d" % n for n in range(3) if expected[n])}


async def test_a_shard_takes_up_what_a_run_of_it_that_died_has_left(server: Endpoint, client: Client) -> None:
    """Whatever the shard's number was called before: another number of shards had left these."""
    target = a_target(shards=2)
    entries = entries_of_all(3, consumer="monitoring_app#4", deliveries=2)
    given(client, target, *entries)
    record = Recorder()

    await run_shards(server, target, record)

    assert Counter(record.seen) == Counter(range(1, 31))
    assert in_order_for_each(record.seen)
    assert pending_count(client, target) == 0


@pytest.mark.parametrize(("before", "after"), [(3, 2), (2, 5), (1, 3), (4, 1)])
async def test_after_a_change_of_their_number_a_failed_entry_still_holds_its_key(
    server: Endpoint, client: Client, before: int, after: int
) -> None:
    """It is not due yet, and its key belongs to another shard now."""
    first, then = a_target(shards=before), a_target(shards=after)
    given(client, first, *entries_of_all(2))
    record = Recorder(**{f"_{number}": ValueError("no") for number in range(1, 11)})
    await run_shards(server, first, record)
    record.seen.clear()

    reports = await run_shards(server, then, record)

    assert (record.seen, sum(report.held for report in reports)) == ([], 10)
    age_all(client, then)
    record.trouble.clear()
    await run_shards(server, then, record)
    assert in_order_for_each(record.seen)
    assert Counter(record.seen) == Counter(range(1, 21))
    assert pending_count(client, then) == 0


async def test_changes_of_their_number_charge_no_entry(server: Endpoint, client: Client) -> None:
    """What a run of the old number has left is taken up as it was found, however often the number changes."""
    record = Recorder()
    given(client, a_target(), *entries_of_all(2))
    for number in (3, 2, 5, 1, 4):  # more changes than an entry has tries
        target = a_target(shards=number, max_deliveries=3)
        record.trouble = {first: ConnectionError("an outage") for first in range(1, 5)}
        await run_shards(server, target, record)
        age_all(client, target)

    assert [row[3] for row in pending_rows(client, target)] == 8 * [1]
    record.seen.clear()
    record.trouble.clear()
    reports = await run_shards(server, a_target(shards=2, max_deliveries=3), record)

    assert sum(report.acknowledged for report in reports) == 8
    assert Counter(record.seen) == Counter([1, 2, 3, 4, 11, 12, 13, 14])
    assert in_order_for_each(record.seen)
    left = state(client, target)
    assert (left.pending, left.dead, left.lost) == ({}, [], [])


async def test_what_a_killed_run_has_left_is_charged_with_that_run_alone_whatever_their_number(
    server: Endpoint, client: Client
) -> None:
    """It held them under its shard's name, without a verdict: the runs of the new number add one try, and no more."""
    target = a_target(shards=2, max_deliveries=3, delivery_backoff_sec=0)
    given(client, target, *entries_of_all(1, consumer="monitoring_app#4", deliveries=2))
    record = Recorder(**{f"_{number}": ValueError("no") for number in range(1, 11)})

    reports = await run_shards(server, target, record)

    assert Counter(record.seen) == Counter(range(1, 11))
    assert [sum(report.failed for report in reports), sum(report.parked for report in reports)] == [0, 10]


async def test_another_number_of_shards_waits_until_no_run_of_the_old_one_is_left(
    server: Endpoint, client: Client
) -> None:
    """Then it takes effect; a run of the old number waits from then on."""
    old, new = a_target(shards=3), a_target(shards=2)
    async with a_server(server) as link:
        running = Lease(link, old.parts[2], "old")
        assert await link.ask(running.take()) == (None,)
        early = await link.ask(Lease(link, new.parts[0], "new").take())
        beside = await link.ask(Lease(link, old.parts[0], "old too").take())
        client.execute_command("DEL", old.parts[0].keys.lease, old.parts[2].keys.lease)
        late = [await link.ask(Lease(link, part, "new").take()) for part in new.parts]
        (too_late,) = await link.ask(Lease(link, old.parts[2], "old").take())
        (single,) = await link.ask(Lease(link, a_target(), "single").take())

    assert [early[0] is None, beside[0] is None] == [False, True]
    assert late == [(None,), (None,)]
    assert "run new" in str(too_late)
    assert "run new" in str(single)
    assert client.execute_command("GET", old.keys.shards) == b"2"


async def test_one_shard_again_is_no_shard(server: Endpoint, client: Client) -> None:
    """The target's own lease, and no key that says how many shards there are: as a release without shards knows it."""
    target = a_target()
    client.execute_command("SET", target.keys.shards, 4)
    async with a_server(server) as link:
        taken = await link.ask(Lease(link, target, "x").take())

    assert taken == (None,)
    assert sorted(client.execute_command("KEYS", "*")) == [target.keys.lease]


@pytest.mark.parametrize("said", ["inf", "1e9", "-5", "nan", "nonsense"])
async def test_what_somebody_else_has_written_as_their_number_stops_nobody(
    embedded: Endpoint, client: Client, said: str
) -> None:
    """The script that takes the lease looks at so many leases, and blocks the server meanwhile."""
    target = a_target(shards=2)
    client.execute_command("SET", target.keys.shards, said)
    async with a_server(embedded) as link:
        taken = [await link.ask(Lease(link, part, "x").take()) for part in target.parts]

    assert taken == [(None,), (None,)]
    assert client.execute_command("GET", target.keys.shards) == b"2"


async def test_a_shard_waits_for_a_run_of_the_whole_target(server: Endpoint, client: Client) -> None:
    """That of a release without shards, which knows only the lease of the whole."""
    target = a_target(shards=2)
    client.execute_command("SET", target.keys.lease, "a run of an older release", "PX", 60_000)
    async with a_server(server) as link:
        (holder,) = await link.ask(Lease(link, target.parts[1], "x").take())

    assert "older release" in str(holder)


async def test_a_replay_waits_for_the_shards_and_keeps_new_runs_away(server: Endpoint, client: Client) -> None:
    """Else it might wait for ever: there is always a shard at work."""
    target = a_target(shards=2, max_deliveries=2)
    given(client, target, of_user(1, "a"))
    await run_shards(server, target, Recorder(_1=ValueError("no")))
    async with a_server(server) as link:
        handler = by_function(Recorder())
        running = Lease(link, target.parts[0], "shard 0")
        await link.ask(running.take())
        tried: list[str | None] = []

        async def meanwhile(_: float) -> None:
            """While the replay waits: another shard's run is kept away; then the one at work ends."""
            (holder,) = await link.ask(Lease(link, target.parts[1], "shard 1").take())
            tried.append(holder)
            await link.ask(running.release())

        report = await Replay(target, link, handler, sleep=meanwhile).run(budget_sec=30)

    assert report.replayed == report.chosen > 0
    assert ["replay" in str(holder) for holder in tried] == [True]
    assert client.execute_command("KEYS", "*:lease*") == []


async def test_a_replay_that_gives_up_lets_the_shards_go_on(server: Endpoint, client: Client) -> None:
    """It has kept them away until then."""
    target = a_target(shards=2, max_deliveries=2)
    given(client, target, of_user(1, "a"))
    await run_shards(server, target, Recorder(_1=ValueError("no")))
    async with a_server(server) as link:
        await link.ask(Lease(link, target.parts[0], "shard 0").take())
        with pytest.raises(LeaseHeld, match="shard 0"):
            await Replay(target, link, by_function(Recorder())).run(budget_sec=0.1)

    assert client.execute_command("KEYS", "*:lease*") == [target.parts[0].keys.lease]


async def run_hash_shards(place: HasPort, target: Target) -> list[RunReport]:
    """One run of every shard, all at once, each with a hash handler of its own, as the app makes them."""
    async with a_server(place) as link:
        runners = [Runner(part, link, handlers.make(link, part)) for part in target.parts]
        return list(await asyncio.gather(*(runner.run(30) for runner in runners)))


async def test_what_has_no_order_key_or_is_gone_is_settled_once(server: Endpoint, client: Client) -> None:
    """It is a shard's by its ID, or of whoever comes first: one dead letter, one line in the ledger of the lost."""
    target = a_target(shards=3)
    lived_in(client, target)
    ids = given(client, target, *held(range(20)), *(Held([b"n", b"%d" % n]) for n in range(30)))
    client.execute_command("XDEL", "s", *ids[:10])

    reports = await run_hash_shards(server, target)

    left = state(client, target)
    assert sorted(letter[b"id"] for letter in left.dead) == sorted(ids[20:])
    assert sorted(entry[b"id"] for entry in left.lost) == sorted(ids[:10])
    assert left.pending == {}
    counts = [sum(getattr(report, what) for report in reports) for what in ("lost", "parked", "acknowledged")]
    assert counts == [10, 30, 10]


@pytest.mark.G2
async def test_what_was_seen_to_be_another_shards_is_not_overlooked_when_it_is_gone(
    server: Endpoint, client: Client
) -> None:
    """Its shard cannot read its key any more, and the other remembers that it is not its own: either may take it."""
    target = a_target(shards=2)
    lived_in(client, target)
    ids = given(client, target, *entries_of_all(3))
    async with a_server(server) as link:
        runners = shards_of(link, target, by_function(Recorder(**{f"_{n}": ValueError("no") for n in range(1, 11)})))
        await asyncio.gather(
            *(runner.run(30) for runner in runners)
        )  # the first of each user fails, and holds the rest
        client.execute_command("XDEL", "s", *ids[10:])

        reports = [await runner.run(30) for runner in runners]

    left = state(client, target)
    assert sorted(entry[b"id"] for entry in left.lost) == sorted(ids[10:])
    assert sum(report.lost for report in reports) == 20
    assert set(left.pending) == set(ids[:10])


async def test_a_group_made_anew_is_counted_once(server: Endpoint, client: Client) -> None:
    """The first shard compares and records, for all of them."""
    target = a_target(shards=3)
    given(client, target, *entries_of_all(2))
    await run_shards(server, target, Recorder(**{f"_{number}": ValueError("no") for number in range(1, 11)}))
    client.execute_command("DEL", "s")
    client.execute_command("XGROUP", "CREATE", "s", "g", "0", "MKSTREAM")

    reports = await run_shards(server, target, Recorder())

    assert sum(report.lost + report.lost_at_most for report in reports) == 20
    assert len({entry[b"id"] for entry in state(client, target).lost}) == len(state(client, target).lost)


async def test_a_hash_is_stored_by_the_shard_of_its_key(server: Endpoint, client: Client) -> None:
    """With the default handler the hash's key is the order key."""
    target = a_target(shards=4, page_size=10)
    entries = [Held(tweet(number % 50, text=b"%d" % number)) for number in range(200)]
    given(client, target, *entries)
    await run_hash_shards(server, target)

    assert state(client, target) == State(hashes=stored(*entries), length=200, other_keys=[target.keys.shards])


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_their_number_and_whoever_dies_the_order_holds(
    embedded: Endpoint, client: Client, seed: int
) -> None:
    """Runs of one to four shards, in two processes' place, are cut at random; the handler fails at random."""
    rng = random.Random(seed)
    target = a_target(page_size=rng.choice([1, 5, 40]), min_idle_ms=60_000, max_deliveries=1000, delivery_backoff_sec=0)
    given(client, target, *entries_of_all(12))
    seen: list[int] = []

    async def handle(entry: Entry) -> None:
        await asyncio.sleep(rng.random() / 500)
        if rng.random() < 0.05:
            raise ValueError("no")
        seen.append(int(entry.get("id") or b"0"))

    for _ in range(40):
        count = rng.choice([1, 2, 2, 3, 4])
        sharded = replace(target, shards=count)
        async with a_server(embedded) as one, a_server(embedded) as other:
            runners = shards_of(one, sharded, by_function(handle)) + shards_of(other, sharded, by_function(handle))
            runs = [asyncio.create_task(runner.run(30)) for runner in runners]
            _, late = await asyncio.wait(runs, timeout=rng.choice([0.01, 0.05, 5]))
            for task in late:
                task.cancel()
            await asyncio.gather(*runs, return_exceptions=True)
        if rng.random() < 0.5:
            age_all(client, target)
        if not pending_rows(client, target):
            break
        for key in client.execute_command("KEYS", "*:lease*") if rng.random() < 0.7 else ():
            client.execute_command("DEL", key)

    assert in_order_for_each(seen), seen
    for _ in range(3):
        age_all(client, target)
        for key in client.execute_command("KEYS", "*:lease*"):
            client.execute_command("DEL", key)
        reports = await run_shards(embedded, replace(target, shards=3), Recorder())
    assert {report.outcome for report in reports} <= {Outcome.COMPLETED, Outcome.NOTHING_PENDING}
    assert pending_count(client, target) == 0

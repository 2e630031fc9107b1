"""Shards share one circuit: none keeps the others' entries from being stored (G4), or costs them a delivery (G5)."""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from reclaim.entry import Entry
from reclaim.run.order import digest
from reclaim.run.report import Outcome
from reclaim.run.runner import Runner
from reclaim.settings import Target
from reclaim.shards import Shard
from reclaim.state.circuit import State as Circuit
from reclaim.state.connection import connect
from tests.faults import by_function, of_user
from tests.integration.state.circuits import end_cooldown
from tests.promises.g5_outages.test_tries import Unknown, records
from tests.support import Client, Endpoint, HasPort, a_target, age_all, given, pending_count, settings_for, state

pytestmark = pytest.mark.G4


@asynccontextmanager
async def shards_of(place: HasPort, target: Target, function: Callable[[Entry], Any]) -> AsyncIterator[list[Runner]]:
    """A runner for each shard, all in one process."""
    server = connect(settings_for(place))
    try:
        yield [Runner(part, server, by_function(function)) for part in target.parts]
    finally:
        await server.aclose()


def users_of(shard: Shard, count: int) -> list[str]:
    """So many users whose entries are this shard's."""
    own = (name for number in range(10_000) if shard.has(digest((name := f"u{number}").encode())))
    return [next(own) for _ in range(count)]


def shard_of(entry: Entry, of: int) -> int:
    """The number of the shard that has this entry."""
    return next(index for index in range(of) if Shard(index, of).has(digest(entry.get("user") or b"")))


def given_for(client: Client, target: Target, *users: str, first: int = 1) -> None:
    """A pending entry for each of these users."""
    given(client, target, *(of_user(number, user) for number, user in enumerate(users, first)))


@pytest.mark.parametrize("index", [0, 1, 2])
async def test_a_shard_without_entries_does_not_keep_the_probe_for_itself(
    index: int, embedded: Endpoint, client: Client
) -> None:
    """All entries are one shard's, as with one order key. Others come first at each tick, and find nothing to probe."""
    target = a_target(shards=3, circuit_failures=2)
    given_for(client, target, *users_of(Shard(index, 3), 4))
    is_down = True

    async def handle(_: Entry) -> None:
        if is_down:
            raise ConnectionRefusedError(111, "Connection refused")

    async with shards_of(embedded, target, handle) as runners:
        for runner in runners:
            await runner.run(30)
        assert (await runners[0].circuit.show()).state is Circuit.OPEN
        is_down = False
        end_cooldown(client, target)
        for _ in range(2):
            await asyncio.gather(*(runner.run(30) for runner in runners))

    assert pending_count(client, target) == 0


async def test_a_shard_that_nobody_runs_keeps_nobody_waiting(embedded: Endpoint, client: Client) -> None:
    """The one that opened the circuit has died: its turn passes."""
    target = a_target(shards=2, circuit_failures=2)
    given_for(client, target, *users_of(Shard(1, 2), 2), *users_of(Shard(0, 2), 3))
    is_down = True

    async def handle(_: Entry) -> None:
        if is_down:
            raise ConnectionRefusedError(111, "Connection refused")

    async with shards_of(embedded, target, handle) as runners:
        await runners[1].run(30)
        is_down = False
        end_cooldown(client, target)
        first, second = [await runners[0].run(30) for _ in range(2)]

    assert (first.outcome, second.outcome) == (Outcome.CIRCUIT_OPEN, Outcome.COMPLETED)
    assert (first.acknowledged, second.acknowledged) == (0, 3)


async def test_a_shard_whose_probes_fail_does_not_keep_the_others_out(embedded: Endpoint, client: Client) -> None:
    """What its own entries need stays away; the other shard's entries are stored within two cool-downs."""
    target = a_target(shards=2, circuit_failures=4)
    given_for(client, target, *users_of(Shard(0, 2), 6), *users_of(Shard(1, 2), 6))
    is_all_down = True

    async def handle(entry: Entry) -> None:
        if is_all_down or shard_of(entry, 2) == 0:
            raise ConnectionRefusedError(111, "Connection refused")

    async with shards_of(embedded, target, handle) as runners:
        await runners[0].run(30)
        assert (await runners[0].circuit.show()).state is Circuit.OPEN
        is_all_down = False
        for _ in range(2):
            end_cooldown(client, target)
            await asyncio.gather(*(runner.run(30) for runner in runners))

    assert set(state(client, target).pending) == {b"%d-0" % number for number in range(1, 7)}


@pytest.mark.G5
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_an_outage_that_no_table_knows_costs_no_shard_a_delivery(
    order: tuple[int, int], embedded: Endpoint, client: Client
) -> None:
    """The second shard's run opens the circuit; what both have charged is refunded, whoever has the entries."""
    target = a_target(shards=2, lanes=8)
    given_for(client, target, *users_of(Shard(0, 2), 6), *users_of(Shard(1, 2), 6))
    ended = asyncio.Event()

    async def handle(entry: Entry) -> None:
        if shard_of(entry, 2) == order[1]:
            await ended.wait()
        raise Unknown("the store is away")

    async with shards_of(embedded, target, handle) as runners:
        second = asyncio.create_task(runners[order[1]].run(30))
        await runners[order[0]].run(30)
        ended.set()
        await second
        circuit = await runners[0].circuit.show()

    assert circuit.state is Circuit.OPEN
    assert {charged for charged, _, _ in records(client, target).values()} == {0}
    after = state(client, target).pending
    assert sorted(consumer for consumer, _, _ in after.values()) == 6 * [b"monitoring_app#0"] + 6 * [
        b"monitoring_app#1"
    ]
    assert {(deliveries, age) for _, deliveries, age in after.values()} == {(1, "idle")}


@pytest.mark.G5
async def test_a_run_that_is_not_over_refunds_what_it_has_charged_itself(embedded: Endpoint, client: Client) -> None:
    """When another shard's run opens the circuit, it has charged entries twice, and that run knows of one charge."""
    target = a_target(shards=2, lanes=1, page_size=2, delivery_backoff_sec=0)
    own = users_of(Shard(1, 2), 6)
    given_for(client, target, *users_of(Shard(0, 2), 6), *own)
    ended, waits = asyncio.Event(), asyncio.Event()
    ended.set()

    async def handle(entry: Entry) -> None:
        if entry.get("user") == own[-1].encode():
            waits.set()
            await ended.wait()
        raise Unknown("the store is away")

    async with shards_of(embedded, target, handle) as runners:
        await runners[1].run(30)
        age_all(client, target)
        ended.clear()
        waits.clear()
        second = asyncio.create_task(runners[1].run(30))
        await waits.wait()
        assert 2 in {charged for charged, _, _ in records(client, target).values()}
        await runners[0].run(30)
        ended.set()
        await second

    assert {charged for charged, _, _ in records(client, target).values()} == {0}
    assert {(deliveries, age) for _, deliveries, age in state(client, target).pending.values()} == {(1, "idle")}


@pytest.mark.G5
async def test_a_shard_that_stores_nothing_is_no_outage_while_another_one_stores(
    embedded: Endpoint, client: Client
) -> None:
    """Both run at each tick, and either may end first: the failures are charged, and the circuit stays closed."""
    target = a_target(shards=2, lanes=8, delivery_backoff_sec=0, max_deliveries=10)
    healthy, bad = users_of(Shard(0, 2), 6), users_of(Shard(1, 2), 6)
    waits_for: dict[int, asyncio.Event] = {}

    async def handle(entry: Entry) -> None:
        index = shard_of(entry, 2)
        if index in waits_for:
            await waits_for[index].wait()
        if index == 1:
            raise Unknown("bad entry")

    async with shards_of(embedded, target, handle) as runners:
        for tick, first in enumerate((0, 1, 0, 1)):
            age_all(client, target)
            given_for(client, target, *healthy, *bad, first=1 + 12 * tick)
            ended = asyncio.Event()
            waits_for = {1 - first: ended}
            last = asyncio.create_task(runners[1 - first].run(30))
            await runners[first].run(30)
            ended.set()
            assert (await last).outcome is Outcome.COMPLETED
            assert (await runners[0].circuit.show()).state is Circuit.CLOSED

    assert {charged for charged, _, _ in records(client, target).values()} == {4}


@dataclass
class World:
    """A handler whose store is away for a while, and some of whose entries can never be stored.

    Attributes:
        poison: the numbers of these entries.
        outage: what the store says; None: it is there.
        stored: the numbers stored, by user, in their order.
    """

    rng: random.Random
    poison: set[int]
    outage: Exception | None = None
    stored: dict[bytes, list[int]] = field(default_factory=lambda: defaultdict(list))

    async def __call__(self, entry: Entry) -> None:
        """Store the entry, or not."""
        number = int(entry.get("id") or b"")
        await asyncio.sleep(self.rng.random() / 1000)
        if self.outage is not None:
            raise self.outage
        if number in self.poison:
            raise ValueError("no entry at all")
        self.stored[entry.get("user") or b""].append(number)


@pytest.mark.G3
@pytest.mark.G5
@pytest.mark.parametrize("seed", range(8))
async def test_after_an_outage_the_shards_store_what_can_be_stored_in_order(
    seed: int, embedded: Endpoint, client: Client
) -> None:
    """Nothing is charged by the outage, whether or not its error is known, and only poison dies.

    Shards run one after another or all at once, and sometimes one does not. Each tick brings something healthy.
    """
    rng = random.Random(seed)
    target = a_target(
        shards=[1, 2, 3, 5][seed % 4],
        lanes=8,
        page_size=rng.choice([5, 50]),
        circuit_failures=rng.choice([5, 20, 100]),
        delivery_backoff_sec=0,
    )
    is_known = seed >= 4
    users = [f"u{number}" for number in range(rng.choice([1, 4, 12]) if is_known else 80)]
    given_for(client, target, *(rng.choice(users) for _ in range(160)))
    world = World(rng, {number for number in range(1, 161) if rng.random() < 0.05})
    world.outage = ConnectionRefusedError(111, "Connection refused") if is_known else Unknown("the store is away")

    async with shards_of(embedded, target, world) as runners:
        for tick in range(10):
            age_all(client, target)
            if tick % 2:
                end_cooldown(client, target)
            some = rng.sample(runners, max(1, len(runners) - (tick % 3 == 0)))
            at_once = len(some) if rng.random() < 0.5 else 1
            for at in range(0, len(some), at_once):
                await asyncio.gather(*(runner.run(30) for runner in some[at : at + at_once]))
        charged = {charged for charged, _, _ in records(client, target).values()}
        world.outage = None
        for tick in range(60):
            given_for(client, target, *(f"new{number}" for number in range(10)), first=1000 + 10 * tick)
            age_all(client, target)
            end_cooldown(client, target)
            await asyncio.gather(*(runner.run(30) for runner in runners))
            if not pending_count(client, target):
                break

    assert charged == {0}
    after = state(client, target)
    assert (after.pending, {letter[b"id"] for letter in after.dead}) == ({}, {b"%d-0" % one for one in world.poison})
    assert all(numbers == sorted(set(numbers)) for numbers in world.stored.values())
    assert {one for numbers in world.stored.values() for one in numbers if one < 1000} == set(
        range(1, 161)
    ) - world.poison

"""Two runs at once on one group: every entry is stored and acknowledged, and none is claimed by both."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from dev.proxy import Proxy
from reclaim.handlers.hash import HashHandler
from reclaim.handlers.outcomes import Handled, Keyed
from reclaim.keys import Template
from reclaim.run.report import Outcome, RunReport
from reclaim.run.runner import Runner
from reclaim.settings import Target
from reclaim.state.connection import connect
from tests.support import (
    AtClaim,
    Client,
    Endpoint,
    State,
    a_target,
    drop_lease,
    given,
    held,
    run,
    settings_for,
    state,
    stored,
)

pytestmark = pytest.mark.G2


class Watched(HashHandler):
    """A hash handler that waits for something before its first entries, and keeps the IDs of all that it stores."""

    def __init__(self, *args: object, before_first: Callable[[], Awaitable[object]]) -> None:
        super().__init__(*args)
        self._before_first = before_first
        self._has_begun = False
        self.ids: list[bytes] = []

    async def store(self, entries: Sequence[Keyed]) -> list[Handled]:
        self.ids += [entry.id for _, entry in entries]
        if not self._has_begun:
            self._has_begun = True
            await self._before_first()
        return await super().store(entries)


async def watched_run(
    place: Endpoint, target: Target, before_first: Callable[[], Awaitable[object]]
) -> tuple[RunReport, list[bytes]]:
    """A run, and the IDs of all the entries that it stored."""
    server = connect(settings_for(place, target))
    handler = Watched(server, Template(target.hash_key), before_first=before_first)
    try:
        return await Runner(target, server, handler).run(60), handler.ids
    finally:
        await server.aclose()


async def test_the_second_of_two_runs_is_kept_out_by_the_lease(server: Endpoint, client: Client) -> None:
    """While one run has entries in work another one ends at once, says who is at work, and changes nothing."""
    target = a_target(lanes=1)
    entries = held(range(10))
    given(client, target, *entries)
    in_work, go_on = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        in_work.set()
        await go_on.wait()

    first = asyncio.create_task(watched_run(server, target, wait))
    await in_work.wait()
    before = state(client, target)
    second = await run(server, target)
    assert state(client, target) == before
    go_on.set()
    report, _ = await first

    assert (second.outcome, second.claimed) == (Outcome.LEASE_HELD, 0)
    assert report.run_id in second.reason
    assert (report.outcome, report.acknowledged) == (Outcome.COMPLETED, 10)
    assert state(client, target) == State(hashes=stored(*entries), length=10)


async def test_two_runs_that_begin_together_do_the_work_of_one(server: Endpoint, client: Client) -> None:
    """Of two runs begun at the same moment one is kept out; between them every entry is done once."""
    target = a_target(page_size=10)
    entries = held(range(100))
    given(client, target, *entries)

    reports = await asyncio.gather(run(server, target), run(server, target))

    assert sorted(report.outcome.value for report in reports) == ["completed", "lease_held"]
    assert sum(report.acknowledged for report in reports) == 100
    assert state(client, target) == State(hashes=stored(*entries), length=100)


async def test_without_the_lease_between_them_two_runs_never_claim_the_same_entry(
    server: Endpoint, client: Client
) -> None:
    """The lease is gone while the first run works: XCLAIM's least idle time still gives each entry to one of them."""
    target = a_target(page_size=10, lanes=1)
    entries = held(range(500))
    ids = given(client, target, *entries)
    first_works, both_work = asyncio.Event(), asyncio.Barrier(2)

    async def first_waits() -> None:
        first_works.set()
        await both_work.wait()

    first = asyncio.create_task(watched_run(server, target, first_waits))
    await first_works.wait()
    drop_lease(client, target)
    (one, one_ids), (other, other_ids) = await asyncio.gather(first, watched_run(server, target, both_work.wait))

    assert {one.outcome, other.outcome} == {Outcome.COMPLETED}
    assert one.claimed > 0
    assert other.claimed > 0
    assert one.claimed + other.claimed == one.acknowledged + other.acknowledged == 500
    assert sorted(one_ids + other_ids) == sorted(ids)
    assert state(client, target) == State(hashes=stored(*entries), length=500)


async def test_an_entry_taken_between_finding_and_claiming_it_is_left_to_whoever_took_it(
    client: Client, proxy: Proxy
) -> None:
    """A consumer is one command quicker: what it claimed or acknowledged is neither stored nor reported as lost."""
    target = a_target()
    entries = held(range(1, 6))
    given(client, target, *entries)

    def be_quicker() -> None:
        client.execute_command("XCLAIM", target.stream, target.group, "quick", 0, "2-0", "4-0")
        client.execute_command("XACK", target.stream, target.group, "5-0")

    claim = AtClaim(proxy, be_quicker)

    report = await run(proxy, target)

    assert claim.hits == 1
    assert state(client, target) == State(
        pending={b"2-0": (b"quick", 2, "fresh"), b"4-0": (b"quick", 2, "fresh")},
        hashes=stored(entries[0], entries[2]),
        length=5,
    )
    assert (report.claimed, report.acknowledged, report.lost) == (2, 2, 0)


@pytest.mark.G6
async def test_a_lease_left_by_a_dead_run_keeps_others_out_only_until_it_expires(
    server: Endpoint, client: Client
) -> None:
    """A lease is a key with a time to live: while it is there no run begins, afterwards one does."""
    target = a_target()
    entries = held(range(3))
    given(client, target, *entries)
    client.execute_command("SET", target.keys.lease, "run 0123 on elsewhere", "PX", 60_000)

    kept_out = await run(server, target)
    client.execute_command("PEXPIRE", target.keys.lease, 1)
    await asyncio.sleep(0.01)
    report = await run(server, target)

    assert (kept_out.outcome, "elsewhere" in kept_out.reason) == (Outcome.LEASE_HELD, True)
    assert report.outcome is Outcome.COMPLETED
    assert state(client, target) == State(hashes=stored(*entries), length=3)


async def test_the_lease_of_another_run_is_not_released(server: Endpoint, client: Client) -> None:
    """A run whose lease expired and was taken by another leaves that one alone."""
    target = a_target()
    given(client, target, *held(range(3)))

    async def lose_the_lease() -> None:
        client.execute_command("SET", target.keys.lease, "another run", "PX", 60_000)

    await watched_run(server, target, lose_the_lease)

    assert client.execute_command("GET", target.keys.lease) == b"another run"


async def test_a_running_run_holds_a_lease_that_expires_by_itself(server: Endpoint, client: Client) -> None:
    """If the process dies, the lease ends soon (G6)."""
    target = a_target()
    given(client, target, *held(range(3)))
    found: list[int] = []

    async def look() -> None:
        found.append(client.execute_command("PTTL", target.keys.lease))

    await watched_run(server, target, look)

    assert 0 < found[0] <= 20_000

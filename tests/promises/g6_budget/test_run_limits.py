"""What a run may take: time (G6) and round trips (G7)."""

import asyncio
import gc
import logging
from collections.abc import Sequence

import pytest

from dev.proxy import Proxy
from reclaim.handlers.hash import HashHandler
from reclaim.handlers.outcomes import Handled, Keyed
from reclaim.keys import Template
from reclaim.run.report import Outcome
from reclaim.run.runner import Runner
from reclaim.state.connection import connect
from tests.conftest import MATRIX, Servers
from tests.support import (
    Client,
    Endpoint,
    Held,
    State,
    a_runner,
    a_target,
    given,
    held,
    raw_client,
    run,
    settings_for,
    state,
    stored,
    tweet,
)

pytestmark = pytest.mark.G6

BEGUN_PAGES = 2  # the one in work and the one claimed ahead of it


class Clock:
    """Seconds that pass only when somebody says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Slow(HashHandler):
    """Stores as ever, and each time lets so many seconds pass on the clock, or something happen."""

    def __init__(self, *args: object, clock: Clock, seconds: float) -> None:
        super().__init__(*args)  # type: ignore[arg-type]  # HashHandler's own
        self._clock = clock
        self._seconds = seconds

    async def store(self, entries: Sequence[Keyed]) -> list[Handled]:
        self._clock.now += self._seconds
        return await super().store(entries)


async def test_a_run_stops_in_time_and_the_next_one_finishes(server: Endpoint, client: Client) -> None:
    """Each page takes 3 of 30 seconds: the run ends in time, gives back what it has left, and the next goes on."""
    target = a_target(page_size=5, lanes=1)
    entries = held(range(100))
    ids = given(client, target, *entries)
    clock = Clock()
    place = connect(settings_for(server, target))
    handler = Slow(place, Template(target.hash_key), clock=clock, seconds=3)

    report = await Runner(target, place, handler, clock=clock).run(30)
    await place.aclose()

    done = report.acknowledged
    after = state(client, target)
    assert report.outcome is Outcome.OUT_OF_TIME
    assert 0 < done < 100
    assert report.seconds <= 30
    assert report.claimed == done + report.given_back
    assert after.hashes == stored(*entries[:done])
    assert {entry_id: row[1:] for entry_id, row in after.pending.items()} == dict.fromkeys(ids[done:], (1, "idle"))

    await run(server, target)

    assert state(client, target) == State(hashes=stored(*entries), length=100)


async def test_a_run_on_a_slow_network_keeps_to_its_budget(
    embedded: Endpoint, client: Client, embedded_proxy: Proxy
) -> None:
    """With the real clock: 60 ms of latency, a budget of 2 s that does not suffice."""
    target = a_target(page_size=5)
    entries = held(range(1000))
    given(client, target, *entries)
    embedded_proxy.reply_delay_sec = 0.06

    report = await run(embedded_proxy, target, budget_sec=2)

    assert report.outcome is Outcome.OUT_OF_TIME
    assert report.seconds <= 2
    assert 0 < report.acknowledged < 1000
    assert report.claimed == report.acknowledged + report.given_back
    assert {row[1:] for row in state(client, target).pending.values()} == {(1, "idle")}

    await run(embedded, target)

    assert state(client, target) == State(hashes=stored(*entries), length=1000)


async def test_a_run_asked_to_stop_ends_after_what_is_in_work(client: Client, proxy: Proxy) -> None:
    """The stop signal comes while the first page is being stored: that page is acknowledged, no other is handled."""
    target = a_target(page_size=10)
    entries = held(range(200))
    ids = given(client, target, *entries)
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    proxy.when("XACK", lambda: asyncio.run_coroutine_threadsafe(_set(stop), loop).result())

    report = await run(proxy, target, stop=stop)

    done = report.acknowledged
    assert report.outcome is Outcome.STOPPED
    assert 10 <= done <= 10 * BEGUN_PAGES
    assert {entry_id: row[1:] for entry_id, row in state(client, target).pending.items()} == dict.fromkeys(
        ids[done:], (1, "idle")
    )


async def _set(event: asyncio.Event) -> None:
    event.set()


@pytest.mark.G7
async def test_a_run_that_finds_nothing_pending_costs_two_round_trips(client: Client, proxy: Proxy) -> None:
    """G7, counted on the wire, on a connection that is there already."""
    target = a_target()
    given(client, target, Held(tweet(1), consumer=None))
    proxy.reply_delay_sec = 0.01  # the count is exact then
    async with a_runner(proxy, target) as runner:
        await runner.run(30)
        proxy.forget()

        report = await runner.run(30)

    assert report.outcome is Outcome.NOTHING_PENDING
    assert proxy.round_trips == 2


async def test_a_run_that_finds_only_fresh_entries_costs_one_round_trip_more(client: Client, proxy: Proxy) -> None:
    """One look at the pending list, and nothing is claimed."""
    target = a_target()
    given(client, target, *held(range(50), idle_ms=0))
    proxy.reply_delay_sec = 0.01
    async with a_runner(proxy, target) as runner:
        await runner.run(30)
        proxy.forget()

        report = await runner.run(30)

    assert (report.outcome, report.claimed) == (Outcome.COMPLETED, 0)
    assert proxy.round_trips <= 4
    assert proxy.count("XCLAIM") == 0


async def test_a_page_costs_one_command_to_claim_and_one_to_acknowledge(client: Client, proxy: Proxy) -> None:
    """Whatever the number of entries: one XCLAIM, one XACK, one HSET for each entry."""
    target = a_target(page_size=50)
    given(client, target, *held(range(150)))

    report = await run(proxy, target)

    assert (proxy.count("XCLAIM"), proxy.count("XACK"), proxy.count("HSET")) == (report.pages, report.pages, 150)
    assert 3 <= report.pages < 10


@pytest.mark.skipif("redis-6.0" not in MATRIX, reason="it takes Debian's Redis 7.0 to stand for it")
async def test_what_the_server_cannot_do_is_asked_once(servers: Servers) -> None:
    """Redis 6.0 refuses XPENDING … IDLE one time; from then on its own command set is used, in later runs too."""
    server = servers.get("redis-6.0")
    target = a_target(page_size=2)
    with raw_client(server.server_port) as client:
        given(client, target, *held(range(10)))
        async with a_runner(server, target) as runner:
            await runner.run(30)
            given(client, target, *held(range(10)))
            await runner.run(30)
        assert state(client, target) == State(hashes=stored(*held(range(10))), length=20)

    assert isinstance(server.proxy, Proxy)
    asked = [command for command in server.proxy.commands if b"IDLE" in command and command[0] == b"XPENDING"]
    assert len(asked) == 1


async def test_an_ordinary_run_logs_nothing(server: Endpoint, client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """No warning and no complaint of asyncio's about something forgotten; the run's line is the app's to log."""
    caplog.set_level(logging.INFO)
    target = a_target(page_size=2)
    given(client, target, *held(range(5)))

    await run(server, target)
    gc.collect()

    assert caplog.messages == []

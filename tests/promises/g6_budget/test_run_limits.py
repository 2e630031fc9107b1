"""A run ends in time: at its budget, at a stop, and with all that it began."""

import asyncio
import logging
from collections.abc import Sequence

import pytest

from dev.proxy import Fault, Proxy
from reclaim.entry import Entry
from reclaim.errors import RejectEntry
from reclaim.handlers.hash import HashHandler
from reclaim.handlers.outcomes import Handled, Keyed
from reclaim.keys import Template
from reclaim.run.report import Outcome
from reclaim.run.runner import Runner
from reclaim.state.claim import _CLAIM
from reclaim.state.connection import connect
from reclaim.state.dead_letters import _PARK
from tests.faults import by_function, of_user, script
from tests.support import (
    Client,
    Endpoint,
    Held,
    State,
    a_runner,
    a_target,
    given,
    held,
    run,
    settings_for,
    state,
    stored,
    tweet,
)

pytestmark = pytest.mark.G6

BEGUN_PAGES = 2  # the one in work and the one claimed ahead of it


class Clock:
    """A clock that moves only when a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Slow(HashHandler):
    """Stores as ever, and each time lets so many seconds pass on the clock, or something happen."""

    def __init__(self, *args: object, clock: Clock, seconds: float) -> None:
        super().__init__(*args)
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
    """With the real clock: 60 ms of latency, a budget of 4 s that does not suffice."""
    target = a_target(page_size=5)
    entries = held(range(1000))
    given(client, target, *entries)
    embedded_proxy.reply_delay_sec = 0.06

    report = await run(embedded_proxy, target, budget_sec=4)

    assert report.outcome is Outcome.OUT_OF_TIME
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


async def test_making_dead_letters_ends_with_the_run(embedded_proxy: Proxy, client: Client) -> None:
    """The server falls silent while an entry is parked: the run ends all the same (G6), the entry stays pending."""
    target = a_target(lanes=1, max_deliveries=2)
    given(client, target, of_user(1, "a"))
    silent = embedded_proxy.when("EVAL", Fault.HANG, args=script(_PARK), times=None)

    async def handle(_: Entry) -> None:
        raise RejectEntry("no")

    async with asyncio.timeout(10):
        report = await run(embedded_proxy, target, by_function(handle), budget_sec=1, timeout_sec=60.0)

    assert (silent.hits, report.parked, list(state(client, target).pending)) == (1, 0, [b"1-0"])


async def test_no_look_ahead_outlives_its_run(
    embedded_proxy: Proxy, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even where the claim beside it is made again from an earlier ID."""
    target = a_target(page_size=25, retry_attempts=2)
    given(client, target, *(Held(tweet(number)) for number in range(1, 200)))
    embedded_proxy.reply_delay_sec = 0.01
    embedded_proxy.when("EVAL", Fault.CUT_AFTER, args=script(_CLAIM), skip=1)
    embedded_proxy.when("XPENDING", Fault.HANG, args=lambda args: b"IDLE" in args, skip=2)

    with caplog.at_level(logging.ERROR, "asyncio"):
        async with a_runner(embedded_proxy, target) as runner:
            before = asyncio.all_tasks()
            await runner.run(30)
            left = asyncio.all_tasks() - before

    assert (left, caplog.records) == (set(), [])

"""What a run costs: round trips, commands and log lines."""

import gc
import logging
import time

import pytest

from dev.proxy import Proxy
from reclaim.entry import Entry
from reclaim.run.report import Outcome
from reclaim.state.claim import _CLAIM
from reclaim.state.pending import Row
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
    lived_in,
    raw_client,
    run,
    state,
    stored,
    tweet,
)

pytestmark = pytest.mark.G7


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


async def test_a_run_that_finds_only_fresh_entries_costs_a_look_and_a_note_of_what_it_saw_more(
    server: Endpoint, client: Client, proxy: Proxy
) -> None:
    """It looks at the pending list once (by a script twice: 20 entries, then the rest), and claims nothing.

    Its last round trip notes what it saw. The report travels with it where there is a history.
    """
    looks = 2 if server.kind == "redis-6.0" else 1
    target = a_target()
    given(client, target, *held(range(50), idle_ms=0))
    proxy.reply_delay_sec = 0.01
    async with a_runner(proxy, target) as runner:
        await runner.run(30)
        proxy.forget()

        report = await runner.run(30)

    assert (report.outcome, report.claimed) == (Outcome.COMPLETED, 0)
    assert proxy.round_trips <= 3 + looks
    assert [command for command in proxy.commands if _CLAIM.encode() in command] == []


async def test_a_page_costs_one_command_to_claim_and_one_to_acknowledge(client: Client, proxy: Proxy) -> None:
    """Whatever the number of entries: one script, one XACK; an HSET for each entry, and one for all."""
    target = a_target(page_size=50)
    lived_in(client, target)
    given(client, target, *held(range(150)))

    report = await run(proxy, target)

    claims = [command for command in proxy.commands if _CLAIM.encode() in command]
    assert (len(claims), proxy.count("XACK")) == (report.pages, report.pages)
    assert proxy.count("HSET") == 151
    assert 3 <= report.pages < 10


async def test_light_neighbours_are_read_eight_by_one_command(client: Client, proxy: Proxy) -> None:
    """A page's samples are eight pairs; what is between them takes few commands more."""
    target = a_target(page_size=500)
    lived_in(client, target)
    given(client, target, *held(range(1, 521)))

    report = await run(proxy, target)

    assert (report.acknowledged, report.pages) == (520, 2)
    first_page, second_page = 1 + 8 + 4, 8 + 7 * 9  # 20 entries, the first of them alone; then 500, 69 in each gap
    assert proxy.count("XRANGE") == first_page + second_page
    assert state(client, target) == State(hashes=stored(*held(range(1, 521))), length=520)


async def test_where_others_lie_between_them_entries_are_read_one_by_one(client: Client, proxy: Proxy) -> None:
    """Of each hundred bodies that nobody asked for, no more than a few pass: only samples bring any."""
    target = a_target(page_size=500)
    lived_in(client, target)
    given(client, target, *held(range(1, 1041)))
    client.execute_command("XACK", "s", target.group, *(f"{number}-0" for number in range(2, 1041, 2)))

    report = await run(proxy, target)

    assert (report.acknowledged, report.pages) == (520, 2)
    assert 520 <= proxy.count("XRANGE") <= 520 + 16
    assert state(client, target) == State(hashes=stored(*held(range(1, 1041, 2))), length=1040)


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


async def test_pages_are_let_go_without_a_collection_of_garbage(server: Endpoint, client: Client) -> None:
    """Nothing that a run is done with holds itself: else each page stays until the collector has looked at all of them.

    One page may stay: the traceback of an error that the run met by the way holds it.
    """
    target = a_target(page_size=10)
    given(client, target, *held(range(100)))
    gc.collect()
    before = entries_in_memory()
    gc.disable()
    try:
        report = await run(server, target)
        left = entries_in_memory() - before
    finally:
        gc.enable()

    assert (report.acknowledged, report.pages) == (100, 10)
    assert left <= 2 * 10, f"of {2 * 100}"


def entries_in_memory() -> int:
    return sum(isinstance(one, Entry | Row) for one in gc.get_objects())


async def test_an_ordinary_run_logs_nothing(server: Endpoint, client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """No warning and no complaint of asyncio's about something forgotten; the run's line is the app's to log.

    The consumer has just read its entries, so it is named as alive.
    """
    caplog.set_level(logging.INFO)
    target = a_target(page_size=2)
    given(client, target, *held(range(5)))

    await run(server, target)
    gc.collect()

    assert [line for line in caplog.messages if "consumers that are alive: worker" not in line] == []


async def test_a_slow_server_is_given_less_to_claim_by_each_script(client: Client, embedded_proxy: Proxy) -> None:
    """No command blocks it for long, however slow its machine is: each script claims what takes it some 5 ms."""
    target = a_target(page_size=500)
    lived_in(client, target)
    given(client, target, *held(range(1, 521)))
    async with a_runner(embedded_proxy, target) as runner:
        for _ in range(4):  # as a server would take that claims 100 entries in 5 ms
            runner.claimer._at_once.learn(20, 0.001)
            runner.claimer._at_once.learn(520, 0.001 + 500 * 0.005 / 100)

        report = await runner.run(30)

    claims = [command for command in embedded_proxy.commands if _CLAIM.encode() in command]
    assert (report.acknowledged, report.pages, len(claims)) == (520, 2, 1 + 5)
    assert max(len(command) for command in claims) < 100 + 20
    assert state(client, target) == State(hashes=stored(*held(range(1, 521))), length=520)


async def test_pages_get_smaller_while_the_server_is_slow(client: Client, embedded_proxy: Proxy) -> None:
    """It takes 4 ms for each hash, so the first page, of 20, takes 80 ms; with this idle time it is to take 50 ms."""
    proxy = embedded_proxy
    target = a_target(page_size=500, min_idle_ms=200)
    lived_in(client, target)
    given(client, target, *held(range(1, 81)))
    proxy.when("HSET", lambda: time.sleep(0.004), times=None)

    report = await run(proxy, target)

    claims = [command for command in proxy.commands if is_claim(command)]
    first, *others = map(entries_of, claims)
    assert (first, sum(others), max(others) <= 12) == (20, 60, True)
    assert (report.acknowledged, report.pages) == (80, len(claims))


async def test_scripts_claim_less_of_a_page_while_the_server_takes_long_for_each_entry(
    client: Client, embedded_proxy: Proxy
) -> None:
    """It takes 0.4 ms for each entry that it claims; after four full pages no script takes longer than it has to."""
    proxy = embedded_proxy
    target = a_target(page_size=500)
    lived_in(client, target)
    given(client, target, *held(range(1, 3021)))
    proxy.when("EVAL", lambda: time.sleep(0.0004 * entries_of(proxy.commands[-1])), args=is_claim, times=None)

    report = await run(proxy, target)

    claims = [entries_of(command) for command in proxy.commands if is_claim(command)]
    assert (claims[:5], sum(claims)) == ([20, 500, 500, 500, 500], 3020)
    assert max(claims[-10:]) <= 40
    assert report.acknowledged == 3020


def is_claim(command: list[bytes]) -> bool:
    """Whether it is the script that claims."""
    return _CLAIM.encode() in command


def entries_of(claim: list[bytes]) -> int:
    """How many entries this script claims, all of which have been delivered as often."""
    return len(claim) - 13  # its other words: the script, its keys, what it is about, and the head of a group

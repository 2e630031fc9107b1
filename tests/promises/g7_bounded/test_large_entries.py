"""Entries of megabytes, links of a megabyte a second, and entries that become large all of a sudden (G7, G4)."""

import asyncio
import tracemalloc

import pytest

from dev.proxy import ErrorReply, Fault, Proxy
from reclaim.run.report import Outcome
from tests.support import (
    AtClaim,
    Client,
    Endpoint,
    Held,
    State,
    a_runner,
    a_target,
    age_all,
    given,
    held,
    run,
    state,
    stored,
    tweet,
)

pytestmark = pytest.mark.G7

KIB, MIB = 2**10, 2**20


def large(number: int, size: int) -> Held:
    """A tweet with so many bytes of text."""
    return Held(tweet(number, text=b"%d" % number * (size // len(str(number)))))


# --- slow links ------------------------------------------------------------------------------------------------------


async def test_large_entries_pass_over_a_slow_link_one_after_another(client: Client, proxy: Proxy) -> None:
    """Each takes twice as long as an answer may, there and back. No body passes twice."""
    target = a_target()
    entries = [large(number, 800 * KIB) for number in range(1, 6)]
    given(client, target, *entries)
    proxy.bytes_per_sec = MIB

    report = await run(proxy, target, timeout_sec=0.5)

    assert (report.outcome, report.acknowledged, report.retried, report.reason) == (Outcome.COMPLETED, 5, 0, "")
    assert (proxy.count("XRANGE"), proxy.count("HSET")) == (5, 5 + 2)  # two tell the next run what this one saw
    assert state(client, target) == State(hashes=stored(*entries), length=5)


async def test_a_link_that_falls_silent_in_the_middle_of_an_entry_is_given_up(
    client: Client, embedded_proxy: Proxy
) -> None:
    """Bytes have moved for longer than an answer may take, and then no more: that is noticed as soon as ever."""
    target = a_target(retry_attempts=1)
    given(client, target, large(1, 2 * MIB))
    embedded_proxy.bytes_per_sec = MIB
    timeout_sec = 0.4

    async with a_runner(embedded_proxy, target, timeout_sec=timeout_sec) as runner:
        running = asyncio.create_task(runner.run(30))
        await asyncio.sleep(3 * timeout_sec)
        assert not running.done()
        embedded_proxy.bytes_per_sec = 1e-9
        report = await running

    assert (report.outcome, report.claimed) == (Outcome.FAILED, 0)
    assert f"did not answer within {timeout_sec:g} s" in report.reason


@pytest.mark.G6
async def test_a_run_ends_in_its_budget_though_bytes_still_move(client: Client, embedded_proxy: Proxy) -> None:
    """The entry would take minutes: the run ends without it, and it costs no delivery."""
    target = a_target()
    given(client, target, large(1, 40 * MIB))
    embedded_proxy.bytes_per_sec = 200 * KIB

    report = await run(embedded_proxy, target, budget_sec=2.0, timeout_sec=0.4)

    assert report.claimed == 0
    assert state(client, target).pending == {b"1-0": (b"worker", 1, "idle")}


async def test_a_page_that_could_not_be_read_is_asked_for_smaller(client: Client, embedded_proxy: Proxy) -> None:
    """A quarter at each attempt, down to one entry."""
    target = a_target(retry_attempts=4)
    given(client, target, *held(range(20)))
    asked: list[int] = []

    async with a_runner(embedded_proxy, target, timeout_sec=0.2) as runner:
        await runner.run(30)  # what entries weigh is known from here on
        given(client, target, *held(range(20, 140)))
        ranges = runner.server.ranges

        async def counted(stream: bytes, runs: list[list[bytes]]) -> list[object]:
            asked.append(sum(map(len, runs)))
            return await ranges(stream, runs)

        runner.server.ranges = counted
        embedded_proxy.when("XRANGE", Fault.HANG, skip=8 + 4 + 8, times=2)
        report = await runner.run(30)

    assert (report.outcome, report.acknowledged) == (Outcome.COMPLETED, 120)
    assert asked[:5] == [16, 4, 16, 84, 21]  # samples, and what is between them; then a quarter at each attempt
    assert asked[5] <= 5


async def test_what_was_read_is_not_read_again_where_its_claim_is_made_again(
    client: Client, embedded_proxy: Proxy
) -> None:
    """The claim's connection breaks twice: bodies pass once."""
    target = a_target()
    entries = [large(number, 100 * KIB) for number in range(1, 6)]
    given(client, target, *entries)
    claims = [AtClaim(embedded_proxy, Fault.CUT_AFTER), AtClaim(embedded_proxy, Fault.CUT_BEFORE)]

    report = await run(embedded_proxy, target)

    assert [claim.hits for claim in claims] == [1, 1]
    assert (report.acknowledged, embedded_proxy.count("XRANGE")) == (5, 5)


# --- how much at once ------------------------------------------------------------------------------------------------


async def test_the_first_page_of_large_entries_is_one_entry(client: Client, embedded_proxy: Proxy) -> None:
    """Nothing is known of them, so one is read alone; and each that is larger than a page is handled alone."""
    target = a_target()
    given(client, target, *(large(number, 5 * MIB) for number in range(1, 4)))

    report = await run(embedded_proxy, target)

    assert (report.outcome, report.acknowledged, report.pages) == (Outcome.COMPLETED, 3, 3)
    assert (embedded_proxy.count("XRANGE"), embedded_proxy.count("HSET")) == (3, 3 + 2)  # as above


@pytest.mark.parametrize("at", [40, 300, 777], ids=["early", "in a page", "between samples"])
async def test_entries_that_become_large_do_not_come_into_memory_at_once(
    embedded: Endpoint, client: Client, at: int
) -> None:
    """After small ones there are 60 MB of large ones in what would be one page."""
    target = a_target()
    entries = [*held(range(at)), *(large(number, 400 * KIB) for number in range(at, at + 150))]
    given(client, target, *entries)
    tracemalloc.start()
    try:
        report = await run(embedded, target)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (report.outcome, report.acknowledged) == (Outcome.COMPLETED, len(entries))
    assert peak < 45 * MIB, f"{peak // MIB} MiB"
    assert state(client, target) == State(hashes=stored(*entries), length=len(entries))


async def test_large_and_small_ones_in_turn_come_in_their_order(server: Endpoint, client: Client) -> None:
    """Samples that meet only small ones are no harm to anything but memory."""
    target = a_target()
    entries = [large(number % 7, 300 * KIB if number % 3 else 10) for number in range(1, 60)]
    given(client, target, *entries)

    report = await run(server, target)

    assert (report.outcome, report.acknowledged) == (Outcome.COMPLETED, 59)
    assert state(client, target) == State(hashes=stored(*entries), length=59)


# --- scripts ---------------------------------------------------------------------------------------------------------


async def test_no_command_takes_long_with_an_entry_of_a_megabyte(server: Endpoint, client: Client) -> None:
    """Claimed, refunded, parked: none is slow three times; once it may be, as the machine has other work."""
    target = a_target(retry_attempts=1)
    slow_each_time: set[bytes] | None = None
    for _ in range(3):
        client.execute_command("FLUSHALL")
        given(client, target, Held([b"text", b"x" * MIB]), *(large(number, MIB) for number in (2, 3)))
        client.execute_command("CONFIG", "SET", "slowlog-log-slower-than", "10000")
        client.execute_command("SLOWLOG", "RESET")
        with Proxy(server.server_port) as proxy:
            proxy.when("HSET", ErrorReply("LOADING for now"), times=2)
            await run(proxy, target)
            age_all(client, target)
            await run(proxy, target)
        slow = {b" ".join(entry[3][:2]) for entry in client.execute_command("SLOWLOG", "GET", -1)}
        slow_each_time = slow if slow_each_time is None else slow_each_time & slow
        if not slow_each_time:
            break

    assert not slow_each_time


async def test_dead_letters_that_a_person_names_are_removed_a_hundred_at_a_time(
    embedded: Endpoint, client: Client
) -> None:
    """Nobody knows what they weigh, and on Redis 7.0 the removal of 250 of 1 MB blocked the server for 11 ms."""
    target = a_target()
    ids = [client.execute_command("XADD", target.keys.dead, "*", "id", "1-0", "field:a", "b") for _ in range(250)]
    client.execute_command("CONFIG", "RESETSTAT")
    async with a_runner(embedded, target) as runner:
        removed = await runner.dead_letters.discard(ids)

    assert (removed, state(client, target).dead) == (250, [])
    assert b"cmdstat_xdel:calls=3," in client.execute_command("INFO", "commandstats")

"""A run judges all entries by the moment at which it began: what it gives back meanwhile keeps its turn (G3).

Each test has an entry that was idle for just long enough then, and a later one of its order key that was for longer.
"""

import asyncio
from contextlib import suppress
from itertools import count
from typing import Any

import pytest

from dev.cluster import Cluster
from dev.proxy import Fault, Proxy
from reclaim.entry import Entry
from reclaim.run.runner import Runner
from reclaim.state import cluster as clusters
from reclaim.state import find
from reclaim.state.ask import Command
from reclaim.state.claim import _CLAIM
from reclaim.state.connection import connect
from reclaim.state.pending import Row
from reclaim.state.refunds import _KEEP, Refunds
from reclaim.state.server_time import unix_ms
from reclaim.state.slots import slot_of
from tests.cluster_support import given_on, name_on, settings_of
from tests.faults import Recorder, before_claim, by_function, of_user, script
from tests.support import Client, Endpoint, a_target, age, age_all, given, pending_rows, run, settings_for

pytestmark = pytest.mark.G3

MIN_IDLE_MS = 1000
SLOW_SEC = 0.5


def just_idle(number: int, user: str) -> Any:
    """An entry that was idle for long enough as the run began, and not for much longer."""
    return of_user(number, user, idle_ms=MIN_IDLE_MS)


async def test_what_is_given_back_between_two_rounds_keeps_its_turn(server: Endpoint, client: Client) -> None:
    """1 has failed before, so it waits for the second round, and 2 and 4 with it, while 3 takes its time."""
    target = a_target(min_idle_ms=MIN_IDLE_MS, delivery_backoff_sec=0, lanes=4)
    given(client, target, of_user(1, "a"))
    await run(server, target, by_function(Recorder(_1=ValueError("no"))))
    age_all(client, target)
    given(client, target, just_idle(2, "a"), of_user(3, "b"), of_user(4, "a"))
    seen: list[int] = []

    async def handle(entry: Entry) -> None:
        number = int(entry.text("id"))
        await asyncio.sleep(SLOW_SEC if number == 3 else 0)
        seen.append(number)

    await run(server, target, by_function(handle))

    assert (seen, pending_rows(client, target)) == ([3, 1, 2, 4], [])


@pytest.mark.parametrize("fault", [Fault.DROP_REPLY, Fault.HANG])
async def test_what_a_claim_without_an_answer_named_keeps_its_turn(proxy: Proxy, client: Client, fault: Fault) -> None:
    """The run waits for the answer until its patience ends, and claims again."""
    target = a_target(min_idle_ms=MIN_IDLE_MS, lanes=1, page_size=4)
    given(client, target, just_idle(1, "a"), of_user(2, "a"), of_user(3, "b"), of_user(4, "a"))
    proxy.when("EVAL", fault, args=script(_CLAIM))
    record = Recorder()

    await run(proxy, target, by_function(record), timeout_sec=0.3)

    assert ([number for number in record.seen if number != 3], pending_rows(client, target)) == ([1, 2, 4], [])


async def test_a_given_up_claim_that_takes_effect_just_before_the_next_look_keeps_its_turn(
    proxy: Proxy, client: Client
) -> None:
    """Its entry was not ours when refunds were settled, and is not idle when the run looks."""
    target = a_target(min_idle_ms=MIN_IDLE_MS, lanes=1, page_size=4)
    given(client, target, *(of_user(number, "a") for number in (1, 2, 3)))
    proxy.when("EVAL", Fault.HANG, args=script(_CLAIM))

    def take_late() -> None:
        client.execute_command("XCLAIM", target.stream, target.group, target.consumer, 0, "1-0")

    def look_again() -> None:
        proxy.when("XPENDING", take_late, args=lambda args: len(args) > 2)

    proxy.when("EVAL", look_again, args=script(_KEEP))
    record = Recorder()

    await run(proxy, target, by_function(record), timeout_sec=0.3)

    assert (record.seen, pending_rows(client, target)) == ([1, 2, 3], [])


@pytest.mark.parametrize("hangs", [2, 3])
async def test_one_of_several_given_up_claims_that_takes_effect_keeps_its_turn(
    proxy: Proxy, client: Client, hangs: int
) -> None:
    """The same entries are in doubt several times."""
    target = a_target(min_idle_ms=MIN_IDLE_MS, lanes=1, page_size=4, retry_attempts=6)
    given(client, target, *(of_user(number, "a") for number in (1, 2, 3)))
    proxy.when("EVAL", Fault.HANG, args=script(_CLAIM), times=hangs)

    def take_late() -> None:
        client.execute_command("XCLAIM", target.stream, target.group, target.consumer, 0, "1-0")

    def look_again() -> None:
        proxy.when("XPENDING", take_late, args=lambda args: len(args) > 2)

    proxy.when("EVAL", look_again, args=script(_KEEP), skip=2 * (hangs - 1))  # before and after each look
    record = Recorder()

    await run(proxy, target, by_function(record), timeout_sec=0.3)

    assert (record.seen, pending_rows(client, target)) == ([1, 2, 3], [])


async def test_a_given_up_claim_that_takes_effect_after_a_refund_keeps_its_turn(proxy: Proxy, client: Client) -> None:
    """A second claim gave us its entries. One waits for the second round, and is then as the first claim found it."""
    target = a_target(min_idle_ms=MIN_IDLE_MS, delivery_backoff_sec=0, page_size=2, lanes=2)
    given(client, target, of_user(1, "a"))
    await run(proxy, target, by_function(Recorder(_1=ValueError("no"))))
    age_all(client, target)
    given(client, target, *(of_user(number, "ab"[number % 2]) for number in (2, 3, 4, 5)))
    hung: list[list[bytes]] = []
    proxy.when("EVAL", Fault.HANG, args=lambda args: script(_CLAIM)(args) and not hung and hung.append(args) is None)
    seen: list[int] = []

    async def handle(entry: Entry) -> None:
        seen.append(int(entry.text("id")))
        if seen[-1] == 5:
            client.execute_command("EVAL", *hung[0])

    await run(proxy, target, by_function(handle), timeout_sec=0.3)

    assert ([number for number in seen if number % 2 == 0 or number == 1], pending_rows(client, target)) == (
        [1, 2, 4],
        [],
    )


async def test_a_look_is_repeated_though_a_page_has_refunded_what_it_missed(server: Endpoint, client: Client) -> None:
    """The given-up claim takes effect just before the look; its entry is refunded before the look's answer is read."""
    target = a_target(min_idle_ms=MIN_IDLE_MS)
    given(client, target, of_user(1, "a"), of_user(2, "a"))
    link = connect(settings_for(server, target))
    refunds = Refunds(link, target)
    finder = find.Finder(link, target, refunds)
    look, looks = finder._look, count(1)

    async def missing(command: Command) -> Any:
        if next(looks) > 1:
            return await look(command)
        client.execute_command("XCLAIM", target.stream, target.group, target.consumer, 0, "1-0")
        answer = await look(command)
        await refunds.settle()
        return answer

    finder._look = missing
    try:
        finder.begin(unix_ms(client.execute_command("TIME")))
        with suppress(TimeoutError):
            async with refunds.claiming([Row(b"1-0", b"worker", 3_600_000, 1)]):
                raise TimeoutError
        found = await finder.find(find.START, 10, 2)
    finally:
        await link.aclose()

    assert [row.id for row in found.rows] == [b"1-0", b"2-0"]


async def test_what_was_found_and_could_not_be_claimed_holds_back_its_key(proxy: Proxy, client: Client) -> None:
    """It seems fresh when it is to be claimed: the server's clock was set back, or its consumer was at it again."""
    target = a_target(min_idle_ms=MIN_IDLE_MS, lanes=4, page_size=4)
    given(client, target, *(of_user(number, "ab"[number % 2]) for number in (1, 2, 3, 4)))
    before_claim(proxy, lambda: age(client, target, {b"2-0": of_user(2, "a", idle_ms=0)}))
    record = Recorder()

    await run(proxy, target, by_function(record))
    left = [row[0] for row in pending_rows(client, target)]
    age_all(client, target)
    await run(proxy, target, by_function(record))

    assert (left, record.seen, pending_rows(client, target)) == ([b"2-0", b"4-0"], [1, 3, 2, 4], [])


@pytest.mark.parametrize("native_up_to", [50_000, 0])
async def test_what_became_idle_meanwhile_is_not_stepped_through(
    proxy: Proxy, client: Client, monkeypatch: pytest.MonkeyPatch, native_up_to: int
) -> None:
    """Thousands of entries become idle while the first one is handled; none of them is this run's."""
    monkeypatch.setattr(find, "NATIVE_UP_TO", native_up_to)
    target = a_target(min_idle_ms=MIN_IDLE_MS, lanes=1, page_size=10)
    given(client, target, of_user(1, "a"))
    given(client, target, *(of_user(number, "b", idle_ms=MIN_IDLE_MS - 300) for number in range(2, 3001)))

    async def handle(_: Entry) -> None:
        await asyncio.sleep(SLOW_SEC)

    report = await run(proxy, target, by_function(handle))

    looks = [command for command in proxy.commands if command[0] == b"XPENDING" and len(command) > 3]
    looks += [command for command in proxy.commands if command[:2] == [b"EVAL", find._SCAN.encode()]]
    assert (report.acknowledged, len(looks) < 20) == (1, True)


# --- on a cluster ----------------------------------------------------------------------------------------------------


async def test_a_look_that_a_cluster_redirects_goes_with_the_time_of_the_node_that_answers(
    own_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream's slot moves between two looks. The first one has passed over 2, which was delivered when 4 was."""
    target = a_target(stream=name_on(0), min_idle_ms=MIN_IDLE_MS, lanes=2, page_size=2)
    fresh = {"idle_ms": MIN_IDLE_MS - 200}
    some = [of_user(1, "b"), of_user(2, "a", **fresh), of_user(3, "b"), of_user(4, "a", **fresh), of_user(5, "b")]
    given_on(own_cluster, target, *some)
    redirected, look = clusters.Cluster._redirected, find.Finder._look
    looks = count(1)
    late: list[float] = []

    async def slowly(*args: Any) -> Any:
        late.append(SLOW_SEC)
        await asyncio.sleep(SLOW_SEC)
        return await redirected(*args)

    async def moved(*args: Any) -> Any:
        if next(looks) == 2:
            own_cluster.move_slot(slot_of(target.stream.encode()), own_cluster.primaries[1])
        return await look(*args)

    monkeypatch.setattr(clusters.Cluster, "_redirected", slowly)
    monkeypatch.setattr(find.Finder, "_look", moved)
    record = Recorder()
    server = connect(settings_of(own_cluster, target))
    try:
        await Runner(target, server, by_function(record)).run(30)
    finally:
        await server.aclose()

    assert (record.seen, bool(late)) == ([1, 3, 5], True)

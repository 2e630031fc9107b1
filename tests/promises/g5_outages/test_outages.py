"""Outages that outlast the delivery budget: nothing is charged, nothing is dead-lettered, all is done in the end."""

import asyncio
import threading

import pytest

from dev.proxy import ErrorReply, Fault, Proxy
from reclaim import handlers
from reclaim.entry import Entry
from reclaim.errors import RetryEntry
from reclaim.run.report import Outcome
from reclaim.run.runner import Runner
from reclaim.state.claim import _CLAIM
from reclaim.state.connection import connect
from reclaim.state.refunds import Refunds
from reclaim.state.server_time import unix_ms
from tests.faults import LOADING, OOM, Recorder, by_function, of_user, pending, script, step
from tests.integration.state.circuits import end_cooldown
from tests.support import (
    Client,
    Endpoint,
    Held,
    State,
    a_runner,
    a_target,
    drop_lease,
    given,
    held,
    run,
    settings_for,
    state,
    stored,
    tweet,
)

pytestmark = pytest.mark.G5

ENTRIES = held(range(1, 7))
OUTAGES = [
    OOM,
    LOADING,
    "READONLY You can't write against a read only replica.",
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
    "CLUSTERDOWN The cluster is down",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    "NOREPLICAS Not enough good replicas to write.",
]


@pytest.mark.parametrize("error", OUTAGES, ids=lambda text: text.partition(" ")[0])
async def test_a_store_out_of_order_for_many_runs_costs_nothing(
    client: Client, embedded_proxy: Proxy, error: str
) -> None:
    """The store answers with an error that is not the entry's fault, for many more runs than there are deliveries."""
    target = a_target(max_deliveries=2, retry_attempts=1)
    given(client, target, *ENTRIES)
    embedded_proxy.when("HSET", ErrorReply(error), times=None)

    async with a_runner(embedded_proxy, target) as runner:
        reports = []
        for _ in range(6):
            end_cooldown(client, target)  # the second run has opened the circuit, as nothing is stored
            reports.append(await runner.run(30))
        hurt = state(client, target)
        embedded_proxy.clear()
        end_cooldown(client, target)
        await runner.run(30)

    assert {(report.retried + report.held, report.parked, report.failed) for report in reports} == {(6, 0, 0)}
    assert hurt == State(pending=pending(*range(1, 7), consumer="monitoring_app"), length=6)
    assert state(client, target) == State(hashes=stored(*ENTRIES), length=6)


@pytest.mark.parametrize("error", [ConnectionError, TimeoutError, ConnectionResetError, RetryEntry])
async def test_a_long_outage_of_a_handlers_own_store_costs_nothing(
    server: Endpoint, client: Client, error: type
) -> None:
    """The handler cannot reach what it writes to, for many runs; then it can, and gets every entry, in order."""
    target = a_target(max_deliveries=2, retry_attempts=1)
    entries = [of_user(number, f"user_{number % 2}") for number in range(1, 7)]
    given(client, target, *entries)
    record = Recorder(**{f"_{number}": error("the store is away") for number in range(1, 7)})

    async with a_runner(server, target, by_function(record)) as runner:
        for _ in range(6):
            await runner.run(30)
        hurt = state(client, target)
        record.trouble.clear()
        record.seen.clear()
        await runner.run(30)

    assert hurt == State(pending=pending(*range(1, 7), consumer="monitoring_app"), length=6)
    assert state(client, target) == State(length=6)
    assert sorted(record.seen) == [1, 2, 3, 4, 5, 6]
    assert [number for number in record.seen if number % 2] == [1, 3, 5]


async def test_claims_whose_replies_are_lost_run_after_run_cost_nothing(client: Client, embedded_proxy: Proxy) -> None:
    """Every claim takes effect and is never heard of: the deliveries counted are taken back each time."""
    target = a_target(max_deliveries=2, retry_attempts=2)
    given(client, target, *ENTRIES)
    embedded_proxy.when("EVAL", Fault.CUT_AFTER, args=script(_CLAIM), times=None)

    async with a_runner(embedded_proxy, target) as runner:
        for _ in range(4):
            await runner.run(30)
            drop_lease(client, target)
        hurt = state(client, target)
        embedded_proxy.clear()
        await runner.run(30)

    assert hurt == State(pending=pending(*range(1, 7), consumer="monitoring_app"), length=6)
    assert state(client, target) == State(hashes=stored(*ENTRIES), length=6)


async def test_claims_that_take_effect_after_they_were_given_up_cost_nothing(
    server: Endpoint, client: Client, proxy: Proxy
) -> None:
    """A server so slow that each claim is executed when nobody waits for it any more, run after run."""
    target = a_target(max_deliveries=2, retry_attempts=1)
    given(client, target, *ENTRIES)

    def late() -> None:
        proxy.request_delay_sec = 0.4
        threading.Timer(0.1, setattr, (proxy, "request_delay_sec", 0.0)).start()

    name, args = step("claim", server.kind)
    proxy.when(name, late, args=args, times=3)

    async with a_runner(proxy, target, timeout_sec=0.25) as runner:
        for _ in range(3):
            await runner.run(30)
            await asyncio.sleep(0.5)
            drop_lease(client, target)
        await runner.run(30)

    assert state(client, target) == State(hashes=stored(*ENTRIES), length=6)


@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.CUT_AFTER], ids=["cut before", "cut after"])
async def test_a_claim_that_had_to_be_made_again_is_charged_like_any_other(
    server: Endpoint, client: Client, proxy: Proxy, fault: Fault
) -> None:
    """Only the first claim is refunded, not the second: the failure is charged, and the entry stays fresh."""
    target = a_target(retry_attempts=2)
    given(client, target, *(of_user(number, f"user_{number}") for number in (1, 2)))
    name, args = step("claim", server.kind)
    proxy.when(name, fault, args=args)
    record = Recorder(_1=ValueError("no"))

    report = await run(proxy, target, by_function(record))

    assert (report.failed, report.acknowledged) == (1, 1)
    assert state(client, target).pending == pending(1, consumer="monitoring_app", deliveries=2, age="fresh")


async def test_a_page_being_claimed_ahead_when_the_run_is_stopped_is_given_back(
    client: Client, embedded_proxy: Proxy
) -> None:
    """The claim has taken effect, and its reply is on the way, when the run ends: its entries are refunded."""
    target = a_target(page_size=2)
    given(client, target, *ENTRIES)
    stop = asyncio.Event()
    ahead = embedded_proxy.when("EVAL", Fault.DROP_REPLY, args=script(_CLAIM), skip=2)
    second = embedded_proxy.when("XACK", lambda: None, skip=1)

    running = asyncio.create_task(run(embedded_proxy, target, stop=stop))
    for reached in (ahead.reached, second.reached):
        await asyncio.to_thread(reached.wait)
    stop.set()
    report = await running

    assert (report.outcome, ahead.hits) == (Outcome.STOPPED, 1)
    after = state(client, target)
    assert {row[1:] for row in after.pending.values()} == {(1, "idle")}
    assert after.pending.keys() == {b"5-0", b"6-0"}


async def test_debts_noted_while_others_are_paid_are_paid_too(client: Client, embedded_proxy: Proxy) -> None:
    """A second page is to be given back while the refund of the first is under way: both are refunded."""
    target = a_target()
    given(client, target, *held(range(1, 3), consumer="monitoring_app", idle_ms=0, deliveries=2))
    server = connect(settings_for(embedded_proxy, target))
    owed = Refunds(server, target)
    owed.begin(unix_ms(client.execute_command("TIME")))
    first, second = (Entry(b"%d-0" % number, (), b"worker", 3_600_000, 2) for number in (1, 2))
    embedded_proxy.reply_delay_sec = 0.1
    try:
        owed.owe([first])
        paying = asyncio.create_task(owed.settle())
        await asyncio.sleep(0.03)
        owed.owe([second])
        await paying
        await owed.settle()
    finally:
        await server.aclose()

    assert state(client, target).pending == pending(1, 2, consumer="monitoring_app")


async def test_a_run_cancelled_gives_back_what_it_holds_and_its_lease(server: Endpoint, client: Client) -> None:
    """CancelledError comes out of the run, and leaves every entry idle and uncharged."""
    target = a_target(lanes=2)
    given(client, target, *(of_user(number, f"user_{number}") for number in range(1, 5)))
    begun = asyncio.Event()

    async def never(_: object) -> None:
        begun.set()
        await asyncio.sleep(60)

    task = asyncio.create_task(run(server, target, by_function(never)))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    after = state(client, target)
    assert {row[1:] for row in after.pending.values()} == {(1, "idle")}
    assert (len(after.pending), after.other_keys) == (4, [])


@pytest.mark.parametrize("name", ["claim", "store", "acknowledge"])
async def test_an_outage_of_everything_mid_run_is_over_with_the_next_run(
    client: Client, embedded_proxy: Proxy, name: str
) -> None:
    """From one command on the server is gone; the same process finds it again at its next run."""
    target = a_target(max_deliveries=2, retry_attempts=2, page_size=4)
    given(client, target, *ENTRIES)
    command, args = step(name)

    server = connect(settings_for(embedded_proxy, target), 0.5)
    try:
        runner = Runner(target, server, handlers.make(server, target))
        for _ in range(4):
            rule = embedded_proxy.when(command, Fault.CUT_BEFORE, args=args)
            others = [
                embedded_proxy.when(
                    *(other, Fault.CUT_BEFORE), times=None, args=lambda _, rule=rule: rule.hits > 0, may_miss=True
                )
                for other in ("EVAL", "SET", "XPENDING", "XRANGE", "HSET", "XACK", "GET")
            ]
            report = await runner.run(30)
            assert (report.outcome is Outcome.FAILED, bool(others)) == (True, True)
            embedded_proxy.clear()
            drop_lease(client, target)
        await runner.run(30)
    finally:
        await server.aclose()

    assert state(client, target) == State(hashes=stored(*ENTRIES), length=6)


async def test_a_store_that_is_silent_is_an_outage_and_no_handler_that_hangs(
    embedded_proxy: Proxy, client: Client
) -> None:
    """In a short run too: nothing is charged, and it is tried again (G5)."""
    target = a_target(circuit_failures=1)
    entries = [Held(tweet(number)) for number in range(1, 6)]
    given(client, target, *entries)
    embedded_proxy.when("HSET", Fault.HANG)

    async with a_runner(embedded_proxy, target, hangs_sec=0.2, timeout_sec=0.5) as runner:
        report = await runner.run(10)

    assert (report.outcome, report.failed, report.acknowledged) == (Outcome.COMPLETED, 0, 5)
    assert state(client, target).hashes == stored(*entries)
